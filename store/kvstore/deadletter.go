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

// reject records a message unless it is recorded.
func (t *tx) reject(r rating.DeadLetter) {
	if _, ok := t.first(span{prefix: key(deadLetterByName, name(r.Position, r.Key))}); ok {
		return
	}
	r.ID = t.next("rejected")
	rejections.put(t, r, r.ID)
	t.reindex(nil, deadLetterKeys(r))
}

// unreject removes a message.
func (t *tx) unreject(id int64) {
	if r, ok := rejections.get(t, id); ok {
		rejections.delete(t, id)
		t.reindex(deadLetterKeys(r), nil)
	}
}

// ListDeadLetters implements rating.Store.
func (s *Store) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	return view(ctx, s, "list rejected", func(t *tx) (found []rating.DeadLetter, _ error) {
		in := span{prefix: key(byte(rejections))}
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
			r, ok := rejections.get(t, p.integer())
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
	return s.write(ctx, "remove rejected", func(t *tx) error {
		for _, id := range ids {
			t.unreject(id)
		}
		return nil
	})
}
