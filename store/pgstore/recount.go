package pgstore

import (
	"context"
	"fmt"

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

// audit returns those contents whose buckets are not what their rows say, in one snapshot and
// without a lock. It counts a content at a time: otherwise the whole table may be read for a few of
// them.
const audit = `WITH meant AS MATERIALIZED (
	SELECT DISTINCT r.content_id FROM unnest($1::text[]) AS r (content_id) WHERE ` + there + `
)
SELECT DISTINCT content_id FROM (
	SELECT m.content_id, c.bucket, c.score, c.n FROM meant m
	CROSS JOIN LATERAL (SELECT bucket, score, count(*) AS n FROM khodnevis.ratings
		WHERE content_id = m.content_id AND NOT withdrawn GROUP BY bucket, score) c
	UNION ALL
	SELECT m.content_id, p.bucket, c.score, -c.n FROM meant m
	CROSS JOIN LATERAL (SELECT * FROM khodnevis.bucket_parts WHERE content_id = m.content_id) p
	CROSS JOIN LATERAL unnest(p.scores, p.counts) AS c (score, n)) x
GROUP BY content_id, bucket, score HAVING sum(n) <> 0 ORDER BY content_id`

// auditRows is how many ratings one audit reads, unless a single content has more. A million
// take about a second.
const auditRows = 200_000

const sizes = `SELECT r.content_id, coalesce(s.n, 0) AS n FROM (SELECT DISTINCT v.content_id
	FROM unnest($1::text[]) AS v (content_id)) r
	LEFT JOIN khodnevis.rating_scores s ON s.content_id = r.content_id ORDER BY r.content_id`

// Recount implements rating.Store. It repairs one content at a time: each lock is held for a
// short time, and it never waits for a second one. Contents that are to be rebuilt are rebuilt
// first, which is no drift.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := s.rebuild(ctx, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: rebuild before a recount of %d contents: %w", len(ids), err)
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

// lock locks all that is derived from the ratings of contents. An ApplyRatings of the same contents
// waits until the transaction ends; the next statement sees everything that was applied before, and
// what is applied after adds to what the transaction writes. Counting in the statement that takes
// the lock would count what was there when it began to wait.
func (tx transaction) lock(ids pq.StringArray) error {
	return tx.execAll(ids,
		`INSERT INTO khodnevis.rating_stats AS s (content_id) SELECT v.id FROM unnest($1::text[]) AS v (id)
			ORDER BY v.id COLLATE "C" ON CONFLICT (content_id) DO UPDATE SET revision = s.revision`,
		`INSERT INTO khodnevis.rating_scores (content_id) SELECT v.id FROM unnest($1::text[]) AS v (id)
			ORDER BY v.id COLLATE "C" ON CONFLICT DO NOTHING`)
}

// repair recounts a content and returns what was wrong, or nil.
func (tx transaction) repair(id string) (*rating.Drift, error) {
	if err := tx.lock(pq.StringArray{id}); err != nil {
		return nil, err
	}
	var counted, stored []rows.Cell
	if err := tx.query(&counted, countOne, id); err != nil {
		return nil, err
	}
	if err := tx.query(&stored, bucketsOf, id); err != nil {
		return nil, err
	}
	drift := rows.Tally(counted).Drift(id, rows.Tally(stored))
	if drift == nil {
		return nil, nil
	}
	return drift, tx.replace(pq.StringArray{id})
}

// replace counts the buckets of contents anew, which the transaction has locked, and has their
// numbers published.
func (tx transaction) replace(ids pq.StringArray) error {
	return tx.execAll(ids,
		`DELETE FROM khodnevis.rating_buckets WHERE content_id = ANY($1)`,
		`INSERT INTO khodnevis.rating_buckets (content_id, bucket, scores, counts)
			SELECT content_id, bucket, array_agg(score), array_agg(n) FROM (
				SELECT content_id, bucket, score, count(*) AS n FROM khodnevis.ratings
				WHERE content_id = ANY($1) AND NOT withdrawn GROUP BY content_id, bucket, score) r
			GROUP BY content_id, bucket`,
		`UPDATE khodnevis.rating_stats SET open_bucket = 0, open_scores = '{}', open_counts = '{}',
			revision = revision + 1, dirty = true WHERE content_id = ANY($1)`)
}
