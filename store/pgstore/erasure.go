package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

const (
	recordErasure = `INSERT INTO khodnevis.departures (rater, fate, at) VALUES ($1, $2, $3) ON CONFLICT (rater) DO UPDATE SET fate = excluded.fate, at = excluded.at`

	erasures = `SELECT rater, fate, at FROM khodnevis.departures WHERE rater > $1 AND at >= $2 ORDER BY rater LIMIT $3`
)

// RecordErasure implements rating.Store.
func (s *Store) RecordErasure(ctx context.Context, d rating.Erasure) error {
	if _, err := s.exec(ctx, recordErasure, d.Rater, string(d.Mode), d.At); err != nil {
		return fmt.Errorf("pgstore: erasure of %s: %w", d.Rater, err)
	}
	return nil
}

// Erasures implements rating.Store.
func (s *Store) Erasures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Erasure, error) {
	var rows []struct {
		Rater string    `db:"rater"`
		Fate  string    `db:"fate"`
		At    time.Time `db:"at"`
	}
	if err := s.query(ctx, &rows, erasures, after, since, limit); err != nil {
		return nil, fmt.Errorf("pgstore: erasures: %w", err)
	}
	found := make([]rating.Erasure, len(rows))
	for i, r := range rows {
		found[i] = rating.Erasure{Rater: r.Rater, Mode: rating.ErasureMode(r.Fate), At: r.At.UTC()}
	}
	return found, nil
}
