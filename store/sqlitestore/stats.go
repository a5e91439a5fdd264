package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// statsRow is a row of rating_stats with its bins as a JSON object.
type statsRow struct {
	Content   string    `db:"content"`
	N         int64     `db:"n"`
	Sum       int64     `db:"sum"`
	Value     float64   `db:"value"`
	Weight    float64   `db:"weight"`
	Rank      float64   `db:"rank"`
	Folded    bool      `db:"folded"`
	Revision  int64     `db:"revision"`
	AsOf      rows.Time `db:"as_of"`
	Histogram string    `db:"histogram"`
}

const statsColumns = `s.content, s.n, s.sum, s.value, s.weight, s.rank, s.folded, s.revision, s.as_of,
	(SELECT json_group_object(b.score, b.n) FROM rating_bins b WHERE b.content = s.content) AS histogram`

// statsByContent takes a JSON array of identifiers.
const statsByContent = `SELECT ` + statsColumns + ` FROM rating_stats s WHERE s.content IN (SELECT value
	FROM json_each(?)) AND s.revision > 0`

func (r statsRow) stats() (rating.Stats, error) {
	stats := rating.Stats{Content: r.Content, Count: r.N, Sum: r.Sum, Revision: r.Revision, AsOf: r.AsOf.Time,
		Score: score.Score{Value: r.Value, Weight: r.Weight, Rank: r.Rank, Computed: r.Folded}}
	if err := json.Unmarshal([]byte(r.Histogram), &stats.Histogram); err != nil {
		return rating.Stats{}, fmt.Errorf("histogram of %s: %w", r.Content, err)
	}
	return stats, nil
}

func allStats(stored []statsRow) ([]rating.Stats, error) {
	found := make([]rating.Stats, len(stored))
	for i, r := range stored {
		var err error
		if found[i], err = r.stats(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// StatsByContent implements rating.Store.
func (s *Store) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var stored []statsRow
	if err := s.file.Select(ctx, &stored, statsByContent, array(ids)); err != nil {
		return nil, fmt.Errorf("sqlitestore: stats by content: %w", err)
	}
	found, err := allStats(stored)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: stats by content: %w", err)
	}
	return found, nil
}

// StartHistories implements rating.Store.
func (s *Store) StartHistories(ctx context.Context, wanted []rating.HistoryStart) ([]rating.HistoryStart, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	found, missing, err := s.recorded(ctx, wanted)
	if err == nil && len(missing) > 0 {
		starts := make([][2]any, len(missing))
		for i, m := range missing {
			starts[i] = [2]any{m.Content, m.At.UnixMicro()}
		}
		if err = s.file.Write(ctx, func(tx Tx) error {
			_, err := tx.Exec(`INSERT INTO openings (content, opened_at)
				SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE TRUE ON CONFLICT DO NOTHING`, array(starts))
			return err
		}); err == nil {
			found, _, err = s.recorded(ctx, wanted)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: start the histories of %d contents: %w", len(wanted), err)
	}
	return found, nil
}

func (s *Store) recorded(ctx context.Context, wanted []rating.HistoryStart) (found, missing []rating.HistoryStart,
	err error) {
	ids := make([]string, len(wanted))
	for i, w := range wanted {
		ids[i] = w.Content
	}
	var recorded []rows.HistoryStart
	if err := s.file.Select(ctx, &recorded, `SELECT content AS content_id, opened_at FROM openings
		WHERE content IN (SELECT value FROM json_each(?))`, array(ids)); err != nil {
		return nil, nil, err
	}
	found, missing = rows.HistoryStarts(recorded, wanted)
	return found, missing, nil
}

// RefreshScores implements rating.Store. It waits for its transaction whatever happens to ctx,
// because compute runs within it.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var refreshed []rating.Stats
	err := s.file.WriteLong(context.WithoutCancel(ctx), func(tx Tx) error {
		var claimed []string // those that have waited longest
		if err := tx.Select(&claimed, `SELECT content FROM rating_stats WHERE dirty_at IS NOT NULL
			ORDER BY dirty_at, content LIMIT ?`, limit); err != nil {
			return err
		}
		at := now()
		for _, id := range claimed {
			h, err := history(tx.Select, id)
			if err != nil {
				return err
			}
			score := compute(h)
			if _, err := tx.Exec(`UPDATE rating_stats SET value = ?, weight = ?, rank = ?, folded = ?,
				revision = revision + 1, as_of = ?, dirty_at = NULL WHERE content = ?`,
				score.Value, score.Weight, score.Rank, score.Computed, at, id); err != nil {
				return err
			}
		}
		var stored []statsRow
		err := tx.Select(&stored, statsByContent, array(claimed))
		if err == nil {
			refreshed, err = allStats(stored)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: refresh scores: %w", err)
	}
	return refreshed, nil
}
