package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

// creationRow is a row of creations without its key.
type creationRow struct {
	Request []byte `db:"request"`
	Content string `db:"content"`
	At      int64  `db:"at"`
}

func (r creationRow) creation(author string, key content.Hash) content.Creation {
	c := content.Creation{Author: author, Key: key, Content: r.Content, At: instant(r.At)}
	copy(c.Request[:], r.Request)
	return c
}

const creationByKey = `SELECT request, content, at FROM creations WHERE author = ? AND key = ?`

// CreateContentOnce implements content.Store.
func (s *Store) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	terms := tokens(c)
	var kept content.Creation
	err := s.file.Write(ctx, func(tx *sqlitefile.Tx) error {
		var row creationRow
		ok, err := tx.Get(&row, creationByKey, r.Author, r.Key[:])
		if err != nil {
			return err
		}
		if ok && row.At >= since.UnixMicro() {
			kept = row.creation(r.Author, r.Key)
			return nil
		}
		kept = r
		if _, err := tx.Exec(`INSERT OR REPLACE INTO creations (author, key, request, content, at) VALUES (?, ?, ?, ?, ?)`,
			r.Author, r.Key[:], r.Request[:], r.Content, r.At.UnixMicro()); err != nil {
			return err
		}
		return createContent(tx, c, terms)
	})
	if err != nil {
		return content.Creation{}, fmt.Errorf("sqlitestore: create content %s once: %w", c.ID, err)
	}
	return kept, nil
}

// CreationByKey implements content.Store.
func (s *Store) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	var row creationRow
	ok, err := s.file.Get(ctx, &row, creationByKey, author, key[:])
	if err == nil && !ok {
		err = content.ErrNotFound
	}
	if err != nil {
		return content.Creation{}, fmt.Errorf("sqlitestore: creation by key: %w", err)
	}
	return row.creation(author, key), nil
}

// SweepCreations implements content.Store.
func (s *Store) SweepCreations(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.delete(ctx, `DELETE FROM creations WHERE (author, key) IN (SELECT author, key FROM creations WHERE at < ? ORDER BY at LIMIT ?)`,
		before.UnixMicro(), limit)
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: sweep creations: %w", err)
	}
	return int(n), nil
}
