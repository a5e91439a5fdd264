package pgstore

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
)

var _ rating.Auditor = (*Store)(nil)

// auditAll adds up, for each content, a weight for each of its ratings and takes off the same for
// what its buckets say. The weight of a rating is a hash of its bucket and its score. Weights have
// 32 bits: numbers that are wrong add up to zero once in 2^32 times, and numbers that are right
// always. An exact comparison, as in recount, groups by content, bucket and score in place of
// content alone, which is many times as many groups. Sums are exact; a product that does not fit
// into 64 bits, such as that of a bucket with thousands of millions of ratings, is an error. Each
// part reads its table from end to end and without a subquery, so that several processes of the
// server share the work. Contents that are to be rebuilt are counted only.
const auditAll = `WITH weights AS (
	SELECT content_id, hashint4extended(score, bucket) >> 32 AS weight FROM khodnevis.ratings WHERE NOT withdrawn
	UNION ALL
	SELECT content_id, -n * (hashint4extended(score, bucket) >> 32)
	FROM khodnevis.bucket_parts CROSS JOIN LATERAL unnest(scores, counts) AS c (score, n)
	UNION ALL
	SELECT content_id, 0 FROM khodnevis.rating_stats
), audited AS (
	SELECT content_id, sum(weight) <> 0 AS suspect FROM weights GROUP BY content_id
)
SELECT count(*) AS contents, coalesce(array_agg(content_id ORDER BY content_id)
	FILTER (WHERE suspect AND ` + rebuilt + `), '{}') AS suspects
FROM audited r WHERE ` + there

// auditSettings make the planner read tables from end to end, which it would not do for a table in
// the cache, and keep the sums of a million contents in memory. They hold for one transaction.
const auditSettings = `SET LOCAL work_mem = '64MB'; SET LOCAL enable_indexscan = off;
	SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off`

// Audit implements rating.Auditor with one statement that reads every rating: some two million a
// second. It must end within OpenConfig.StatementTimeout.
func (s *Store) Audit(ctx context.Context) (contents int, suspects []string, err error) {
	var rows []struct {
		Contents int            `db:"contents"`
		Suspects pq.StringArray `db:"suspects"`
	}
	err = s.transact(ctx, func(tx transaction) error {
		if _, err := tx.exec(auditSettings); err != nil {
			return err
		}
		rows = nil
		return tx.query(&rows, auditAll)
	})
	if err != nil {
		return 0, nil, fmt.Errorf("pgstore: audit all contents: %w", err)
	}
	return rows[0].Contents, rows[0].Suspects, nil
}
