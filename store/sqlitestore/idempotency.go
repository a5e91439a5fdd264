package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const recordByKey = `SELECT request, content AS content_id, at FROM creations WHERE author = ? AND key = ?`

// CreateContentIdempotent implements content.Store.
func (s *Store) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	terms := tokens(c)
	var kept content.IdempotencyRecord
	err := s.file.Write(ctx, func(tx Tx) error {
		var row rows.IdempotencyRecord
		ok, err := tx.Get(&row, recordByKey, r.Author, r.Key[:])
		if err != nil {
			return err
		}
		if ok && !row.At.Before(since) {
			kept = row.Of(r.Author, r.Key)
			return nil
		}
		kept = r
		if _, err := tx.Exec(`INSERT OR REPLACE INTO creations (author, key, request, content, at) VALUES (?,
			?, ?, ?, ?)`,
			r.Author, r.Key[:], r.Request[:], r.Content, r.At.UnixMicro()); err != nil {
			return err
		}
		return createContent(tx, c, terms)
	})
	if err != nil {
		return content.IdempotencyRecord{}, fmt.Errorf("sqlitestore: create content %s idempotently: %w", c.ID, err)
	}
	return kept, nil
}

// IdempotencyRecordByKey implements content.Store.
func (s *Store) IdempotencyRecordByKey(ctx context.Context, author string,
	key content.Hash) (content.IdempotencyRecord, error) {
	var row rows.IdempotencyRecord
	ok, err := s.file.Get(ctx, &row, recordByKey, author, key[:])
	if err == nil && !ok {
		err = content.ErrNotFound
	}
	if err != nil {
		return content.IdempotencyRecord{}, fmt.Errorf("sqlitestore: idempotency record by key: %w", err)
	}
	return row.Of(author, key), nil
}

// SweepIdempotencyRecords implements content.Store.
func (s *Store) SweepIdempotencyRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.delete(ctx, `DELETE FROM creations WHERE (author, key) IN (SELECT author, key FROM creations
		WHERE at < ? ORDER BY at LIMIT ?)`,
		before.UnixMicro(), limit)
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: sweep idempotency records: %w", err)
	}
	return int(n), nil
}
