package kvstore

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
)

// next returns the next number of a counter; the first one is 1.
func (t *tx) next(counter string) int64 {
	n, _ := counters.get(t, counter)
	counters.put(t, n+1, counter)
	return n + 1
}

// StreamEpoch implements rating.Store.
func (s *Store) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	if epoch, err := s.KnownEpoch(ctx, stream); err == nil {
		return epoch, nil
	}
	return update(ctx, s, fmt.Sprintf("epoch of stream %q", stream), func(t *tx) (int64, error) {
		epoch, ok := epochs.get(t, sha256.Sum256([]byte(stream)))
		if !ok {
			epoch = t.next("epochs")
			epochs.put(t, epoch, sha256.Sum256([]byte(stream)))
		}
		return epoch, nil
	})
}

// KnownEpoch implements rating.Store.
func (s *Store) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	return view(ctx, s, fmt.Sprintf("epoch of stream %q", stream), func(t *tx) (int64, error) {
		epoch, ok := epochs.get(t, sha256.Sum256([]byte(stream)))
		if !ok {
			return 0, rating.ErrNotFound
		}
		return epoch, nil
	})
}
