package sqlitestore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// RatedContents implements rating.Store. It leaps from content to content, however many ratings one
// has.
func (s *Store) RatedContents(ctx context.Context, after string, limit int) ([]string, error) {
	var ids []string
	err := s.file.Select(ctx, &ids, `WITH RECURSIVE rated (id) AS (SELECT `+nextRated("?1")+`
		UNION ALL SELECT `+nextRated("rated.id")+` FROM rated WHERE rated.id IS NOT NULL)
		SELECT id FROM rated WHERE id IS NOT NULL LIMIT ?2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: rated contents: %w", err)
	}
	return ids, nil
}

// nextRated returns the expression of the first content after another that has ratings or numbers.
func nextRated(after string) string {
	return `(SELECT min(id) FROM (
		SELECT (SELECT content FROM ratings r WHERE content > ` + after + ` AND ` + notCleared + `
			ORDER BY content LIMIT 1) AS id
		UNION ALL SELECT (SELECT content FROM rating_stats WHERE content > ` + after + ` AND (revision > 0 OR n <> 0)
			ORDER BY content LIMIT 1)))`
}

// audit is what one statement, so at one moment, finds of a content: the numbers that are stored,
// and those of its rows.
type audit struct {
	N       int64  `db:"n"`
	Sum     int64  `db:"sum"`
	Bins    string `db:"bins"`    // [[score, n], …]
	Buckets string `db:"buckets"` // [[bucket, n, sum], …]
	Rows    string `db:"rows"`    // [[score, bucket, n], …]
}

const auditContent = `SELECT
	coalesce((SELECT n FROM rating_stats WHERE content = ?1), 0) AS n,
	coalesce((SELECT sum FROM rating_stats WHERE content = ?1), 0) AS sum,
	(SELECT json_group_array(json_array(score, n)) FROM rating_bins WHERE content = ?1) AS bins,
	(SELECT json_group_array(json_array(bucket, n, sum)) FROM rating_buckets WHERE content = ?1) AS buckets,
	(SELECT json_group_array(json_array(score, bucket, n)) FROM
		(SELECT score, bucket, count(*) AS n FROM ratings r
			WHERE content = ?1 AND result <> 'withdrawn' AND ` + notCleared + ` GROUP BY score, bucket)) AS rows`

// tallies returns what is stored and what should be.
func (a audit) tallies() (stored, counted rating.Tally, err error) {
	var bins [][2]int64
	var buckets, rows [][3]int64
	for _, part := range []struct {
		text string
		dest any
	}{{a.Bins, &bins}, {a.Buckets, &buckets}, {a.Rows, &rows}} {
		if err := json.Unmarshal([]byte(part.text), part.dest); err != nil {
			return stored, counted, err
		}
	}
	stored = rating.Tally{Count: a.N, Sum: a.Sum, Histogram: map[int]int64{}, Buckets: map[int]score.Bucket{}}
	for _, b := range bins {
		stored.Histogram[int(b[0])] = b[1]
	}
	for _, b := range buckets {
		stored.Buckets[int(b[0])] = score.Bucket{Index: int(b[0]), N: b[1], Sum: b[2]}
	}
	for _, r := range rows {
		counted.AddMany(int(r[0]), int(r[1]), r[2])
	}
	return stored, counted, nil
}

// Recount implements rating.Store. It counts without a lock, and locks and counts again only what
// was wrong. With an error it returns what it has repaired before.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	var drifts []rating.Drift
	ids = slices.Clone(ids)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		drift, err := s.recount(ctx, id)
		if err != nil {
			return drifts, fmt.Errorf("sqlitestore: recount %s: %w", id, err)
		}
		drifts = append(drifts, drift...)
	}
	return drifts, nil
}

// recount returns at most one drift.
func (s *Store) recount(ctx context.Context, id string) ([]rating.Drift, error) {
	var a audit
	if _, err := s.file.Get(ctx, &a, auditContent, id); err != nil {
		return nil, err
	}
	if stored, counted, err := a.tallies(); err != nil || stored.Equal(counted) {
		return nil, err
	}
	var drifts []rating.Drift
	err := s.file.WriteLong(ctx, func(tx Tx) (err error) {
		drifts, err = repair(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return drifts, nil
}

// repair counts the rows of a content and puts what is stored right.
func repair(tx Tx, id string) ([]rating.Drift, error) {
	var a audit
	if _, err := tx.Get(&a, auditContent, id); err != nil {
		return nil, err
	}
	stored, counted, err := a.tallies()
	if err != nil || stored.Equal(counted) {
		return nil, err
	}
	drift := rating.Drift{Content: id, WasBuckets: stored.Sorted(), IsBuckets: counted.Sorted()}
	if drift.Was, err = anyStats(tx, id); err != nil {
		return nil, err
	}
	if err := put(tx, id, counted); err != nil {
		return nil, err
	}
	if drift.Is, err = anyStats(tx, id); err != nil {
		return nil, err
	}
	return []rating.Drift{drift}, nil
}

// anyStats returns the numbers of a content; those without a row have only an identifier and a
// histogram.
func anyStats(tx Tx, id string) (rating.Stats, error) {
	var row statsRow
	ok, err := tx.Get(&row, `SELECT `+statsColumns+` FROM rating_stats s WHERE s.content = ?`, id)
	if err != nil || !ok {
		return rating.Stats{Content: id}, err
	}
	return row.stats()
}

// put replaces the stored numbers of a content.
func put(tx Tx, id string, t rating.Tally) error {
	if _, err := tx.Exec(`INSERT INTO rating_stats (content, n, sum, revision, as_of, dirty_at) VALUES (?1, ?2,
		?3, 1, ?4, ?4)
		ON CONFLICT DO UPDATE SET n = excluded.n, sum = excluded.sum, revision = revision + 1, as_of = excluded.as_of,
		dirty_at = coalesce(dirty_at, excluded.dirty_at)`, id, t.Count, t.Sum, now()); err != nil {
		return err
	}
	for _, clear := range []string{`DELETE FROM rating_bins WHERE content = ?`,
		`DELETE FROM rating_buckets WHERE content = ?`} {
		if _, err := tx.Exec(clear, id); err != nil {
			return err
		}
	}
	for score, n := range t.Histogram {
		if _, err := tx.Exec(`INSERT INTO rating_bins (content, score, n) VALUES (?, ?, ?)`, id, score,
			n); err != nil {
			return err
		}
	}
	for _, b := range t.Buckets {
		if _, err := tx.Exec(`INSERT INTO rating_buckets (content, bucket, n, sum) VALUES (?, ?, ?, ?)`, id, b.Index,
			b.N, b.Sum); err != nil {
			return err
		}
	}
	return nil
}
