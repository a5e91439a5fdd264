package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const contentColumns = `c.id, c.title, c.description, c.author, c.version, c.created_at, c.updated_at`

// maxTerm is the length in bytes beyond which a term is indexed by its hash: an index takes no
// items beyond some 2,700 bytes.
const maxTerm = 200

// indexed returns what stands for terms in the index.
func indexed(terms []string) pq.StringArray {
	short := make(pq.StringArray, len(terms))
	for i, term := range terms {
		if short[i] = term; len(term) > maxTerm {
			sum := sha256.Sum256([]byte(term))
			short[i] = "#" + hex.EncodeToString(sum[:]) // a term that begins with # has nothing else
		}
	}
	return short
}

// createContent takes no identifier twice. A content that exists, or is just being deleted, is in
// the statement's snapshot; a content that is created meanwhile violates the primary key. A content
// that one call creates and another one deletes while this statement runs is not noticed; services
// use no identifier for two calls.
const (
	unusedContent = `NOT EXISTS (SELECT FROM khodnevis.contents WHERE id = $1)
		AND NOT EXISTS (SELECT FROM khodnevis.deleted_contents WHERE id = $1)`

	contentValues = `$1, $2::text, $3::bytea, $4::text, $5::text[], $6::text, $7::bigint, $8::timestamptz,
		$9::timestamptz`

	insertContent = `INSERT INTO khodnevis.contents
		(id, title, title_key, description, terms, author, version, created_at, updated_at) SELECT ` + contentValues

	scoreContent = `INSERT INTO khodnevis.rating_scores (content_id) SELECT id FROM made
		ON CONFLICT (content_id) DO UPDATE SET rank = rating_scores.rank`

	createContent = `WITH made AS (` + insertContent + ` WHERE ` + unusedContent + ` RETURNING id),
		scored AS (` + scoreContent + `) SELECT id FROM made`
)

func contentArgs(c content.Content) []any {
	return []any{c.Title, []byte(c.SortTitle()), c.Description, indexed(c.Terms()), c.Author, c.Version, c.CreatedAt,
		c.UpdatedAt}
}

// CreateContent implements content.Store.
func (s *Store) CreateContent(ctx context.Context, c content.Content) error {
	made, again, err := s.write(ctx, createContent, c.ID, contentArgs(c)...)
	if taken(err) || err == nil && len(made) == 0 {
		err = content.ErrConflict
	}
	return wrap(unsure(again, err), "create content %s", c.ID)
}

const contentsByID = `SELECT ` + contentColumns + ` FROM khodnevis.contents c WHERE c.id = ANY($1)`

// ContentsByID implements content.Store.
func (s *Store) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []rows.Content
	if err := s.query(ctx, &found, contentsByID, pq.StringArray(ids)); err != nil {
		return nil, fmt.Errorf("pgstore: %d contents by id: %w", len(ids), err)
	}
	return rows.All(found, rows.Content.Content), nil
}

const (
	updateContent = `UPDATE khodnevis.contents
		SET title = $2, title_key = $3, description = $4, terms = $5, version = $6, updated_at = $7
		WHERE id = $1 AND version = $6 - 1 RETURNING id`

	// deleteContent deletes whatever version there is if $2 is zero.
	deleteContent = `WITH gone AS (DELETE FROM khodnevis.contents
			WHERE id = $1 AND $2::bigint IN (0, version) RETURNING id),
		kept AS (INSERT INTO khodnevis.deleted_contents (id) SELECT id FROM gone ON CONFLICT DO NOTHING)
			SELECT id FROM gone`

	contentIsThere = `SELECT id FROM khodnevis.contents WHERE id = $1`
)

// UpdateContent implements content.Store.
func (s *Store) UpdateContent(ctx context.Context, c content.Content) error {
	changed, again, err := s.write(ctx, updateContent,
		c.ID, c.Title, []byte(c.SortTitle()), c.Description, indexed(c.Terms()), c.Version, c.UpdatedAt)
	if err == nil && len(changed) == 0 {
		err = s.missed(ctx, contentIsThere, c.ID, content.ErrNotFound, content.ErrConflict)
	}
	return wrap(unsure(again, err), "update content %s from version %d", c.ID, c.Version-1)
}

// DeleteContent implements content.Store.
//
// The row of deleted_contents is a tombstone. No lock keeps out a rating of the content that is
// applied at the same time: every batch would hold that lock on every hot content. Once the
// tombstone is there, statements that apply ratings refuse those of the content, and statements
// that read ratings leave them out. A batch that began before the deletion and ends after it leaves
// rows that nobody sees. DeleteContent removes as many rows as it can quickly, SweepRatings removes
// the rest.
func (s *Store) DeleteContent(ctx context.Context, id string, version int64) error {
	gone, again, err := s.write(ctx, deleteContent, id, version)
	if err == nil && len(gone) == 0 {
		err = s.missed(ctx, contentIsThere, id, content.ErrNotFound, content.ErrConflict)
	}
	if err = unsure(again, err); err != nil {
		return fmt.Errorf("pgstore: delete content %s at version %d: %w", id, version, err)
	}
	_, _ = s.clear(ctx, id, 5) // the content is deleted, even if this fails
	return nil
}

// EraseContent implements rating.Store, as DeleteContent.
func (s *Store) EraseContent(ctx context.Context, id string) error {
	if _, err := s.exec(ctx, `INSERT INTO khodnevis.deleted_contents (id) VALUES ($1) ON CONFLICT DO NOTHING`,
		id); err != nil {
		return fmt.Errorf("pgstore: erase content %s: %w", id, err)
	}
	_, _ = s.clear(ctx, id, 5) // the ratings are erased, even if this fails
	return nil
}
