package sqlitestore

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// history reads what the score of a content is computed from.
func history(read func(dest any, text string, args ...any) error, id string) (rating.History, error) {
	var buckets []rows.Bucket
	if err := read(&buckets, `SELECT bucket, n, sum FROM rating_buckets WHERE content = ? AND n <> 0
		ORDER BY bucket`, id); err != nil {
		return rating.History{}, err
	}
	var windows []rows.Window
	if err := read(&windows, `SELECT content AS content_id, id, ruling, from_at, until_at, first_bucket,
		last_bucket, note, made_by, created_at
		FROM rating_windows WHERE content = ? ORDER BY id`, id); err != nil {
		return rating.History{}, err
	}
	h := rating.History{Buckets: rows.Buckets(buckets)}
	for _, w := range windows {
		h.Windows = append(h.Windows, w.Window())
	}
	return h, nil
}

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	h, err := history(func(dest any, text string, args ...any) error {
		return s.file.Select(ctx, dest, text,
			args...)
	}, id)
	var start []rating.HistoryStart
	if err == nil {
		start, _, err = s.recorded(ctx, []rating.HistoryStart{{Content: id}})
	}
	if err != nil {
		return rating.History{}, fmt.Errorf("sqlitestore: history of content %s: %w", id, err)
	}
	h.Start = start[0].At
	return h, nil
}

// MarkChanged implements rating.Store.
func (s *Store) MarkChanged(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	text := array(ids)
	err := s.file.Write(ctx, func(tx Tx) error { return mark(tx, text) })
	return wrap(err, "mark %d contents", len(ids))
}

// mark takes a JSON array of identifiers.
func mark(tx Tx, ids string) error {
	_, err := tx.Exec(`UPDATE rating_stats SET revision = revision + 1, as_of = ?2, dirty_at = coalesce(dirty_at, ?2)
		WHERE content IN (SELECT value FROM json_each(?1)) AND revision > 0`, ids, now())
	return err
}

// AddWindow implements rating.Store.
func (s *Store) AddWindow(ctx context.Context, w rating.Window) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		var deleted int
		if _, err := tx.Get(&deleted, `SELECT count(*) FROM deleted_contents WHERE id = ?`, w.Content); err != nil {
			return err
		}
		if deleted > 0 {
			return rating.ErrNotFound
		}
		n, err := tx.Exec(`INSERT INTO rating_windows (content, id, ruling, from_at, until_at, first_bucket,
			last_bucket, note, made_by, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, w.Content, w.ID, string(w.Ruling), w.From.UnixMicro(), w.Until.UnixMicro(),
			w.First, w.Last, w.Note, w.By, w.CreatedAt.UnixMicro())
		if err != nil || n == 0 {
			return err
		}
		return mark(tx, array([]string{w.Content}))
	})
	return wrap(err, "add window %s of content %s", w.ID, w.Content)
}

// RemoveWindow implements rating.Store.
func (s *Store) RemoveWindow(ctx context.Context, content, id string) error {
	err := s.file.Write(ctx, func(tx Tx) error {
		n, err := tx.Exec(`DELETE FROM rating_windows WHERE content = ? AND id = ?`, content, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return rating.ErrNotFound
		}
		return mark(tx, array([]string{content}))
	})
	return wrap(err, "remove window %s of content %s", id, content)
}
