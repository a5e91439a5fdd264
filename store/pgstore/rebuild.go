package pgstore

import (
	"context"
	"slices"

	"github.com/lib/pq"
)

// rebuilt leaves out the rows r of contents that are to be rebuilt.
const rebuilt = `NOT EXISTS (SELECT FROM khodnevis.rebuilds b WHERE b.content_id = r.content_id)`

// bucketAt is score.BucketAt in SQL.
func bucketAt(start, at string) string {
	age := `extract(epoch FROM ` + at + ` - ` + start + `)`
	return `(CASE WHEN ` + age + ` < 86400 THEN div(greatest(` + age + `, 0), 3600) ELSE 23 + div(` + age +
		`, 86400) END)::integer`
}

// rebuildPiece is how many ratings one transaction of a rebuild moves at most.
const rebuildPiece = 5000

// claimRebuilds takes contents of many pieces one after the other, and many small contents at once.
const (
	claimRebuilds = `SELECT content_id, rater FROM khodnevis.rebuilds
		WHERE $1::text[] IS NULL OR content_id = ANY($1) ORDER BY content_id LIMIT 100 FOR UPDATE`

	anyRebuild = `SELECT content_id FROM khodnevis.rebuilds WHERE $1::text[] IS NULL OR content_id = ANY($1) LIMIT 1`
)

var (
	// moveRatings sets the buckets of the ratings after a key, up to the last of a content, and
	// returns the key of the last of rebuildPiece ratings, if there are so many. It locks them in
	// the order in which ApplyRatings does.
	moveRatings = `WITH piece AS MATERIALIZED (
		SELECT content_id, rater FROM khodnevis.ratings WHERE (content_id, rater) > ($1, $2) AND content_id <= $3
		ORDER BY content_id, rater LIMIT $4 FOR UPDATE
	), moved AS (
		UPDATE khodnevis.ratings r SET bucket = ` + bucketAt(`o.opened_at`, `r.updated_at`) + `
		FROM piece p JOIN khodnevis.openings o ON o.content_id = p.content_id
		WHERE r.content_id = p.content_id AND r.rater = p.rater AND NOT r.withdrawn
			AND r.bucket <> ` + bucketAt(`o.opened_at`, `r.updated_at`) + `
	)
	SELECT content_id, rater FROM piece ORDER BY content_id, rater OFFSET $4::bigint - 1`

	// notMoved finds the contents that have ratings in other buckets than their own.
	notMoved = `SELECT DISTINCT r.content_id FROM khodnevis.ratings r
		JOIN khodnevis.openings o ON o.content_id = r.content_id
		WHERE r.content_id = ANY($1) AND NOT r.withdrawn AND r.bucket <> ` + bucketAt(`o.opened_at`, `r.updated_at`)

	moveWindows = `UPDATE khodnevis.rating_windows w SET first_bucket = ` + bucketAt(`o.opened_at`, `w.from_at`) + `,
		last_bucket = ` + bucketAt(`o.opened_at`, `(w.until_at - interval '1 microsecond')`) + `
		FROM khodnevis.openings o WHERE w.content_id = ANY($1) AND o.content_id = w.content_id`
)

// Rebuild implements store.Rebuilder. It begins with what lists and searches find contents by.
func (s *Store) Rebuild(ctx context.Context) error {
	err := s.rebuildContents(ctx)
	if err == nil {
		err = s.rebuild(ctx, nil)
	}
	return wrap(err, "rebuild")
}

// rebuild rebuilds the numbers of a content in transactions of some thousand ratings, which put each
// rating into the bucket of its time. The last transaction counts the buckets. Ratings may be applied
// at any moment in between.
//
// It rebuilds those of ids that are to be rebuilt, or all contents if ids is nil. It takes what
// no other caller has taken first, and then waits for the others. It opens no transaction if nothing
// is left.
func (s *Store) rebuild(ctx context.Context, ids pq.StringArray) error {
	var left []string
	if err := s.query(ctx, &left, anyRebuild, ids); err != nil || len(left) == 0 {
		return err
	}
	for _, others := range []string{` SKIP LOCKED`, ``} {
		for more := true; more; {
			err := s.transact(ctx, func(tx transaction) (err error) {
				more, err = tx.rebuildPiece(claimRebuilds+others, ids)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// place is where a rebuild of a content has got to.
type place struct {
	Content string `db:"content_id"`
	Rater   string `db:"rater"`
}

// rebuildPiece rebuilds what claim finds, or begins to, and reports whether it finds any.
func (tx transaction) rebuildPiece(claim string, among pq.StringArray) (more bool, err error) {
	var claimed, end []place
	if err := tx.query(&claimed, claim, among); err != nil || len(claimed) == 0 {
		return false, err
	}
	first, last := claimed[0], claimed[len(claimed)-1]
	if err := tx.query(&end, moveRatings, first.Content, first.Rater, last.Content, rebuildPiece); err != nil {
		return false, err
	}
	var ids pq.StringArray // whose ratings were all moved
	for _, c := range claimed {
		if len(end) == 0 || c.Content < end[0].Content {
			ids = append(ids, c.Content)
		}
	}
	if len(end) > 0 && slices.ContainsFunc(claimed, func(c place) bool { return c.Content == end[0].Content }) {
		if _, err := tx.exec(`UPDATE khodnevis.rebuilds SET rater = $2 WHERE content_id = $1`, end[0].Content,
			end[0].Rater); err != nil {
			return false, err
		}
	}
	return true, tx.finishRebuilds(ids)
}

// finishRebuilds counts the buckets of contents whose ratings were moved. A rating may have been
// reassigned meanwhile, before it was moved, to a rater who had been passed: then its content is
// moved once more. Windows come before the lock, as in RemoveWindow.
func (tx transaction) finishRebuilds(ids pq.StringArray) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.exec(moveWindows, ids); err != nil {
		return err
	}
	if err := tx.lock(ids); err != nil {
		return err
	}
	var again pq.StringArray
	if err := tx.query((*[]string)(&again), notMoved, ids); err != nil {
		return err
	}
	if _, err := tx.exec(`UPDATE khodnevis.rebuilds SET rater = '' WHERE content_id = ANY($1)`, again); err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(again, id) })
	if err := tx.replace(ids); err != nil {
		return err
	}
	_, err := tx.exec(`DELETE FROM khodnevis.rebuilds WHERE content_id = ANY($1)`, ids)
	return err
}
