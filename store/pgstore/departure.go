package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

const (
	depart = `INSERT INTO khodnevis.departures (rater, fate, at) VALUES ($1, $2, $3) ON CONFLICT (rater) DO UPDATE SET fate = excluded.fate, at = excluded.at`

	departures = `SELECT rater, fate, at FROM khodnevis.departures WHERE rater > $1 AND at >= $2 ORDER BY rater LIMIT $3`
)

// Depart implements rating.Store.
func (s *Store) Depart(ctx context.Context, d rating.Departure) error {
	if _, err := s.exec(ctx, depart, d.Rater, string(d.Fate), d.At); err != nil {
		return fmt.Errorf("pgstore: departure of %s: %w", d.Rater, err)
	}
	return nil
}

// Departures implements rating.Store.
func (s *Store) Departures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Departure, error) {
	var rows []struct {
		Rater string    `db:"rater"`
		Fate  string    `db:"fate"`
		At    time.Time `db:"at"`
	}
	if err := s.query(ctx, &rows, departures, after, since, limit); err != nil {
		return nil, fmt.Errorf("pgstore: departures: %w", err)
	}
	found := make([]rating.Departure, len(rows))
	for i, r := range rows {
		found[i] = rating.Departure{Rater: r.Rater, Fate: rating.Fate(r.Fate), At: r.At.UTC()}
	}
	return found, nil
}
