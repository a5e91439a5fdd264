package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/content"
)

// contentRow is a row of contents.
type contentRow struct {
	ID          string    `db:"id"`
	Title       string    `db:"title"`
	Description string    `db:"description"`
	Author      string    `db:"author"`
	Version     int64     `db:"version"`
	CreatedAt   time.Time `db:"created_at"`
	UpdatedAt   time.Time `db:"updated_at"`
}

const contentColumns = `c.id, c.title, c.description, c.author, c.version, c.created_at, c.updated_at`

func (r contentRow) content() content.Content {
	return content.Content{ID: r.ID, Title: r.Title, Description: r.Description, Author: r.Author, Version: r.Version,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC()}
}

// titleKey is the part of a title that lists are ordered by. It may end within a character, so it is no text.
func titleKey(title string) []byte { return []byte(title[:min(len(title), content.TitleKey)]) }

// maxTerm is the length in bytes beyond which a term is indexed by its hash: an index takes no items beyond some 2,700 bytes.
const maxTerm = 200

// indexed returns what stands for terms in the index.
func indexed(terms []string) pq.StringArray {
	short := make(pq.StringArray, len(terms))
	for i, term := range terms {
		if short[i] = term; len(term) > maxTerm {
			sum := sha256.Sum256([]byte(term))
			short[i] = "#" + hex.EncodeToString(sum[:]) // no term begins with #
		}
	}
	return short
}

func termsOf(c content.Content) pq.StringArray {
	return indexed(content.Terms(c.Title + " " + c.Description))
}

// CreateContent implements content.Store.
func (s *Store) CreateContent(ctx context.Context, c content.Content) error {
	terms := termsOf(c)
	err := s.transact(ctx, func(tx transaction) error { return tx.createContent(c, terms) })
	if err != nil {
		return fmt.Errorf("pgstore: create content %s: %w", c.ID, err)
	}
	return nil
}

func (tx transaction) createContent(c content.Content, terms pq.StringArray) error {
	_, err := tx.exec(`INSERT INTO khodnevis.contents (id, title, title_key, description, terms, author, version, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.ID, c.Title, titleKey(c.Title), c.Description, terms, c.Author, c.Version, c.CreatedAt, c.UpdatedAt)
	if taken(err) {
		return content.ErrConflict
	}
	if err != nil {
		return err
	}
	// Only now, in a statement that sees what a deletion left that the first one waited for.
	n, err := tx.exec(`INSERT INTO khodnevis.rating_scores (content_id) SELECT $1 WHERE NOT EXISTS (SELECT FROM khodnevis.deleted_contents WHERE id = $1)
		ON CONFLICT (content_id) DO UPDATE SET rank = rating_scores.rank`, c.ID)
	if err == nil && n == 0 {
		return content.ErrConflict
	}
	return err
}

const contentsByID = `SELECT ` + contentColumns + ` FROM khodnevis.contents c WHERE c.id = ANY($1)`

// ContentsByID implements content.Store.
func (s *Store) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []contentRow
	if err := s.query(ctx, &rows, contentsByID, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: %d contents by id: %w", len(ids), err)
	}
	found := make([]content.Content, len(rows))
	for i, r := range rows {
		found[i] = r.content()
	}
	return found, nil
}

// UpdateContent implements content.Store.
func (s *Store) UpdateContent(ctx context.Context, c content.Content) error {
	terms := termsOf(c)
	err := s.transact(ctx, func(tx transaction) error {
		if err := tx.contentAt(c.ID, func(v int64) bool { return v == c.Version-1 }); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE khodnevis.contents SET title = $2, title_key = $3, description = $4, terms = $5, version = $6, updated_at = $7 WHERE id = $1`,
			c.ID, c.Title, titleKey(c.Title), c.Description, terms, c.Version, c.UpdatedAt)
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: update content %s from version %d: %w", c.ID, c.Version-1, err)
	}
	return nil
}

// DeleteContent implements content.Store.
//
// No lock keeps a rating of the content out that is being applied at the same time: such a lock would be held by every batch on every
// hot content. What decides is the row of deleted_contents. Once it is there, no statement that begins to apply ratings takes
// one of the content, and every statement that reads ratings leaves those of the content out, so that a batch
// that began before and ends after leaves rows that nobody sees. Removing what nobody sees is cleaning up: as much as goes
// quickly here, the rest by SweepRatings.
func (s *Store) DeleteContent(ctx context.Context, id string, version int64) error {
	err := s.transact(ctx, func(tx transaction) error {
		if err := tx.contentAt(id, func(v int64) bool { return version == 0 || v == version }); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO khodnevis.deleted_contents (id) VALUES ($1) ON CONFLICT DO NOTHING`, id); err != nil {
			return err
		}
		_, err := tx.exec(`DELETE FROM khodnevis.contents WHERE id = $1`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("pgstore: delete content %s at version %d: %w", id, version, err)
	}
	_, _ = s.clear(ctx, id, 5) // the content is deleted, whatever becomes of this
	return nil
}

// ForgetContent implements rating.Store, as DeleteContent.
func (s *Store) ForgetContent(ctx context.Context, id string) error {
	if _, err := s.exec(ctx, `INSERT INTO khodnevis.deleted_contents (id) VALUES ($1) ON CONFLICT DO NOTHING`, id); err != nil {
		return fmt.Errorf("pgstore: forget content %s: %w", id, err)
	}
	_, _ = s.clear(ctx, id, 5) // it is forgotten, whatever becomes of this
	return nil
}

// contentAt locks a content whose version is one that is meant.
func (tx transaction) contentAt(id string, meant func(version int64) bool) error {
	var versions []int64
	err := tx.query(&versions, `SELECT version FROM khodnevis.contents WHERE id = $1 FOR UPDATE`, id)
	switch {
	case err != nil:
		return err
	case len(versions) == 0:
		return content.ErrNotFound
	case !meant(versions[0]):
		return content.ErrConflict
	}
	return nil
}
