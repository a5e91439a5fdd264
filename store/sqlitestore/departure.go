package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/rating"
)

func depart(tx *sqlitefile.Tx, d rating.Departure) error {
	_, err := tx.Exec(`INSERT INTO departures (rater, fate, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET fate = excluded.fate, at = excluded.at`,
		d.Rater, string(d.Fate), d.At.UnixMicro())
	return err
}

// Depart implements rating.Store.
func (s *Store) Depart(ctx context.Context, d rating.Departure) error {
	if err := s.file.Write(ctx, func(tx *sqlitefile.Tx) error { return depart(tx, d) }); err != nil {
		return fmt.Errorf("sqlitestore: departure of %s: %w", d.Rater, err)
	}
	return nil
}

// Departures implements rating.Store.
func (s *Store) Departures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Departure, error) {
	var rows []struct {
		Rater string `db:"rater"`
		Fate  string `db:"fate"`
		At    int64  `db:"at"`
	}
	if err := s.file.Select(ctx, &rows, `SELECT rater, fate, at FROM departures WHERE rater > ? AND at >= ? ORDER BY rater LIMIT ?`, after, since.UnixMicro(), limit); err != nil {
		return nil, fmt.Errorf("sqlitestore: departures: %w", err)
	}
	found := make([]rating.Departure, len(rows))
	for i, r := range rows {
		found[i] = rating.Departure{Rater: r.Rater, Fate: rating.Fate(r.Fate), At: instant(r.At)}
	}
	return found, nil
}
