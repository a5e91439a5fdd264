package sqlitestore

import (
	"context"
	"fmt"
	"time"
)

// ClaimLease implements rating.Store.
func (s *Store) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	var n int64
	err := s.file.Write(ctx, func(tx Tx) (err error) {
		now := now()
		n, err = tx.Exec(`INSERT INTO ticks (job, at, until) VALUES (?1, ?2, ?3)
			ON CONFLICT DO UPDATE SET at = excluded.at, until = excluded.until WHERE at < excluded.at
				AND until <= ?4`,
			job, at.UnixMicro(), now+lease.Microseconds(), now)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("sqlitestore: claim %s at %s: %w", job, at, err)
	}
	return n > 0, nil
}

// ReleaseLease implements rating.Store.
func (s *Store) ReleaseLease(ctx context.Context, job string, at time.Time) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(`UPDATE ticks SET until = 0 WHERE job = ? AND at = ?`, job, at.UnixMicro())
		return err
	})
	return wrap(err, "release %s at %s", job, at)
}
