package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// statsRow is the published numbers of a content.
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
		Score: score.Score{Value: r.Value, Counted: r.Weight, Rank: r.Rank, Computed: r.Folded}}
	for i, score := range r.Scores {
		st.Histogram[int(score)] = r.Counts[i]
	}
	return st
}

const statsByContent = `SELECT r.content_id, r.n, r.sum, r.revision, r.as_of, r.value, r.weight, r.rank, r.folded,
	r.scores, r.counts
	FROM khodnevis.rating_scores r WHERE r.content_id = ANY($1) AND r.revision > 0 AND ` + there

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

// dirtyRow is a content whose numbers are to be published, with its buckets as of Revision.
type dirtyRow struct {
	Content  string        `db:"content_id"`
	Revision int64         `db:"revision"`
	Ruled    bool          `db:"ruled"` // it has windows
	Buckets  pq.Int64Array `db:"buckets"`
	Scores   pq.Int64Array `db:"scores"`
	Counts   pq.Int64Array `db:"counts"`
}

func (r dirtyRow) buckets() []score.Bucket {
	t := rating.Tally{}
	for i, bucket := range r.Buckets {
		t.AddMany(score.Cell{Bucket: int(bucket), Score: int(r.Scores[i])}, r.Counts[i])
	}
	return t.Buckets()
}

const (
	dirty = `r.dirty AND ` + rebuilt + ` AND ` + there

	anyDirty = `SELECT r.content_id FROM khodnevis.rating_stats r WHERE ` + dirty + ` LIMIT 1`
	dirtyOf  = `SELECT r.content_id FROM khodnevis.rating_stats r WHERE r.content_id = ANY($1) AND ` + dirty

	// A claim locks rows that only refreshes write, so that ratings are applied meanwhile. It reads
	// rating_stats as they were when it began, though: dirtyBuckets, which begins when the locks
	// are held, says what is dirty still.
	claimed = `SELECT r.content_id FROM khodnevis.rating_stats r
		JOIN khodnevis.rating_scores f ON f.content_id = r.content_id WHERE ` + dirty
	claim   = claimed + ` ORDER BY r.content_id LIMIT $1 FOR UPDATE OF f SKIP LOCKED`
	claimOf = claimed + ` AND r.content_id = ANY($1) ORDER BY r.content_id FOR UPDATE OF f`

	dirtyBuckets = `SELECT r.content_id, r.revision, b.buckets, b.scores, b.counts,
		EXISTS (SELECT FROM khodnevis.rating_windows w WHERE w.content_id = r.content_id) AS ruled
		FROM khodnevis.rating_stats r CROSS JOIN LATERAL (
		SELECT array_agg(p.bucket) AS buckets, array_agg(c.score) AS scores, array_agg(c.n) AS counts
			FROM khodnevis.bucket_parts p CROSS JOIN LATERAL unnest(p.scores, p.counts) AS c (score, n)
			WHERE p.content_id = r.content_id) b
		WHERE r.content_id = ANY($1) AND r.dirty ORDER BY r.content_id`

	publish = `UPDATE khodnevis.rating_scores f SET value = v.value, weight = v.weight, rank = v.rank,
		folded = v.folded, n = v.n, sum = v.sum, scores = v.scores::integer[], counts = v.counts::bigint[],
		revision = f.revision + 1, as_of = greatest(f.as_of, clock_timestamp())
		FROM unnest($1::text[], $2::double precision[], $3::double precision[], $4::double precision[],
			$5::boolean[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
		AS v (content_id, value, weight, rank, folded, n, sum, scores, counts)
		WHERE f.content_id = v.content_id RETURNING f.content_id, f.revision, f.as_of`

	// clean leaves a content dirty that has changed since its buckets were read, or is about to: it
	// waits for nobody.
	clean = `UPDATE khodnevis.rating_stats SET dirty = false WHERE content_id = ANY(ARRAY(
		SELECT r.content_id FROM unnest($1::text[], $2::bigint[]) AS v (content_id, revision)
		JOIN khodnevis.rating_stats r ON r.content_id = v.content_id
			AND r.revision = v.revision FOR UPDATE OF r SKIP LOCKED))`
)

// RefreshScores implements rating.Store. It opens no transaction when nothing is dirty.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, compute func(rating.History) score.Score,
) (refreshed []rating.Stats, err error) {
	var ids []string
	if err = s.query(ctx, &ids, anyDirty); err == nil && len(ids) > 0 {
		refreshed, err = s.refresh(ctx, compute, claim, limit)
	}
	return refreshed, wrap(err, "refresh scores")
}

// RefreshScoresOf implements rating.Store. A content that is not dirty has no changes that are not
// published: whoever cleans it publishes its numbers in the same transaction.
func (s *Store) RefreshScoresOf(
	ctx context.Context, ids []string, compute func(rating.History) score.Score,
) (refreshed []rating.Stats, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []string
	if err = s.query(ctx, &found, dirtyOf, pq.StringArray(ids)); err == nil && len(found) > 0 {
		refreshed, err = s.refresh(ctx, compute, claimOf, pq.StringArray(found))
	}
	return refreshed, wrap(err, "refresh the scores of %d contents", len(ids))
}

// refresh publishes the numbers of what a claim finds.
func (s *Store) refresh(ctx context.Context, compute func(rating.History) score.Score, claim string, arg any) (
	refreshed []rating.Stats, err error) {
	err = s.transact(ctx, func(tx transaction) error {
		refreshed = nil
		var ids pq.StringArray
		if err := tx.query((*[]string)(&ids), claim, arg); err != nil || len(ids) == 0 {
			return err
		}
		var found []dirtyRow
		if err := tx.query(&found, dirtyBuckets, ids); err != nil || len(found) == 0 {
			return err
		}
		var ruled pq.StringArray
		for _, r := range found {
			if r.Ruled {
				ruled = append(ruled, r.Content)
			}
		}
		windows := map[string][]rating.Window{}
		if len(ruled) > 0 { // a window that is added meanwhile leaves its content dirty
			if windows, err = windowsOf(tx.query, ruled); err != nil {
				return err
			}
		}
		contents, revisions := make(pq.StringArray, len(found)), make(pq.Int64Array, len(found))
		for i, r := range found {
			h := rating.History{Buckets: r.buckets(), Windows: windows[r.Content]}
			contents[i], revisions[i] = r.Content, r.Revision
			refreshed = append(refreshed, h.Stats(r.Content, compute(h)))
		}
		if err := tx.publish(refreshed); err != nil {
			return err
		}
		_, err := tx.exec(clean, contents, revisions)
		return err
	})
	return refreshed, err
}

// publish writes the numbers of contents, and gives them their Revision and AsOf.
func (tx transaction) publish(all []rating.Stats) error {
	n := len(all)
	contents, computed := make(pq.StringArray, n), make(pq.BoolArray, n)
	values, weights, ranks := make(pq.Float64Array, n), make(pq.Float64Array, n), make(pq.Float64Array, n)
	counts, sums := make(pq.Int64Array, n), make(pq.Int64Array, n)
	histogramScores, histogramCounts := make(pq.StringArray, n), make(pq.StringArray, n)
	for i, st := range all {
		contents[i], counts[i], sums[i] = st.Content, st.Count, st.Sum
		values[i], weights[i], ranks[i], computed[i] = st.Score.Value, st.Score.Counted, st.Score.Rank, st.Score.Computed
		var scores, ns []int64
		for score, n := range st.Histogram {
			scores, ns = append(scores, int64(score)), append(ns, n)
		}
		histogramScores[i], histogramCounts[i] = arrayText(scores), arrayText(ns)
	}
	var published []struct {
		Content  string    `db:"content_id"`
		Revision int64     `db:"revision"`
		AsOf     time.Time `db:"as_of"`
	}
	if err := tx.query(&published, publish, contents, values, weights, ranks, computed, counts, sums,
		histogramScores, histogramCounts); err != nil {
		return err
	}
	at := make(map[string]int, n)
	for i, r := range published {
		at[r.Content] = i
	}
	for i := range all {
		r := published[at[all[i].Content]]
		all[i].Revision, all[i].AsOf = r.Revision, r.AsOf.UTC()
	}
	return nil
}
