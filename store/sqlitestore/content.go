package sqlitestore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const contentColumns = `c.id, c.title, c.description, c.author, c.version, c.created_at, c.updated_at`

// maxToken is the length in bytes beyond which a term is indexed by its hash: SQLite would cut it
// at some length.
const maxToken = 1024

// private is a character that no term has.
const private = "\ue000"

// token returns what stands for a term in content_terms. The tokenizer splits at the symbols of
// ASCII: their full-width forms, which no term has, stand for them.
func token(term string) string {
	if len(term) > maxToken {
		sum := sha256.Sum256([]byte(term))
		return private + hex.EncodeToString(sum[:])
	}
	if strings.ContainsAny(term[:1], "#$%&+<=>@^|~") { // a symbol has no other characters
		return strings.Map(func(r rune) rune { return r - '!' + '！' }, term)
	}
	return term
}

// tokens returns what stands for a content in content_terms.
func tokens(c content.Content) string {
	terms := c.Terms()
	for i, term := range terms {
		terms[i] = token(term)
	}
	return strings.Join(terms, " ")
}

// CreateContent implements content.Store.
func (s *Store) CreateContent(ctx context.Context, c content.Content) error {
	terms := tokens(c)
	err := s.file.Write(ctx, func(tx Tx) error { return createContent(tx, c, terms) })
	return wrap(err, "create content %s", c.ID)
}

func createContent(tx Tx, c content.Content, terms string) error {
	var num int64
	ok, err := tx.Get(&num, `INSERT INTO contents (id, title, title_key, description, author, version,
		created_at, updated_at)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM deleted_contents WHERE id = ?1)
		ON CONFLICT DO NOTHING RETURNING num`,
		c.ID, c.Title, []byte(c.SortTitle()), c.Description, c.Author, c.Version, c.CreatedAt.UnixMicro(),
		c.UpdatedAt.UnixMicro())
	if err != nil {
		return err
	}
	if !ok {
		return content.ErrConflict
	}
	if _, err := tx.Exec(`INSERT INTO content_terms (rowid, terms) VALUES (?, ?)`, num, terms); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO rating_stats (content) VALUES (?) ON CONFLICT DO NOTHING`, c.ID)
	return err
}

// ContentsByID implements content.Store.
func (s *Store) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []rows.Content
	if err := s.file.Select(ctx, &found, `SELECT `+contentColumns+` FROM contents c
		WHERE c.id IN (SELECT value FROM json_each(?))`, array(ids)); err != nil {
		return nil, fmt.Errorf("sqlitestore: contents by id: %w", err)
	}
	return rows.All(found, rows.Content.Content), nil
}

// UpdateContent implements content.Store.
func (s *Store) UpdateContent(ctx context.Context, c content.Content) error {
	terms := tokens(c)
	err := s.file.Write(ctx, func(tx Tx) error {
		num, err := contentAt(tx, c.ID, func(v int64) bool { return v == c.Version-1 })
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE contents SET title = ?, title_key = ?, description = ?, version = ?,
			updated_at = ? WHERE num = ?`,
			c.Title, []byte(c.SortTitle()), c.Description, c.Version, c.UpdatedAt.UnixMicro(), num); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE content_terms SET terms = ? WHERE rowid = ?`, terms, num)
		return err
	})
	return wrap(err, "update content %s from version %d", c.ID, c.Version-1)
}

// DeleteContent implements content.Store.
func (s *Store) DeleteContent(ctx context.Context, id string, version int64) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		num, err := contentAt(tx, id, func(v int64) bool { return version == 0 || v == version })
		if err != nil {
			return err
		}
		for _, step := range []string{`DELETE FROM content_terms WHERE rowid = ?`,
			`DELETE FROM contents WHERE num = ?`} {
			if _, err := tx.Exec(step, num); err != nil {
				return err
			}
		}
		return eraseRatings(tx, id)
	})
	return wrap(err, "delete content %s at version %d", id, version)
}

// EraseContent implements rating.Store.
func (s *Store) EraseContent(ctx context.Context, id string) error {
	err := s.file.Write(ctx, func(tx Tx) error { return eraseRatings(tx, id) })
	return wrap(err, "erase content %s", id)
}

// piece is how many ratings of a deleted content one transaction removes, so that other
// writers do not wait long.
const piece = 1000

// notCleared holds for the ratings r that are not those of a deleted content.
const notCleared = `r.content NOT IN (SELECT content FROM clearing)`

// eraseRatings removes the ratings of a content and leaves a tombstone, so that later ratings are
// refused. It removes a piece of the rows; the others are hidden until SweepRatings removes them.
func eraseRatings(tx Tx, id string) error {
	for _, step := range []string{
		`INSERT INTO deleted_contents (id) VALUES (?) ON CONFLICT DO NOTHING`,
		`DELETE FROM rating_stats WHERE content = ?`,
		`DELETE FROM rating_buckets WHERE content = ?`,
		`DELETE FROM rating_windows WHERE content = ?`,
		`DELETE FROM openings WHERE content = ?`,
		`DELETE FROM rebuilds WHERE content = ?`,
		`INSERT INTO clearing (content) VALUES (?) ON CONFLICT DO NOTHING`,
	} {
		if _, err := tx.Exec(step, id); err != nil {
			return err
		}
	}
	return clearPiece(tx, id)
}

// clearPiece removes a piece of the ratings of a deleted content.
func clearPiece(tx Tx, id string) error {
	n, err := tx.Exec(`DELETE FROM ratings WHERE content = ?1 AND rater IN
		(SELECT rater FROM ratings WHERE content = ?1 LIMIT ?2)`, id, piece)
	if err == nil && n < piece {
		_, err = tx.Exec(`DELETE FROM clearing WHERE content = ?`, id)
	}
	return err
}

// clearAll removes the ratings of deleted contents, piece by piece.
func (s *Store) clearAll(ctx context.Context) error {
	for more := true; more; {
		if err := s.file.Write(ctx, func(tx Tx) (err error) {
			var id string
			if more, err = tx.Get(&id, `SELECT content FROM clearing LIMIT 1`); err == nil && more {
				err = clearPiece(tx, id)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// contentAt returns the number of a content whose version is one that is meant.
func contentAt(tx Tx, id string, meant func(version int64) bool) (int64, error) {
	var row struct {
		Num     int64 `db:"num"`
		Version int64 `db:"version"`
	}
	ok, err := tx.Get(&row, `SELECT num, version FROM contents WHERE id = ?`, id)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return 0, content.ErrNotFound
	case !meant(row.Version):
		return 0, content.ErrConflict
	}
	return row.Num, nil
}
