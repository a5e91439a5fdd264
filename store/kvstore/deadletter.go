package kvstore

import (
	"context"
	"crypto/sha256"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
)

// Keys, streams and positions of dead letters are any bytes of any length, and so indexes have
// hashes of them.
func hashOf(parts ...any) [32]byte { return sha256.Sum256(extend(nil, parts...)) }

// name is what names a message in an index.
func name(p queue.Position, k string) [32]byte { return hashOf(p.Stream, p.Offset, k) }

func deadLetterKeys(r rating.DeadLetter) [][]byte {
	return [][]byte{
		key(deadLetterByTime, r.At, r.ID),
		key(deadLetterByKey, hashOf(r.Key), r.ID),
		key(deadLetterByPosition, hashOf(r.Position.Stream, r.Position.Offset), r.ID),
		key(deadLetterByName, name(r.Position, r.Key), r.ID),
	}
}

// recordDeadLetter records a dead letter unless it is recorded.
func (t *tx) recordDeadLetter(r rating.DeadLetter) {
	if _, ok := t.first(span{prefix: key(deadLetterByName, name(r.Position, r.Key))}); ok {
		return
	}
	r.ID = t.next("rejected")
	deadLetters.put(t, r, r.ID)
	t.reindex(nil, deadLetterKeys(r))
}

// deleteDeadLetter removes a dead letter.
func (t *tx) deleteDeadLetter(id int64) {
	if r, ok := deadLetters.get(t, id); ok {
		deadLetters.delete(t, id)
		t.reindex(deadLetterKeys(r), nil)
	}
}

// ListDeadLetters implements rating.Store.
func (s *Store) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	return view(ctx, s, "list dead letters", func(t *tx) (found []rating.DeadLetter, _ error) {
		in := span{prefix: key(byte(deadLetters))}
		switch {
		case q.Key != "" && q.Position.Stream != "":
			in.prefix = key(deadLetterByName, name(q.Position, q.Key))
		case q.Key != "":
			in.prefix = key(deadLetterByKey, hashOf(q.Key))
		case q.Position.Stream != "":
			in.prefix = key(deadLetterByPosition, hashOf(q.Position.Stream, q.Position.Offset))
		}
		for end := range t.scan(in.beyond(extend(nil, q.After))) {
			p := parts(end)
			r, ok := deadLetters.get(t, p.integer())
			if !ok {
				break // the transaction has failed
			}
			if found = append(found, r); len(found) == q.Limit {
				break
			}
		}
		return found, nil
	})
}

// DeleteDeadLetters implements rating.Store.
func (s *Store) DeleteDeadLetters(ctx context.Context, ids []int64) error {
	return s.write(ctx, "delete dead letters", func(t *tx) error {
		for _, id := range ids {
			t.deleteDeadLetter(id)
		}
		return nil
	})
}
