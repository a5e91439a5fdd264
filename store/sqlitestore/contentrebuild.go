package sqlitestore

import (
	"context"

	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// rebuiltContents is how many contents one transaction of a rebuild changes.
const rebuiltContents = 10

// rebuildContents computes what lists by title and searches find contents by, where an earlier
// version has.
func (s *Store) rebuildContents(ctx context.Context) error {
	for {
		var next int64
		left, err := s.file.Get(ctx, &next, `SELECT num FROM content_rebuilds LIMIT 1`)
		if err == nil && left {
			err = s.file.WriteLong(ctx, rebuildContents)
		}
		if err != nil || !left {
			return err
		}
	}
}

// rebuildContents rebuilds some contents.
func rebuildContents(tx Tx) error {
	var due []int64
	if err := tx.Select(&due, `SELECT num FROM content_rebuilds ORDER BY num LIMIT ?`, rebuiltContents); err != nil {
		return err
	}
	for _, num := range due {
		var row rows.Content
		there, err := tx.Get(&row, `SELECT `+contentColumns+` FROM contents c WHERE c.num = ?`, num)
		if err != nil {
			return err
		}
		if c := row.Content(); there {
			if _, err := tx.Exec(`UPDATE contents SET title_key = ? WHERE num = ?`, []byte(c.SortTitle()), num); err != nil {
				return err
			}
			if _, err := tx.Exec(`UPDATE content_terms SET terms = ? WHERE rowid = ?`, tokens(c), num); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`DELETE FROM content_rebuilds WHERE num = ?`, num); err != nil {
			return err
		}
	}
	return nil
}
