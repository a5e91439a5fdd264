package kvstore

import (
	"context"
	"time"
)

// lease is the last claim of a job.
type lease struct {
	At    time.Time
	Until int64 // end of the lease, in nanoseconds since 1970
}

// ClaimLease implements rating.Store.
func (s *Store) ClaimLease(ctx context.Context, job string, at time.Time, length time.Duration) (bool, error) {
	return update(ctx, s, "claim "+job, func(t *tx) (bool, error) {
		last, ok := leases.get(t, job)
		if ok && (!at.After(last.At) || t.now.UnixNano() < last.Until) {
			return false, nil
		}
		leases.put(t, lease{At: at, Until: t.now.Add(length).UnixNano()}, job)
		return true, nil
	})
}

// ReleaseLease implements rating.Store.
func (s *Store) ReleaseLease(ctx context.Context, job string, at time.Time) error {
	return s.write(ctx, "release "+job, func(t *tx) error {
		if last, ok := leases.get(t, job); ok && last.At.Equal(at) {
			leases.put(t, lease{At: at}, job)
		}
		return nil
	})
}
