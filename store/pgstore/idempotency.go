package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const (
	recordByKey = `SELECT request, content_id, at FROM khodnevis.creations WHERE author = $1 AND key = $2`

	// createIdempotent waits for another call with the same key. It writes nothing where there is a
	// record that counts, or the content's identifier is used.
	createIdempotent = `WITH held AS (INSERT INTO khodnevis.creations AS kept (author, key, request, content_id, at)
			SELECT $10::text, $11::bytea, $12::bytea, $13::text, $14::timestamptz WHERE ` + unusedContent + `
			ON CONFLICT (author, key) DO UPDATE
			SET request = excluded.request, content_id = excluded.content_id, at = excluded.at WHERE kept.at < $15
			RETURNING kept.author),
		made AS (` + insertContent + ` FROM held RETURNING id), scored AS (` + scoreContent + `) SELECT id FROM made`

	contentIsUsed = `SELECT id FROM khodnevis.contents WHERE id = $1
		UNION ALL SELECT id FROM khodnevis.deleted_contents WHERE id = $1`

	sweepRecords = `DELETE FROM khodnevis.creations WHERE ctid = ANY(ARRAY(
		SELECT ctid FROM khodnevis.creations WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))`
)

// CreateContentIdempotent implements content.Store.
func (s *Store) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	args := append(contentArgs(c), r.Author, r.Key[:], r.Request[:], r.Content, r.At, since)
	for {
		made, again, err := s.write(ctx, createIdempotent, c.ID, args...)
		kept, taken := r, taken(err)
		if err == nil && len(made) == 0 {
			kept, err = s.IdempotencyRecordByKey(ctx, r.Author, r.Key)
			if err == nil && kept.At.Before(since) || errors.Is(err, content.ErrNotFound) {
				err = s.missed(ctx, contentIsUsed, c.ID, errSwept, content.ErrConflict)
			}
		}
		switch {
		case errors.Is(err, errSwept):
			continue
		case taken:
			err = content.ErrConflict
		}
		if err = unsure(again, err); err != nil {
			return content.IdempotencyRecord{}, fmt.Errorf("pgstore: create content %s idempotently: %w", c.ID, err)
		}
		return kept, nil
	}
}

// errSwept says that the record that kept a new one out was swept in between.
var errSwept = errors.New("pgstore: swept")

// IdempotencyRecordByKey implements content.Store.
func (s *Store) IdempotencyRecordByKey(ctx context.Context, author string,
	key content.Hash) (content.IdempotencyRecord, error) {
	var found []rows.IdempotencyRecord
	err := s.query(ctx, &found, recordByKey, author, key[:])
	if err == nil && len(found) == 0 {
		err = content.ErrNotFound
	}
	if err != nil {
		return content.IdempotencyRecord{}, fmt.Errorf("pgstore: idempotency record by key: %w", err)
	}
	return found[0].Of(author, key), nil
}

// SweepIdempotencyRecords implements content.Store. It skips rows that are locked.
func (s *Store) SweepIdempotencyRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	n := 0
	err := s.transact(ctx, func(tx transaction) (err error) {
		n, err = tx.exec(sweepRecords, before, limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("pgstore: sweep idempotency records: %w", err)
	}
	return n, nil
}
