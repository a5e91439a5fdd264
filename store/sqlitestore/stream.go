package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// Installation implements rating.Store.
func (s *Store) Installation(ctx context.Context) (id string, err error) {
	if _, err := s.file.Get(ctx, &id, `SELECT id FROM installation`); err != nil {
		return "", fmt.Errorf("sqlitestore: installation: %w", err)
	}
	return id, nil
}

// StreamEpoch implements rating.Store.
func (s *Store) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, ok, err := s.epoch(ctx, stream)
	if err == nil && !ok {
		if err = s.file.Write(ctx, func(tx Tx) error {
			_, err := tx.Exec(`INSERT INTO streams (stream, epoch) SELECT ?, coalesce(max(epoch), 0) + 1
				FROM streams WHERE TRUE ON CONFLICT (stream) DO NOTHING`, stream)
			return err
		}); err == nil {
			epoch, _, err = s.epoch(ctx, stream)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: epoch of stream %s: %w", stream, err)
	}
	return epoch, nil
}

// KnownEpoch implements rating.Store.
func (s *Store) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, ok, err := s.epoch(ctx, stream)
	if err == nil && !ok {
		err = rating.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: epoch of stream %q: %w", stream, err)
	}
	return epoch, nil
}

func (s *Store) epoch(ctx context.Context, stream string) (epoch int64, ok bool, err error) {
	ok, err = s.file.Get(ctx, &epoch, `SELECT epoch FROM streams WHERE stream = ?`, stream)
	return epoch, ok, err
}

// ClaimLease implements rating.Store.
func (s *Store) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	var n int64
	err := s.file.Write(ctx, func(tx Tx) (err error) {
		now := now()
		n, err = tx.Exec(`INSERT INTO ticks (job, at, until) VALUES (?1, ?2, ?3)
			ON CONFLICT DO UPDATE SET at = excluded.at, until = excluded.until WHERE at < excluded.at
				AND until <= ?4`,
			job, at.UnixMicro(), now+lease.Microseconds(), now)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("sqlitestore: claim %s at %s: %w", job, at, err)
	}
	return n > 0, nil
}

// ReleaseLease implements rating.Store.
func (s *Store) ReleaseLease(ctx context.Context, job string, at time.Time) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(`UPDATE ticks SET until = 0 WHERE job = ? AND at = ?`, job, at.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("sqlitestore: release %s at %s: %w", job, at, err)
	}
	return nil
}

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
	if _, err := s.delete(ctx, `DELETE FROM rejected WHERE id IN (SELECT value FROM json_each(?))`,
		array(ids)); err != nil {
		return fmt.Errorf("sqlitestore: delete dead letters: %w", err)
	}
	return nil
}

// SweepRatings implements rating.Store.
func (s *Store) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.clearAll(ctx); err != nil {
		return 0, fmt.Errorf("sqlitestore: sweep ratings of deleted contents: %w", err)
	}
	swept := int64(0)
	for _, what := range []struct{ name, text string }{
		{"ratings", `DELETE FROM ratings WHERE (content, rater) IN
			(SELECT content, rater FROM ratings WHERE result = 'withdrawn' AND updated_at < ? LIMIT ?)`},
		{"dead letters", `DELETE FROM rejected WHERE id IN
			(SELECT id FROM rejected WHERE at < ? ORDER BY at LIMIT ?)`},
		{"departures", `DELETE FROM departures WHERE rater IN
			(SELECT rater FROM departures WHERE at < ? ORDER BY at LIMIT ?)`},
	} {
		n, err := s.delete(ctx, what.text, before.UnixMicro(), int64(limit)-swept)
		if err != nil {
			return int(swept), fmt.Errorf("sqlitestore: sweep %s: %w", what.name, err)
		}
		swept += n
	}
	return int(swept), nil
}
