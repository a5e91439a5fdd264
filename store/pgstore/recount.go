package pgstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// ratedContents walks the primary key of ratings from one content to the next. Numbers without rows
// are found too: they are a drift.
const ratedContents = `WITH RECURSIVE walk AS (
	(SELECT content_id, 1 AS i FROM khodnevis.ratings WHERE content_id > $1 ORDER BY content_id LIMIT 1)
	UNION ALL
	SELECT (SELECT next.content_id FROM khodnevis.ratings next WHERE next.content_id > walk.content_id
		ORDER BY next.content_id LIMIT 1), walk.i + 1
	FROM walk WHERE walk.content_id IS NOT NULL AND walk.i < $2
), numbers AS (
	SELECT content_id FROM khodnevis.rating_stats WHERE content_id > $1 ORDER BY content_id LIMIT $2
)
SELECT content_id FROM (SELECT content_id FROM walk WHERE content_id IS NOT NULL UNION SELECT content_id
	FROM numbers) r
WHERE ` + there + ` ORDER BY content_id LIMIT $2`

// RatedContents implements rating.Store.
func (s *Store) RatedContents(ctx context.Context, after string, limit int) ([]string, error) {
	var ids []string
	if err := s.query(ctx, &ids, ratedContents, after, limit); err != nil {
		return nil, fmt.Errorf("pgstore: rated contents after %q: %w", after, err)
	}
	return ids, nil
}

// audit returns those contents whose numbers are not what their rows say, in one snapshot and
// without a lock. It counts a content at a time: otherwise the whole table may be read for a few of
// them.
const audit = `WITH meant AS MATERIALIZED (
	SELECT DISTINCT r.content_id FROM unnest($1::text[]) AS r (content_id) WHERE ` + there + `
), counted AS MATERIALIZED (
	SELECT m.content_id, c.bucket, c.score, c.n FROM meant m
	CROSS JOIN LATERAL (SELECT bucket, score, count(*) AS n FROM khodnevis.ratings
		WHERE content_id = m.content_id AND NOT withdrawn GROUP BY bucket, score) c
), stored AS MATERIALIZED (
	SELECT s.* FROM meant m JOIN khodnevis.rating_stats s ON s.content_id = m.content_id
)
SELECT DISTINCT content_id FROM (
	SELECT content_id, 'n' AS what, 0 AS part, n, sum FROM stored
	UNION ALL SELECT content_id, 'n', 0, -n, -n * score FROM counted
	UNION ALL SELECT content_id, 'score', unnest(scores), unnest(counts), 0 FROM stored
	UNION ALL SELECT content_id, 'score', score, -n, 0 FROM counted
	UNION ALL SELECT m.content_id, 'bucket', p.bucket, p.n, p.sum FROM meant m CROSS JOIN LATERAL (SELECT *
		FROM khodnevis.bucket_parts WHERE content_id = m.content_id) p
	UNION ALL SELECT content_id, 'bucket', bucket, -n, -n * score FROM counted) x
GROUP BY content_id, what, part HAVING sum(n) <> 0 OR sum(sum) <> 0 ORDER BY content_id`

// auditRows is how many ratings one audit reads, unless a single content has more. A million
// take about a second.
const auditRows = 200_000

const sizes = `SELECT r.content_id, coalesce(s.n, 0) AS n FROM (SELECT DISTINCT v.content_id
	FROM unnest($1::text[]) AS v (content_id)) r
	LEFT JOIN khodnevis.rating_stats s ON s.content_id = r.content_id ORDER BY r.content_id`

// Recount implements rating.Store. It repairs one content at a time: each lock is held for a
// short time, and it never waits for a second one.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var all []size
	if err := s.query(ctx, &all, sizes, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: sizes of %d contents: %w", len(ids), err)
	}
	var drifts []rating.Drift
	for _, chunk := range chunks(all) {
		found, err := s.recount(ctx, chunk)
		if err != nil {
			return nil, err
		}
		drifts = append(drifts, found...)
	}
	return drifts, nil
}

// size is how many ratings a content has.
type size struct {
	Content string `db:"content_id"`
	N       int64  `db:"n"`
}

// chunks cuts contents into pieces of not much more than auditRows ratings.
func chunks(all []size) [][]string {
	var pieces [][]string
	rows := int64(auditRows)
	for _, c := range all {
		if rows >= auditRows {
			pieces, rows = append(pieces, nil), 0
		}
		last := len(pieces) - 1
		pieces[last] = append(pieces[last], c.Content)
		rows += c.N
	}
	return pieces
}

func (s *Store) recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	var suspects []string
	if err := s.query(ctx, &suspects, audit, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: audit %d contents: %w", len(ids), err)
	}
	var drifts []rating.Drift
	for _, id := range suspects {
		var drift *rating.Drift
		err := s.transact(ctx, func(tx transaction) (err error) {
			drift, err = tx.repair(id)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("pgstore: recount content %s: %w", id, err)
		}
		if drift != nil {
			drifts = append(drifts, *drift)
		}
	}
	return drifts, nil
}

const countOne = `SELECT r.bucket, r.score, count(*) AS n FROM khodnevis.ratings r WHERE r.content_id = $1
	AND NOT r.withdrawn AND ` + there + ` GROUP BY r.bucket, r.score`

// repair recounts a content and returns what was wrong, or nil. An ApplyRatings of the same content
// waits from the first statement to the end; the next one sees everything that was applied before,
// and what is applied after adds to what is written here. Counting in the statement that takes the
// lock would count what was there when it began to wait.
func (tx transaction) repair(id string) (*rating.Drift, error) {
	for _, text := range []string{
		`INSERT INTO khodnevis.rating_stats (content_id) VALUES ($1) ON CONFLICT (content_id) DO UPDATE
			SET n = rating_stats.n`,
		`INSERT INTO khodnevis.rating_scores (content_id) VALUES ($1) ON CONFLICT DO NOTHING`,
	} {
		if _, err := tx.exec(text, id); err != nil {
			return nil, err
		}
	}
	var parts []part
	if err := tx.query(&parts, countOne, id); err != nil {
		return nil, err
	}
	var is rating.Tally
	for _, p := range parts {
		is.AddMany(p.Score, p.Bucket, p.N)
	}
	drift := &rating.Drift{Content: id, Was: rating.Stats{Content: id, Histogram: map[int]int64{}},
		IsBuckets: is.Sorted()}
	var stored []statsRow
	if err := tx.query(&stored, statsOf+` AND r.content_id = $1`, id); err != nil {
		return nil, err
	}
	if len(stored) > 0 { // otherwise the content was deleted meanwhile
		drift.Was = stored[0].stats()
	}
	var buckets []rows.Bucket
	if err := tx.query(&buckets, bucketsOf, id); err != nil {
		return nil, err
	}
	drift.Is, drift.WasBuckets = is.Of(drift.Was), rows.Buckets(buckets)
	if drift.Was.Equal(drift.Is) && slices.Equal(drift.WasBuckets, drift.IsBuckets) {
		return nil, nil
	}
	return drift, tx.replace(id, is)
}

// replace writes the numbers of a content anew and has the score refreshed.
func (tx transaction) replace(id string, is rating.Tally) error {
	var scores, counts, indexes, ns, sums pq.Int64Array
	for score, n := range is.Histogram {
		scores, counts = append(scores, int64(score)), append(counts, n)
	}
	for _, b := range is.Sorted() {
		indexes, ns, sums = append(indexes, int64(b.Index)), append(ns, b.N), append(sums, b.Sum)
	}
	for _, step := range []struct {
		text string
		args []any
	}{
		{`DELETE FROM khodnevis.rating_buckets WHERE content_id = $1`, []any{id}},
		{`INSERT INTO khodnevis.rating_buckets (content_id, bucket, n, sum) SELECT $1, v.*
			FROM unnest($2::integer[], $3::bigint[], $4::bigint[]) AS v`,
			[]any{id, indexes, ns, sums}},
		{`UPDATE khodnevis.rating_stats SET n = $2, sum = $3, scores = coalesce($4::integer[], '{}'),
			counts = coalesce($5::bigint[], '{}'),
			open_bucket = 0, open_n = 0, open_sum = 0, revision = revision + 1, as_of = greatest(as_of,
				clock_timestamp()), dirty = true
			WHERE content_id = $1`, []any{id, is.Count, is.Sum, scores, counts}},
	} {
		if _, err := tx.exec(step.text, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// part is how many ratings of one bucket have one score.
type part struct {
	Bucket int   `db:"bucket"`
	Score  int   `db:"score"`
	N      int64 `db:"n"`
}
