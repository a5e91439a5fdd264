package pgstore

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// statsRow is the numbers of a content, put together from two tables.
type statsRow struct {
	Content  string        `db:"content_id"`
	N        int64         `db:"n"`
	Sum      int64         `db:"sum"`
	Revision int64         `db:"revision"`
	AsOf     rows.Time     `db:"as_of"`
	Value    float64       `db:"value"`
	Weight   float64       `db:"weight"`
	Rank     float64       `db:"rank"`
	Folded   bool          `db:"folded"`
	Scores   pq.Int64Array `db:"scores"`
	Counts   pq.Int64Array `db:"counts"`
}

func (r statsRow) stats() rating.Stats {
	st := rating.Stats{Content: r.Content, Count: r.N, Sum: r.Sum, Histogram: make(map[int]int64, len(r.Scores)),
		Revision: r.Revision, AsOf: r.AsOf.Time,
		Score: score.Score{Value: r.Value, Weight: r.Weight, Rank: r.Rank, Computed: r.Folded}}
	for i, score := range r.Scores {
		st.Histogram[int(score)] += r.Counts[i]
	}
	maps.DeleteFunc(st.Histogram, func(_ int, n int64) bool { return n == 0 })
	return st
}

const (
	statsOf = `SELECT r.content_id, r.n, r.sum, r.revision + f.folds AS revision, greatest(r.as_of, f.folded_at)
		AS as_of,
	f.value, f.weight, f.rank, f.folded, r.scores, r.counts
	FROM khodnevis.rating_stats r JOIN khodnevis.rating_scores f ON f.content_id = r.content_id
	WHERE ` + there

	// statsByContent leaves out contents that were never rated. Their row, if there is one, was
	// made by a recount.
	statsByContent = statsOf + ` AND r.content_id = ANY($1) AND r.revision > 0`
)

// StatsByContent implements rating.Store.
func (s *Store) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []statsRow
	if err := s.query(ctx, &found, statsByContent, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: stats of %d contents: %w", len(ids), err)
	}
	return rows.All(found, statsRow.stats), nil
}

const (
	openings = `SELECT content_id, opened_at FROM khodnevis.openings WHERE content_id = ANY($1)`

	// open keeps what is recorded already. The order keeps two callers from waiting for each other,
	// and lets the first of two openings of one content win.
	open = `INSERT INTO khodnevis.openings (content_id, opened_at)
		SELECT v.content_id, v.at FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS v (content_id, at, i)
		ORDER BY v.content_id COLLATE "C", v.i ON CONFLICT DO NOTHING`
)

// StartHistories implements rating.Store.
func (s *Store) StartHistories(ctx context.Context, wanted []rating.HistoryStart) ([]rating.HistoryStart, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	found, missing, err := s.recorded(ctx, wanted)
	if err == nil && len(missing) > 0 {
		contents, at := make(pq.StringArray, len(missing)), make([]time.Time, len(missing))
		for i, m := range missing {
			contents[i], at[i] = m.Content, m.At
		}
		if _, err = s.exec(ctx, open, contents, times(at)); err == nil {
			found, _, err = s.recorded(ctx, wanted) // another caller may have been faster
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pgstore: start the histories of %d contents: %w", len(wanted), err)
	}
	return found, nil
}

func (s *Store) recorded(ctx context.Context, wanted []rating.HistoryStart) (found, missing []rating.HistoryStart,
	err error) {
	ids := make(pq.StringArray, len(wanted))
	for i, w := range wanted {
		ids[i] = w.Content
	}
	var recorded []rows.HistoryStart
	if err := s.query(ctx, &recorded, openings, ids); err != nil {
		return nil, nil, err
	}
	found, missing = rows.HistoryStarts(recorded, wanted)
	return found, missing, nil
}

// dirtyRow is a content that waits for its score, with its buckets as of Revision.
type dirtyRow struct {
	Content  string        `db:"content_id"`
	Revision int64         `db:"revision"`
	N        int64         `db:"n"`
	Buckets  pq.Int64Array `db:"buckets"`
	Counts   pq.Int64Array `db:"counts"`
	Sums     pq.Int64Array `db:"sums"`
}

func (r dirtyRow) buckets() []score.Bucket {
	buckets := make([]score.Bucket, len(r.Buckets))
	for i, index := range r.Buckets {
		buckets[i] = score.Bucket{Index: int(index), N: r.Counts[i], Sum: r.Sums[i]}
	}
	return buckets
}

const (
	// claim locks rows that only RefreshScores writes, so that ratings are applied meanwhile. It reads
	// rating_stats as they were when it began, though: dirtyBuckets, which begins when the locks
	// are held, says what is dirty still.
	claim = `SELECT r.content_id FROM khodnevis.rating_stats r
		JOIN khodnevis.rating_scores f ON f.content_id = r.content_id
		WHERE r.dirty AND ` + there + ` ORDER BY r.content_id LIMIT $1 FOR UPDATE OF f SKIP LOCKED`

	dirtyBuckets = `SELECT r.content_id, r.revision, r.n, b.buckets, b.counts, b.sums
		FROM khodnevis.rating_stats r CROSS JOIN LATERAL (
		SELECT array_agg(bucket ORDER BY bucket) AS buckets, array_agg(n ORDER BY bucket) AS counts,
			array_agg(sum ORDER BY bucket) AS sums FROM (
			SELECT bucket, sum(n)::bigint AS n, sum(sum)::bigint AS sum FROM khodnevis.bucket_parts
				WHERE content_id = r.content_id
			GROUP BY bucket HAVING sum(n) <> 0) x) b
		WHERE r.content_id = ANY($1) AND r.dirty ORDER BY r.content_id`

	recordScores = `UPDATE khodnevis.rating_scores f SET value = v.value, weight = v.weight, rank = v.rank,
		folded = v.folded, n = v.n, folds = f.folds + 1,
		folded_at = greatest(f.folded_at, clock_timestamp())
		FROM unnest($1::text[], $2::double precision[], $3::double precision[], $4::double precision[],
			$5::boolean[], $6::bigint[])
		AS v (content_id, value, weight, rank, folded, n)
		WHERE f.content_id = v.content_id`

	// clean leaves a content dirty that has changed since its buckets were read, or is about to: it
	// waits for nobody.
	clean = `UPDATE khodnevis.rating_stats SET dirty = false WHERE content_id = ANY(ARRAY(
		SELECT r.content_id FROM unnest($1::text[], $2::bigint[]) AS v (content_id, revision)
		JOIN khodnevis.rating_stats r ON r.content_id = v.content_id
			AND r.revision = v.revision FOR UPDATE OF r SKIP LOCKED))`
)

// RefreshScores implements rating.Store.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	var refreshed []rating.Stats
	err := s.transact(ctx, func(tx transaction) error {
		var ids pq.StringArray
		if err := tx.query((*[]string)(&ids), claim, limit); err != nil {
			return err
		}
		var dirty []dirtyRow
		if len(ids) > 0 {
			if err := tx.query(&dirty, dirtyBuckets, ids); err != nil {
				return err
			}
		}
		if len(dirty) == 0 {
			return nil
		}
		windows, err := windowsOf(tx.query, ids) // one that is added meanwhile leaves its content dirty
		if err != nil {
			return err
		}
		n := len(dirty)
		contents, revisions, computed := make(pq.StringArray, n), make(pq.Int64Array, n), make(pq.BoolArray, n)
		values, weights, ranks, counts := make(pq.Float64Array, n), make(pq.Float64Array, n),
			make(pq.Float64Array, n), make(pq.Int64Array, n)
		for i, r := range dirty {
			f := compute(rating.History{Buckets: r.buckets(), Windows: windows[r.Content]})
			contents[i], revisions[i], counts[i] = r.Content, r.Revision, r.N
			values[i], weights[i], ranks[i], computed[i] = f.Value, f.Weight, f.Rank, f.Computed
		}
		if _, err := tx.exec(recordScores, contents, values, weights, ranks, computed, counts); err != nil {
			return err
		}
		if _, err := tx.exec(clean, contents, revisions); err != nil {
			return err
		}
		var found []statsRow
		err = tx.query(&found, statsByContent, contents)
		refreshed = rows.All(found, statsRow.stats)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pgstore: refresh scores: %w", err)
	}
	return refreshed, nil
}
