package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const (
	recordErasure = `INSERT INTO khodnevis.departures (rater, fate, at) VALUES ($1, $2, $3)
		ON CONFLICT (rater) DO UPDATE SET fate = excluded.fate, at = excluded.at`

	erasures = `SELECT rater, fate, at FROM khodnevis.departures WHERE rater > $1 AND at >= $2 ORDER BY rater
		LIMIT $3`
)

// RecordErasure implements rating.Store.
func (s *Store) RecordErasure(ctx context.Context, d rating.Erasure) error {
	_, err := s.exec(ctx, recordErasure, d.Rater, string(d.Mode), d.At)
	return wrap(err, "erasure of %s", d.Rater)
}

// Erasures implements rating.Store.
func (s *Store) Erasures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Erasure, error) {
	var found []rows.Erasure
	if err := s.query(ctx, &found, erasures, after, since, limit); err != nil {
		return nil, fmt.Errorf("pgstore: erasures: %w", err)
	}
	return rows.All(found, rows.Erasure.Erasure), nil
}
