package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

func recordErasure(tx Tx, d rating.Erasure) error {
	_, err := tx.Exec(`INSERT INTO departures (rater, fate, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
		SET fate = excluded.fate, at = excluded.at`,
		d.Rater, string(d.Mode), d.At.UnixMicro())
	return err
}

// RecordErasure implements rating.Store.
func (s *Store) RecordErasure(ctx context.Context, d rating.Erasure) error {
	err := s.file.Write(ctx, func(tx Tx) error { return recordErasure(tx, d) })
	return wrap(err, "erasure of %s", d.Rater)
}

// Erasures implements rating.Store.
func (s *Store) Erasures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Erasure, error) {
	var found []rows.Erasure
	if err := s.file.Select(ctx, &found, `SELECT rater, fate, at FROM departures
		WHERE rater > ? AND at >= ? ORDER BY rater LIMIT ?`, after, since.UnixMicro(), limit); err != nil {
		return nil, fmt.Errorf("sqlitestore: erasures: %w", err)
	}
	return rows.All(found, rows.Erasure.Erasure), nil
}
