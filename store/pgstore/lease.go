package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
)

// claimLease may be run again for one call, which then keeps what it claimed.
const claimLease = `INSERT INTO khodnevis.ticks AS t (job, at, until, claimant) VALUES ($1, $2,
	clock_timestamp() + $3 * interval '1 microsecond', $4)
	ON CONFLICT (job) DO UPDATE SET at = excluded.at, until = excluded.until, claimant = excluded.claimant
	WHERE t.at < excluded.at AND t.until <= clock_timestamp() OR t.claimant = excluded.claimant`

// ClaimLease implements rating.Store. The clock of the database says whether a lease has ended.
func (s *Store) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	n, err := s.exec(ctx, claimLease, job, at, lease.Microseconds(), id.New())
	if err != nil {
		return false, fmt.Errorf("pgstore: claim job %s at %s: %w", job, at, err)
	}
	return n > 0, nil
}

const releaseLease = `UPDATE khodnevis.ticks SET until = '-infinity' WHERE job = $1 AND at = $2`

// ReleaseLease implements rating.Store.
func (s *Store) ReleaseLease(ctx context.Context, job string, at time.Time) error {
	_, err := s.exec(ctx, releaseLease, job, at)
	return wrap(err, "release job %s at %s", job, at)
}
