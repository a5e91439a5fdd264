package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

func depart(tx Tx, d rating.Erasure) error {
	_, err := tx.Exec(`INSERT INTO departures (rater, fate, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET fate = excluded.fate, at = excluded.at`,
		d.Rater, string(d.Mode), d.At.UnixMicro())
	return err
}

// RecordErasure implements rating.Store.
func (s *Store) RecordErasure(ctx context.Context, d rating.Erasure) error {
	if err := s.file.Write(ctx, func(tx Tx) error { return depart(tx, d) }); err != nil {
		return fmt.Errorf("sqlitestore: erasure of %s: %w", d.Rater, err)
	}
	return nil
}

// Erasures implements rating.Store.
func (s *Store) Erasures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Erasure, error) {
	var rows []struct {
		Rater string `db:"rater"`
		Fate  string `db:"fate"`
		At    int64  `db:"at"`
	}
	if err := s.file.Select(ctx, &rows, `SELECT rater, fate, at FROM departures WHERE rater > ? AND at >= ? ORDER BY rater LIMIT ?`, after, since.UnixMicro(), limit); err != nil {
		return nil, fmt.Errorf("sqlitestore: erasures: %w", err)
	}
	found := make([]rating.Erasure, len(rows))
	for i, r := range rows {
		found[i] = rating.Erasure{Rater: r.Rater, Mode: rating.ErasureMode(r.Fate), At: instant(r.At)}
	}
	return found, nil
}
