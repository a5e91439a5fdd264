package sqlitestore

import (
	"context"
	"fmt"
)

// rebuildPiece is how many ratings, or contents without ratings, one transaction of a rebuild looks
// at, so that other writers do not wait long.
const rebuildPiece = 2000

// bucketOf is score.BucketAt of ratings, for a history that starts at ?2.
const bucketOf = `CASE WHEN updated_at - ?2 < 86400000000 THEN max(updated_at - ?2, 0) / 3600000000
	ELSE 23 + (updated_at - ?2) / 86400000000 END`

// Rebuild implements store.Rebuilder. It begins with what lists and searches find contents by, and
// recounts the contents in rebuilds.
func (s *Store) Rebuild(ctx context.Context) error {
	if err := s.rebuildContents(ctx); err != nil {
		return wrap(err, "rebuild what contents are found by")
	}
	for {
		var next []string
		if err := s.file.Select(ctx, &next, `SELECT content FROM rebuilds ORDER BY content LIMIT 1`); err != nil {
			return wrap(err, "rebuild")
		}
		if len(next) == 0 {
			return nil
		}
		if err := s.file.WriteLong(ctx, rebuildNext); err != nil {
			return wrap(err, "rebuild content %s and others", next[0])
		}
	}
}

// rebuild rebuilds a content.
func (s *Store) rebuild(ctx context.Context, id string) error {
	for left := true; left; {
		if err := s.file.WriteLong(ctx, func(tx Tx) (err error) {
			left, _, err = rebuild(tx, id)
			return err
		}); err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
	}
	return nil
}

// rebuildNext rebuilds the next contents, or a piece of one with many ratings.
func rebuildNext(tx Tx) error {
	for looked := 0; looked < rebuildPiece; {
		var id string
		if ok, err := tx.Get(&id, `SELECT content FROM rebuilds ORDER BY content LIMIT 1`); err != nil || !ok {
			return err
		}
		_, n, err := rebuild(tx, id)
		if err != nil {
			return err
		}
		looked += n + 1
	}
	return nil
}

// rebuild gives a piece of the ratings of a content their buckets, from the rater on that the last
// call came to. When none are left it recounts the content. It reports whether some are left, and
// how many ratings it has looked at.
func rebuild(tx Tx, id string) (left bool, looked int, err error) {
	var after string
	if ok, err := tx.Get(&after, `SELECT rater FROM rebuilds WHERE content = ?`, id); err != nil || !ok {
		return false, 0, err // another process was faster
	}
	start, err := startOf(tx.Select, id)
	if err != nil {
		return false, 0, err
	}
	var piece struct {
		N    int     `db:"n"`
		Last *string `db:"last"`
	}
	if _, err := tx.Get(&piece, `SELECT count(*) AS n, max(rater) AS last FROM (SELECT rater FROM ratings
		WHERE content = ? AND rater > ? ORDER BY rater LIMIT ?)`, id, after, rebuildPiece); err != nil {
		return false, 0, err
	}
	if piece.N > 0 {
		if _, err := tx.Exec(`UPDATE ratings SET bucket = `+bucketOf+`
			WHERE content = ?1 AND rater > ?3 AND rater <= ?4 AND result <> 'withdrawn' AND bucket <> `+bucketOf,
			id, start.UnixMicro(), after, *piece.Last); err != nil {
			return false, 0, err
		}
	}
	if piece.N == rebuildPiece {
		_, err := tx.Exec(`UPDATE rebuilds SET rater = ? WHERE content = ?`, *piece.Last, id)
		return true, piece.N, err
	}
	if _, err := tx.Exec(`DELETE FROM rebuilds WHERE content = ?`, id); err != nil {
		return false, 0, err
	}
	for _, column := range []struct{ bucket, at string }{{"first_bucket", "from_at"}, {"last_bucket", "until_at - 1"}} {
		if start.IsZero() {
			break
		}
		if _, err := tx.Exec(`UPDATE rating_windows SET `+column.bucket+` = (SELECT `+bucketOf+`
			FROM (SELECT `+column.at+` AS updated_at)) WHERE content = ?1`, id, start.UnixMicro()); err != nil {
			return false, 0, err
		}
	}
	if _, err := repair(tx, id); err != nil {
		return false, 0, err
	}
	return false, piece.N, mark(tx, array([]string{id}))
}
