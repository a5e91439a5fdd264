package sqlitestore

import (
	"context"
	"fmt"
	"time"
)

// SweepRatings implements rating.Store.
func (s *Store) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.clearAll(ctx); err != nil {
		return 0, fmt.Errorf("sqlitestore: sweep ratings of deleted contents: %w", err)
	}
	swept := int64(0)
	for _, what := range []struct{ name, text string }{
		{"ratings", `DELETE FROM ratings WHERE (content, rater) IN
			(SELECT content, rater FROM ratings WHERE result = 'withdrawn' AND updated_at < ? LIMIT ?)`},
		{"dead letters", `DELETE FROM rejected WHERE id IN
			(SELECT id FROM rejected WHERE at < ? ORDER BY at LIMIT ?)`},
		{"departures", `DELETE FROM departures WHERE rater IN
			(SELECT rater FROM departures WHERE at < ? ORDER BY at LIMIT ?)`},
	} {
		n, err := s.delete(ctx, what.text, before.UnixMicro(), int64(limit)-swept)
		if err != nil {
			return int(swept), fmt.Errorf("sqlitestore: sweep %s: %w", what.name, err)
		}
		swept += n
	}
	return int(swept), nil
}
