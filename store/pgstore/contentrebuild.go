package pgstore

import (
	"context"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// rebuiltContents is how many contents one transaction of a rebuild changes.
const rebuiltContents = 20

const (
	anyContentRebuild = `SELECT content_id FROM khodnevis.content_rebuilds LIMIT 1`

	claimContents = `SELECT content_id FROM khodnevis.content_rebuilds ORDER BY content_id LIMIT $1 FOR UPDATE`

	claimedContents = `SELECT id, title, description, version FROM khodnevis.contents WHERE id = ANY($1) ORDER BY id`

	// rebuildContent changes nothing if the content was changed since it was read.
	rebuildContent = `UPDATE khodnevis.contents SET title_key = $3, terms = $4 WHERE id = $1 AND version = $2`
)

// rebuildContents computes what lists by title and searches find contents by, where an earlier
// version has. It takes what no other caller has taken first, and then waits for the others. It opens no
// transaction if nothing is left.
func (s *Store) rebuildContents(ctx context.Context) error {
	var left []string
	if err := s.query(ctx, &left, anyContentRebuild); err != nil || len(left) == 0 {
		return err
	}
	for _, others := range []string{` SKIP LOCKED`, ``} {
		for more := true; more; {
			err := s.transact(ctx, func(tx transaction) (err error) {
				more, err = tx.rebuildContents(claimContents + others)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// rebuildContents rebuilds the contents that claim finds, and reports whether it finds any.
func (tx transaction) rebuildContents(claim string) (more bool, err error) {
	var ids pq.StringArray
	if err := tx.query((*[]string)(&ids), claim, rebuiltContents); err != nil || len(ids) == 0 {
		return false, err
	}
	var found []rows.Content
	if err := tx.query(&found, claimedContents, ids); err != nil {
		return false, err
	}
	for _, r := range found {
		c := r.Content()
		if _, err := tx.exec(rebuildContent, c.ID, c.Version, []byte(c.SortTitle()), indexed(c.Terms())); err != nil {
			return false, err
		}
	}
	_, err = tx.exec(`DELETE FROM khodnevis.content_rebuilds WHERE content_id = ANY($1)`, ids)
	return true, err
}
