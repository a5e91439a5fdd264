package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

func erasureKeys(d rating.Erasure) [][]byte {
	return [][]byte{key(erasuresByTime, d.At, d.Rater)}
}

func (t *tx) recordErasure(d rating.Erasure) {
	var old [][]byte
	if last, ok := erasures.get(t, d.Rater); ok {
		old = erasureKeys(last)
	}
	erasures.put(t, d, d.Rater)
	t.reindex(old, erasureKeys(d))
}

// RecordErasure implements rating.Store.
func (s *Store) RecordErasure(ctx context.Context, d rating.Erasure) error {
	return s.write(ctx, "erasure of "+d.Rater, func(t *tx) error {
		t.recordErasure(d)
		return nil
	})
}

// Erasures implements rating.Store.
func (s *Store) Erasures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Erasure, error) {
	return view(ctx, s, "erasures", func(t *tx) (found []rating.Erasure, _ error) {
		for _, row := range t.scan(erasures.following(after)) {
			d, err := decode[rating.Erasure](row)
			if err != nil {
				return nil, err
			}
			if d.At.Before(since) {
				continue
			}
			if found = append(found, d); len(found) == limit {
				break
			}
		}
		return found, nil
	})
}
