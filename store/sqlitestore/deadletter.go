package sqlitestore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// recordDeadLetters records the messages that are not recorded yet.
func recordDeadLetters(tx Tx, messages []rating.DeadLetter) error {
	for _, m := range messages {
		if m.Body == nil {
			m.Body = []byte{}
		}
		if _, err := tx.Exec(`INSERT INTO rejected (stream, "offset", key, body, reason, detail, at)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			m.Position.Stream, m.Position.Offset, m.Key, m.Body, m.Reason, m.Detail, m.At.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// ListDeadLetters implements rating.Store.
func (s *Store) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	var cond conditions
	cond.add("id > ?", q.After)
	if q.Key != "" {
		cond.add("key = ?", q.Key)
	}
	if q.Position.Stream != "" {
		cond.add(`stream = ? AND "offset" = ?`, q.Position.Stream, q.Position.Offset)
	}
	var found []rows.DeadLetter
	if err := s.file.Select(ctx, &found, `SELECT id, stream, "offset" AS position, key, body, reason, detail,
		at FROM rejected`+
		cond.where()+` ORDER BY id LIMIT ?`, append(cond.args, q.Limit)...); err != nil {
		return nil, fmt.Errorf("sqlitestore: list dead letters: %w", err)
	}
	return rows.All(found, rows.DeadLetter.DeadLetter), nil
}

// DeleteDeadLetters implements rating.Store.
func (s *Store) DeleteDeadLetters(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.delete(ctx, `DELETE FROM rejected WHERE id IN (SELECT value FROM json_each(?))`,
		array(ids))
	return wrap(err, "delete dead letters")
}
