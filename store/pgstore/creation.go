package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

// creationRow is a row of creations without its key.
type creationRow struct {
	Request []byte    `db:"request"`
	Content string    `db:"content_id"`
	At      time.Time `db:"at"`
}

func (r creationRow) creation(author string, key content.Hash) content.Creation {
	c := content.Creation{Author: author, Key: key, Content: r.Content, At: r.At.UTC()}
	copy(c.Request[:], r.Request)
	return c
}

const (
	creationByKey = `SELECT request, content_id, at FROM khodnevis.creations WHERE author = $1 AND key = $2`

	// keepCreation waits for whoever is at the same key. It writes nothing where there is one that counts.
	keepCreation = `INSERT INTO khodnevis.creations AS kept (author, key, request, content_id, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (author, key) DO UPDATE SET request = excluded.request, content_id = excluded.content_id, at = excluded.at WHERE kept.at < $6`

	sweepCreations = `DELETE FROM khodnevis.creations WHERE ctid = ANY(ARRAY(
		SELECT ctid FROM khodnevis.creations WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))`
)

// CreateContentOnce implements content.Store.
func (s *Store) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	terms := termsOf(c)
	var kept content.Creation
	err := s.transact(ctx, func(tx transaction) error {
		for {
			n, err := tx.exec(keepCreation, r.Author, r.Key[:], r.Request[:], r.Content, r.At, since)
			if err != nil {
				return err
			}
			if n == 1 {
				kept = r
				return tx.createContent(c, terms)
			}
			var rows []creationRow
			if err := tx.query(&rows, creationByKey, r.Author, r.Key[:]); err != nil {
				return err
			}
			if len(rows) == 1 { // otherwise it was swept in between
				kept = rows[0].creation(r.Author, r.Key)
				return nil
			}
		}
	})
	if err != nil {
		return content.Creation{}, fmt.Errorf("pgstore: create content %s once: %w", c.ID, err)
	}
	return kept, nil
}

// CreationByKey implements content.Store.
func (s *Store) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	var rows []creationRow
	err := s.query(ctx, &rows, creationByKey, author, key[:])
	if err == nil && len(rows) == 0 {
		err = content.ErrNotFound
	}
	if err != nil {
		return content.Creation{}, fmt.Errorf("pgstore: creation by key: %w", err)
	}
	return rows[0].creation(author, key), nil
}

// SweepCreations implements content.Store. What somebody else works on is left for the next time.
func (s *Store) SweepCreations(ctx context.Context, before time.Time, limit int) (int, error) {
	n := 0
	err := s.transact(ctx, func(tx transaction) (err error) {
		n, err = tx.exec(sweepCreations, before, limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("pgstore: sweep creations: %w", err)
	}
	return n, nil
}
