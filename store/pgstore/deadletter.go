package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// recordDeadLetters records the dead letters that are not recorded yet. The order keeps two callers
// from waiting for each other.
const recordDeadLetters = `INSERT INTO khodnevis.rejected (stream, position, key, body, reason, detail, at)
	SELECT v.stream, v.position, v.key, v.body, v.reason, v.detail, v.at
	FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[], $5::text[], $6::bytea[],
		$7::timestamptz[]) WITH ORDINALITY
		AS v (stream, position, key, body, reason, detail, at, i)
	ORDER BY v.stream COLLATE "C", v.position, sha256(v.key), v.i ON CONFLICT DO NOTHING`

// deadLetterArrays returns messages as arguments of recordDeadLetters.
func deadLetterArrays(messages []rating.DeadLetter) []any {
	n := len(messages)
	streams, reasons, positions := make(pq.StringArray, n), make(pq.StringArray, n), make(pq.Int64Array, n)
	keys, bodies, details := make(pq.ByteaArray, n), make(pq.ByteaArray, n), make(pq.ByteaArray, n)
	at := make([]time.Time, n)
	for i, r := range messages {
		streams[i], positions[i], reasons[i] = r.Position.Stream, r.Position.Offset, r.Reason
		keys[i], bodies[i], details[i] = []byte(r.Key), append([]byte{}, r.Body...), []byte(r.Detail)
		at[i] = r.At
	}
	return []any{streams, positions, keys, bodies, reasons, details, times(at)}
}

// ListDeadLetters implements rating.Store.
func (s *Store) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	var where conditions
	where.add(`id > ?`, q.After)
	if q.Key != "" {
		where.add(`sha256(key) = sha256(?)`, []byte(q.Key))
	}
	if q.Position.Stream != "" {
		where.add(`stream = ? AND position = ?`, q.Position.Stream, q.Position.Offset)
	}
	text := `SELECT id, stream, position, key, body, reason, detail, at FROM khodnevis.rejected WHERE ` +
		where.String() + ` ORDER BY id` + where.bind(` LIMIT ?`, q.Limit)
	var found []rows.DeadLetter
	if err := s.search(ctx, &found, text, where.args...); err != nil {
		return nil, fmt.Errorf("pgstore: list dead letters: %w", err)
	}
	return rows.All(found, rows.DeadLetter.DeadLetter), nil
}

const deleteDeadLetters = `DELETE FROM khodnevis.rejected WHERE id = ANY($1)`

// DeleteDeadLetters implements rating.Store.
func (s *Store) DeleteDeadLetters(ctx context.Context, ids []int64) error {
	_, err := s.exec(ctx, deleteDeadLetters, pq.Int64Array(ids))
	return wrap(err, "delete %d dead letters", len(ids))
}
