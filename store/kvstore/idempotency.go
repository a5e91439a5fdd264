package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

func recordKeys(r content.IdempotencyRecord) [][]byte {
	return [][]byte{key(idempotencyByTime, r.At, r.Author, [32]byte(r.Key))}
}

// CreateContentIdempotent implements content.Store.
func (s *Store) CreateContentIdempotent(
	ctx context.Context, c content.Content, r content.IdempotencyRecord, since time.Time,
) (content.IdempotencyRecord, error) {
	return update(ctx, s, "create content "+c.ID+" idempotently", func(t *tx) (content.IdempotencyRecord, error) {
		kept, ok := idempotency.get(t, r.Author, [32]byte(r.Key))
		if ok && !kept.At.Before(since) {
			return kept, nil
		}
		if err := t.create(c); err != nil {
			return content.IdempotencyRecord{}, err
		}
		var old [][]byte
		if ok {
			old = recordKeys(kept)
		}
		idempotency.put(t, r, r.Author, [32]byte(r.Key))
		t.reindex(old, recordKeys(r))
		return r, nil
	})
}

// IdempotencyRecordByKey implements content.Store.
func (s *Store) IdempotencyRecordByKey(ctx context.Context, author string,
	key content.Hash) (content.IdempotencyRecord, error) {
	return view(ctx, s, "idempotency record by key", func(t *tx) (content.IdempotencyRecord, error) {
		r, ok := idempotency.get(t, author, [32]byte(key))
		if !ok {
			return r, content.ErrNotFound
		}
		return r, nil
	})
}

// SweepIdempotencyRecords implements content.Store.
func (s *Store) SweepIdempotencyRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, "sweep idempotency records", func(t *tx) (int, error) {
		old := t.rests(span{prefix: key(idempotencyByTime), high: extend(nil, before)}, limit)
		for _, p := range old {
			t.delete(append(key(idempotencyByTime), p...))
			p.time()
			idempotency.delete(t, p.text(), p.hash())
		}
		return len(old), nil
	})
}
