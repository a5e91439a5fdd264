package pgstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// applyChanges records a batch of changes and everything that follows from them, in one statement,
// exactly and without deadlocks for any number of callers at once. Why it is right:
//
//   - Nothing is read beforehand. A row that is there is locked and changed by ON CONFLICT, which
//     sees its latest version, and what it was travels in columns of the row (prev_score and so on)
//     to RETURNING. Whatever reads the old rows in the same statement, with or without a lock, reads
//     those of the statement's snapshot and counts wrong.
//   - Rows are locked in the order of their keys, then those of rating_stats in the order of theirs,
//     so that no two batches wait for each other. Buckets are written when all of rating_stats is,
//     because they are sorted and that is among what is sorted; so the content's row there is the
//     lock of all that is derived from its ratings. Recount takes the same one.
//   - The rows that many writers want, those of rating_stats, come as late as possible. They hold
//     the bucket that nearly all new ratings of a content count in, so that most changes write two
//     rows. A bucket that is no longer the latest moves to rating_buckets by way of left_bucket, as
//     the scores of ratings do.
//   - When the history of a content starts is recorded before, and never changes.
//   - A change that is not newer than its row writes nothing: the version is a fencing token. So the
//     statement may be run again, as database/sql does when a connection breaks in autocommit mode.
//   - A content in deleted_contents, which are tombstones, takes no changes; see DeleteContent.
const applyChanges = changeRows + deltaHead + changeNumbers

// reassign is applyChanges for a batch with ReassignTo raters. What such a withdrawal takes away,
// which its row remembers, goes into a row that nobody else writes, and cancels out in delta.
const reassign = changeRows + reassignRows + deltaHead + reassignedNumbers + changeNumbers

// The parts of applyChanges and reassign.
const (
	// merged begins a query that adds up the counts of each score, and drops those that are zero.
	merged = `SELECT coalesce(array_agg(score), '{}'), coalesce(array_agg(n), '{}') FROM (
		SELECT score, sum(n)::bigint AS n`

	changeRows = `WITH changed AS (
	INSERT INTO khodnevis.ratings AS r (content_id, rater, epoch, position, score, bucket, withdrawn, result,
		created_at, updated_at)
	SELECT v.content_id, v.rater, v.epoch, v.position, v.score, v.bucket, v.withdrawn,
		CASE WHEN v.withdrawn THEN 'withdrawn' ELSE 'created' END::khodnevis.rating_result, v.at, v.at
	FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[], $6::integer[], $7::boolean[],
		$8::timestamptz[])
		AS v (content_id, rater, epoch, position, score, bucket, withdrawn, at)
	WHERE NOT EXISTS (SELECT FROM khodnevis.deleted_contents d WHERE d.id = v.content_id)
	ORDER BY v.content_id COLLATE "C", v.rater COLLATE "C"
	ON CONFLICT (content_id, rater) DO UPDATE SET
		epoch = excluded.epoch, position = excluded.position, score = excluded.score, withdrawn = excluded.withdrawn,
		result = CASE WHEN excluded.withdrawn THEN 'withdrawn' WHEN r.withdrawn THEN 'created'
			WHEN r.score = excluded.score THEN 'unchanged' ELSE 'updated' END::khodnevis.rating_result,
		bucket = CASE WHEN r.withdrawn OR excluded.withdrawn THEN excluded.bucket
			WHEN r.score <> excluded.score THEN greatest(excluded.bucket, r.bucket)
			ELSE r.bucket END,
		updated_at = CASE WHEN r.withdrawn OR excluded.withdrawn THEN excluded.updated_at
			WHEN r.score <> excluded.score THEN greatest(excluded.updated_at, r.updated_at) ELSE r.updated_at END,
		created_at = CASE WHEN r.withdrawn THEN excluded.created_at ELSE r.created_at END,
		prev_score = CASE WHEN NOT r.withdrawn THEN r.score END,
		prev_bucket = CASE WHEN NOT r.withdrawn THEN r.bucket END,
		prev_updated_at = CASE WHEN excluded.withdrawn AND NOT r.withdrawn THEN r.updated_at END
	WHERE (r.epoch, r.position) < (excluded.epoch, excluded.position)
	RETURNING content_id, rater, epoch, position, score, bucket, withdrawn, prev_score, prev_bucket,
		prev_updated_at, result, created_at, updated_at
)`

	reassignRows = `, reassigned AS (
	INSERT INTO khodnevis.ratings (content_id, rater, epoch, position, score, bucket, withdrawn, result,
		created_at, updated_at)
	SELECT c.content_id, v.anonymous, c.epoch, c.position, c.prev_score, c.prev_bucket, false, 'created',
		c.created_at, c.prev_updated_at
	FROM changed c JOIN unnest($9::text[], $10::text[], $11::text[]) AS v (content_id, rater, anonymous)
		ON v.content_id = c.content_id AND v.rater = c.rater
	WHERE c.withdrawn AND c.prev_score IS NOT NULL
	ORDER BY c.content_id, v.anonymous COLLATE "C" ON CONFLICT DO NOTHING
	RETURNING content_id, bucket, score
)`

	deltaHead = `, delta AS MATERIALIZED (
	SELECT content_id, bucket, score, sum(n) AS n, bucket = max(bucket) OVER (PARTITION BY content_id) AS latest FROM (
		SELECT content_id, bucket, score, 1 AS n FROM changed WHERE NOT withdrawn
		UNION ALL`

	reassignedNumbers = `
		SELECT content_id, bucket, score, 1 FROM reassigned
		UNION ALL`

	changeNumbers = `
		SELECT content_id, prev_bucket, prev_score, -1 FROM changed WHERE prev_score IS NOT NULL) x
	GROUP BY content_id, bucket, score HAVING sum(n) <> 0
), stats AS (
	INSERT INTO khodnevis.rating_stats AS s (content_id, open_bucket, open_scores, open_counts, revision, dirty)
	SELECT content_id, max(bucket), array_agg(score) FILTER (WHERE latest), array_agg(n) FILTER (WHERE latest), 1, true
	FROM delta GROUP BY content_id ORDER BY content_id
	ON CONFLICT (content_id) DO UPDATE SET revision = s.revision + 1, dirty = true,
		open_bucket = greatest(s.open_bucket, excluded.open_bucket),
		(open_scores, open_counts) = (` + merged + ` FROM (
			SELECT unnest(s.open_scores) AS score, unnest(s.open_counts) AS n WHERE s.open_bucket >= excluded.open_bucket
			UNION ALL SELECT unnest(excluded.open_scores), unnest(excluded.open_counts)
				WHERE excluded.open_bucket >= s.open_bucket) x GROUP BY score HAVING sum(n) <> 0) x),
		left_bucket = nullif(least(s.open_bucket, excluded.open_bucket),
			greatest(s.open_bucket, excluded.open_bucket)),
		left_scores = CASE WHEN s.open_bucket > excluded.open_bucket THEN excluded.open_scores
			WHEN s.open_bucket < excluded.open_bucket THEN s.open_scores END,
		left_counts = CASE WHEN s.open_bucket > excluded.open_bucket THEN excluded.open_counts
			WHEN s.open_bucket < excluded.open_bucket THEN s.open_counts END
	RETURNING content_id, revision, left_bucket, left_scores, left_counts
), buckets AS (
	INSERT INTO khodnevis.rating_buckets AS b (content_id, bucket, scores, counts)
	SELECT content_id, bucket, array_agg(score), array_agg(n) FROM (
		SELECT content_id, bucket, score, sum(n)::bigint AS n FROM (
			SELECT content_id, left_bucket AS bucket, unnest(left_scores) AS score, unnest(left_counts) AS n FROM stats
				WHERE left_bucket IS NOT NULL
			UNION ALL
			SELECT content_id, bucket, score, n FROM delta WHERE NOT latest) x
		GROUP BY content_id, bucket, score) x
	GROUP BY content_id, bucket ORDER BY content_id, bucket
	ON CONFLICT (content_id, bucket) DO UPDATE SET (scores, counts) = (` + merged + ` FROM (
		SELECT unnest(b.scores) AS score, unnest(b.counts) AS n
		UNION ALL SELECT unnest(excluded.scores), unnest(excluded.counts)) x GROUP BY score HAVING sum(n) <> 0) x)
), scores AS (
	INSERT INTO khodnevis.rating_scores (content_id) SELECT content_id FROM stats WHERE revision = 1
		ORDER BY content_id ON CONFLICT DO NOTHING
)
SELECT content_id, rater, result, CASE WHEN result <> 'created' THEN bucket END,
	CASE WHEN result <> 'created' THEN created_at END, CASE WHEN result <> 'created' THEN updated_at END FROM changed`
)

// changeArrays returns changes as arguments of applyChanges.
func changeArrays(changes []rating.Change, starts map[string]time.Time) []any {
	n := len(changes)
	contents, raters := make(pq.StringArray, n), make(pq.StringArray, n)
	epochs, positions, scores, buckets := make(pq.Int64Array, n), make(pq.Int64Array, n), make(pq.Int64Array, n),
		make(pq.Int64Array, n)
	withdrawn, at := make(pq.BoolArray, n), make([]time.Time, n)
	for i, c := range changes {
		contents[i], raters[i] = c.Content, c.Rater
		epochs[i], positions[i] = c.Version.Epoch, c.Version.Offset
		if withdrawn[i] = c.Withdraw; !c.Withdraw {
			scores[i], buckets[i] = int64(c.Score), int64(score.BucketAt(starts[c.Content], c.At))
		}
		at[i] = c.At
	}
	return []any{contents, raters, epochs, positions, scores, buckets, withdrawn, times(at)}
}

// statementOf returns the statement that applies changes, and its arguments.
func statementOf(changes []rating.Change, starts map[string]time.Time) (text string, args []any) {
	var contents, raters, anonymous pq.StringArray
	for _, c := range changes {
		if c.Withdraw && c.ReassignTo != "" {
			contents, raters, anonymous = append(contents, c.Content), append(raters, c.Rater),
				append(anonymous, c.ReassignTo)
		}
	}
	args = changeArrays(changes, starts)
	if planted.CountTwice {
		return strings.NewReplacer("WHERE (r.epoch, r.position) <", "WHERE (r.epoch, r.position) <=",
			"WHEN NOT r.withdrawn THEN r.score", "WHEN NOT r.withdrawn AND (r.epoch, r.position) < "+
				"(excluded.epoch, excluded.position) THEN r.score").Replace(applyChanges), args
	}
	if len(anonymous) == 0 {
		return applyChanges, args
	}
	return reassign, append(args, contents, raters, anonymous)
}

// arrayText returns the text of an array of numbers.
func arrayText(numbers []int64) string {
	text := []byte{'{'}
	for i, n := range numbers {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, n, 10)
	}
	return string(append(text, '}'))
}

// times returns the text of an array of timestamptz.
func times(at []time.Time) string {
	text := append(make([]byte, 0, 36*len(at)+2), '{')
	for i, t := range at {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, '"')
		text = append(text, pq.FormatTimestamp(t)...)
		text = append(text, '"')
	}
	return string(append(text, '}'))
}

// ApplyRatings implements rating.Store. Without dead letters, which are few, it is one round
// trip; a second one reads the rows of changes that were not the newest. The start of a history
// takes some more, once for each content.
func (s *Store) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.apply(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("pgstore: apply %d ratings and %d dead letters: %w", len(batch.Changes),
			len(batch.DeadLetters), err)
	}
	return outcomes, nil
}

func (s *Store) apply(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	starts, err := s.startHistories(ctx, batch)
	if err != nil {
		return nil, err
	}
	text, args := statementOf(batch.Changes, starts)
	deadLetters := deadLetterArrays(batch.DeadLetters)
	var changed map[rating.Key]changedRow
	switch {
	case len(batch.DeadLetters) > 0:
		err = s.transact(ctx, func(tx transaction) (err error) {
			if len(batch.Changes) > 0 {
				rows, err := tx.QueryContext(ctx, s.sql(text), args...)
				if err != nil {
					return err
				}
				if changed, err = readChanged(rows); err != nil {
					return err
				}
			}
			_, err = tx.exec(recordDeadLetters, deadLetters...)
			return err
		})
	case len(batch.Changes) > 0:
		changed, err = s.applyAlone(ctx, text, args)
	}
	if err != nil {
		return nil, err
	}
	return s.outcomes(ctx, batch.Changes, starts, changed)
}

// applyAlone runs a statement that applies changes outside of a transaction, once more if the
// database gave it up.
func (s *Store) applyAlone(ctx context.Context, text string, args []any) (map[rating.Key]changedRow, error) {
	var changed map[rating.Key]changedRow
	err := s.retry(ctx, func(ctx context.Context) error {
		stmt, err := s.stmt(ctx, text)
		if err != nil {
			return err
		}
		rows, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		changed, err = readChanged(rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// changedRow is what became of a change that was the newest. What is null is as in the change.
type changedRow struct {
	result               rating.Result
	bucket               sql.NullInt64
	createdAt, updatedAt sql.NullTime
}

func (r changedRow) outcome(c rating.Change, start time.Time) rating.Outcome {
	o := rating.Outcome{Result: r.result, Rating: rating.Rating{Key: c.Key, Version: c.Version, Result: r.result,
		Withdrawn: c.Withdraw, CreatedAt: c.At, UpdatedAt: c.At}}
	if !c.Withdraw {
		o.Rating.Score, o.Rating.Bucket = c.Score, score.BucketAt(start, c.At)
	}
	if r.bucket.Valid {
		o.Rating.Bucket, o.Rating.CreatedAt, o.Rating.UpdatedAt = int(r.bucket.Int64), r.createdAt.Time.UTC(),
			r.updatedAt.Time.UTC()
	}
	return o
}

// readChanged reads what such a statement wrote. The rows come before the statement has ended: only
// when there are no more of them is it known that it succeeded.
func readChanged(rows *sql.Rows) (map[rating.Key]changedRow, error) {
	defer rows.Close() //nolint:errcheck // rows.Err says it
	changed := map[rating.Key]changedRow{}
	for rows.Next() {
		var k rating.Key
		var r changedRow
		if err := rows.Scan(&k.Content, &k.Rater, &r.result, &r.bucket, &r.createdAt, &r.updatedAt); err != nil {
			return nil, err
		}
		changed[k] = r
	}
	return changed, rows.Err()
}

const goneContents = `SELECT id FROM khodnevis.deleted_contents WHERE id = ANY($1)`

// outcomes puts together what became of changes. Those that changed nothing were applied before,
// superseded, or refused.
func (s *Store) outcomes(ctx context.Context, changes []rating.Change, starts map[string]time.Time,
	changed map[rating.Key]changedRow) ([]rating.Outcome, error) {
	outcomes := make([]rating.Outcome, len(changes))
	var rest []rating.Key
	for i, c := range changes {
		if r, ok := changed[c.Key]; ok {
			outcomes[i] = r.outcome(c, starts[c.Content])
		} else {
			rest = append(rest, c.Key)
		}
	}
	if len(rest) == 0 {
		return outcomes, nil
	}
	found, err := s.RatingsByKey(ctx, rest)
	if err != nil {
		return nil, err
	}
	stored := make(map[rating.Key]rating.Rating, len(found))
	for _, r := range found {
		stored[r.Key] = r
	}
	contents := make(pq.StringArray, len(rest))
	for i, k := range rest {
		contents[i] = k.Content
	}
	var ids []string
	if err := s.query(ctx, &ids, goneContents, contents); err != nil {
		return nil, err
	}
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	for i, c := range changes {
		if _, ok := changed[c.Key]; ok {
			continue
		}
		switch r, ok := stored[c.Key]; {
		case gone[c.Content]:
			outcomes[i] = rating.Outcome{Refused: true}
		case ok && r.Version == c.Version:
			outcomes[i] = rating.Outcome{Result: r.Result, Rating: r}
		default: // not there: a withdrawal that was swept just now
			r.Key = c.Key
			outcomes[i] = rating.Outcome{Result: rating.Superseded, Rating: r}
		}
	}
	return outcomes, nil
}
