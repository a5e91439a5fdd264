package sqlitestore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

// cellsOf are the buckets of a content.
const cellsOf = `SELECT bucket, score, n FROM rating_buckets WHERE content = ?`

// history reads what the numbers of a content are computed from. A content that is to be rebuilt has
// no buckets to show.
func history(read func(dest any, text string, args ...any) error, id string) (rating.History, error) {
	var cells []rows.Cell
	if err := read(&cells, cellsOf+` AND content NOT IN (SELECT content FROM rebuilds)`, id); err != nil {
		return rating.History{}, err
	}
	var windows []rows.Window
	if err := read(&windows, `SELECT content AS content_id, id, ruling, from_at, until_at, first_bucket,
		last_bucket, note, made_by, created_at
		FROM rating_windows WHERE content = ? ORDER BY id`, id); err != nil {
		return rating.History{}, err
	}
	h := rating.History{Buckets: rows.Tally(cells).Buckets()}
	for _, w := range windows {
		h.Windows = append(h.Windows, w.Window())
	}
	return h, nil
}

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	read := func(dest any, text string, args ...any) error { return s.file.Select(ctx, dest, text, args...) }
	h, err := history(read, id)
	if err == nil {
		h.Start, err = startOf(read, id)
	}
	if err != nil {
		return rating.History{}, fmt.Errorf("sqlitestore: history of content %s: %w", id, err)
	}
	return h, nil
}

// startOf returns when the history of a content starts, zero if it has not started.
func startOf(read func(dest any, text string, args ...any) error, id string) (time.Time, error) {
	var found []rows.HistoryStart
	err := read(&found, startsOf, array([]string{id}))
	if err != nil || len(found) == 0 {
		return time.Time{}, err
	}
	return found[0].At.Time, nil
}

// startsOf takes a JSON array of identifiers.
const startsOf = `SELECT content AS content_id, opened_at FROM openings
	WHERE content IN (SELECT value FROM json_each(?))`

// startHistories returns when the histories of the contents start that batch sets a score of.
func startHistories(tx Tx, batch rating.Batch, deleted map[string]bool) (map[string]time.Time, error) {
	starts := batch.Starts()
	maps.DeleteFunc(starts, func(id string, _ time.Time) bool { return deleted[id] })
	var found []rows.HistoryStart
	if err := tx.Select(&found, startsOf, array(slices.Collect(maps.Keys(starts)))); err != nil {
		return nil, err
	}
	recorded := map[string]bool{}
	for _, r := range found {
		starts[r.Content], recorded[r.Content] = r.At.Time, true
	}
	var first [][2]any
	for id, at := range starts {
		if !recorded[id] {
			first = append(first, [2]any{id, at.UnixMicro()})
		}
	}
	if len(first) == 0 {
		return starts, nil
	}
	_, err := tx.Exec(`INSERT INTO openings (content, opened_at) SELECT value ->> 0, value ->> 1 FROM json_each(?)`,
		array(first))
	return starts, err
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
	_, err := tx.Exec(`UPDATE rating_stats SET dirty_at = ?2
		WHERE content IN (SELECT value FROM json_each(?1)) AND revision > 0 AND dirty_at IS NULL`, ids, now())
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
