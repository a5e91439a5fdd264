package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// statsRow is a row of rating_stats: the published numbers.
type statsRow struct {
	Content   string    `db:"content"`
	N         int64     `db:"n"`
	Sum       int64     `db:"sum"`
	Value     float64   `db:"value"`
	Counted   float64   `db:"weight"`
	Rank      float64   `db:"rank"`
	Computed  bool      `db:"folded"`
	Revision  int64     `db:"revision"`
	AsOf      rows.Time `db:"as_of"`
	Histogram string    `db:"histogram"`
}

// statsByContent takes a JSON array of identifiers.
const statsByContent = `SELECT content, n, sum, value, weight, rank, folded, revision, as_of, histogram
	FROM rating_stats WHERE content IN (SELECT value FROM json_each(?)) AND revision > 0`

// StatsByContent implements rating.Store.
func (s *Store) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var stored []statsRow
	if err := s.file.Select(ctx, &stored, statsByContent, array(ids)); err != nil {
		return nil, fmt.Errorf("sqlitestore: stats by content: %w", err)
	}
	found := make([]rating.Stats, len(stored))
	for i, r := range stored {
		found[i] = rating.Stats{Content: r.Content, Count: r.N, Sum: r.Sum, Revision: r.Revision, AsOf: r.AsOf.Time,
			Score: score.Score{Value: r.Value, Counted: r.Counted, Rank: r.Rank, Computed: r.Computed}}
		if err := json.Unmarshal([]byte(r.Histogram), &found[i].Histogram); err != nil {
			return nil, fmt.Errorf("sqlitestore: histogram of %s: %w", r.Content, err)
		}
	}
	return found, nil
}

// The contents whose numbers are to be published: those that have waited longest, or those among a
// JSON array of identifiers. A content that is not rebuilt yet waits for that.
const (
	due = `SELECT content FROM rating_stats WHERE dirty_at IS NOT NULL
		AND content NOT IN (SELECT content FROM rebuilds) ORDER BY dirty_at, content LIMIT ?`
	dueOf = `SELECT content FROM rating_stats WHERE dirty_at IS NOT NULL AND content IN (SELECT value FROM json_each(?))
		AND content NOT IN (SELECT content FROM rebuilds)`
)

// RefreshScores implements rating.Store.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	return s.refresh(ctx, compute, due, limit)
}

// RefreshScoresOf implements rating.Store.
func (s *Store) RefreshScoresOf(
	ctx context.Context, ids []string, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	return s.refresh(ctx, compute, dueOf, array(ids))
}

// shared is how many contents refresh publishes in a transaction that it shares with other writers.
const shared = 20

// refresh publishes the numbers of contents. It waits for its transaction whatever happens to ctx,
// because compute runs within it.
func (s *Store) refresh(
	ctx context.Context, compute func(rating.History) score.Score, text string, arg any,
) (refreshed []rating.Stats, err error) {
	var waiting []string
	if err = s.file.Select(ctx, &waiting, text, arg); err == nil && len(waiting) > 0 {
		write := s.file.WriteLong
		if len(waiting) <= shared {
			write = s.file.Write
		}
		err = write(context.WithoutCancel(ctx), func(tx Tx) error {
			refreshed = nil
			var claimed []string
			if err := tx.Select(&claimed, text, arg); err != nil {
				return err
			}
			at := now()
			for _, id := range claimed {
				stats, err := publish(tx, id, at, compute)
				if err != nil {
					return err
				}
				refreshed = append(refreshed, stats)
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: refresh scores: %w", err)
	}
	return refreshed, nil
}

// publish publishes the numbers of a content.
func publish(tx Tx, id string, at int64, compute func(rating.History) score.Score) (rating.Stats, error) {
	h, err := history(tx.Select, id)
	if err != nil {
		return rating.Stats{}, err
	}
	stats := h.Stats(id, compute(h))
	histogram, err := json.Marshal(stats.Histogram)
	if err != nil {
		return rating.Stats{}, err
	}
	var published struct {
		Revision int64     `db:"revision"`
		AsOf     rows.Time `db:"as_of"`
	}
	_, err = tx.Get(&published, `UPDATE rating_stats SET n = ?, sum = ?, histogram = ?, value = ?, weight = ?, rank = ?,
		folded = ?, revision = revision + 1, as_of = max(as_of, ?), dirty_at = NULL WHERE content = ?
		RETURNING revision, as_of`, stats.Count, stats.Sum, string(histogram), stats.Score.Value, stats.Score.Counted,
		stats.Score.Rank, stats.Score.Computed, at, id)
	stats.Revision, stats.AsOf = published.Revision, published.AsOf.Time
	return stats, err
}
