package pgstore

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/internal/rows"
)

const windows = `SELECT r.content_id, r.id, r.ruling, r.from_at, r.until_at, r.first_bucket, r.last_bucket,
	r.note, r.made_by, r.created_at
	FROM khodnevis.rating_windows r WHERE r.content_id = ANY($1) AND ` + there + ` ORDER BY r.content_id, r.id`

// windowsOf returns windows by content.
func windowsOf(query func(rows any, text string, args ...any) error,
	contents pq.StringArray) (map[string][]rating.Window, error) {
	var all []rows.Window
	if err := query(&all, windows, contents); err != nil {
		return nil, err
	}
	found := map[string][]rating.Window{}
	for _, r := range all {
		found[r.Content] = append(found[r.Content], r.Window())
	}
	return found, nil
}

const bucketsOf = `SELECT r.bucket, sum(r.n)::bigint AS n, sum(r.sum)::bigint AS sum
	FROM khodnevis.bucket_parts r WHERE r.content_id = $1 AND ` + there + `
	GROUP BY r.bucket HAVING sum(r.n) <> 0 OR sum(r.sum) <> 0 ORDER BY r.bucket`

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	query := func(rows any, text string, args ...any) error { return s.query(ctx, rows, text, args...) }
	var buckets []rows.Bucket
	err := query(&buckets, bucketsOf, id)
	var windows map[string][]rating.Window
	if err == nil {
		windows, err = windowsOf(query, pq.StringArray{id})
	}
	var start []rating.HistoryStart
	if err == nil {
		start, _, err = s.recorded(ctx, []rating.HistoryStart{{Content: id}})
	}
	if err != nil {
		return rating.History{}, fmt.Errorf("pgstore: history of content %s: %w", id, err)
	}
	return rating.History{Start: start[0].At, Buckets: rows.Buckets(buckets), Windows: windows[id]}, nil
}

// mark locks rows in the order in which those who apply ratings do. The revision grows, so that a
// refresh in flight does not take the mark away.
const mark = `UPDATE khodnevis.rating_stats SET dirty = true, revision = revision + 1, as_of = greatest(as_of,
	clock_timestamp())
	WHERE content_id = ANY(ARRAY(SELECT r.content_id FROM khodnevis.rating_stats r WHERE r.content_id = ANY($1)
		AND r.revision > 0 AND ` + there + `
		ORDER BY r.content_id FOR UPDATE OF r))`

// MarkChanged implements rating.Store.
func (s *Store) MarkChanged(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.exec(ctx, mark, pq.StringArray(ids))
	return wrap(err, "mark %d contents", len(ids))
}

// AddWindow implements rating.Store. A content that is deleted at the same time leaves a window
// that nobody sees, as it may leave ratings; see DeleteContent.
func (s *Store) AddWindow(ctx context.Context, w rating.Window) error {
	err := s.transact(ctx, func(tx transaction) error {
		var gone []string
		if err := tx.query(&gone, goneContents, pq.StringArray{w.Content}); err != nil {
			return err
		}
		if len(gone) > 0 {
			return rating.ErrNotFound
		}
		n, err := tx.exec(`INSERT INTO khodnevis.rating_windows (content_id, id, ruling, from_at, until_at,
			first_bucket, last_bucket, note, made_by, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
			w.Content, w.ID, string(w.Ruling), w.From, w.Until, w.First, w.Last, w.Note, w.By, w.CreatedAt)
		if err != nil || n == 0 {
			return err
		}
		_, err = tx.exec(mark, pq.StringArray{w.Content})
		return err
	})
	return wrap(err, "add window %s of content %s", w.ID, w.Content)
}

// RemoveWindow implements rating.Store.
func (s *Store) RemoveWindow(ctx context.Context, content, id string) error {
	err := s.transact(ctx, func(tx transaction) error {
		n, err := tx.exec(`DELETE FROM khodnevis.rating_windows r WHERE r.content_id = $1 AND r.id = $2 AND `+there,
			content, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return rating.ErrNotFound
		}
		_, err = tx.exec(mark, pq.StringArray{content})
		return err
	})
	return wrap(err, "remove window %s of content %s", id, content)
}
