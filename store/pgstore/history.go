package pgstore

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/internal/lru"
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

// bucketsOf has no buckets of a content that is to be rebuilt: they count some of its ratings only.
const bucketsOf = `SELECT r.bucket, c.score, c.n
	FROM khodnevis.bucket_parts r CROSS JOIN LATERAL unnest(r.scores, r.counts) AS c (score, n)
	WHERE r.content_id = $1 AND ` + rebuilt + ` AND ` + there

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	query := func(rows any, text string, args ...any) error { return s.query(ctx, rows, text, args...) }
	var cells []rows.Cell
	err := query(&cells, bucketsOf, id)
	var windows map[string][]rating.Window
	if err == nil {
		windows, err = windowsOf(query, pq.StringArray{id})
	}
	var starts map[string]time.Time
	if err == nil {
		starts, err = s.recordedStarts(ctx, pq.StringArray{id})
	}
	if err != nil {
		return rating.History{}, fmt.Errorf("pgstore: history of content %s: %w", id, err)
	}
	return rating.History{Start: starts[id], Buckets: rows.Tally(cells).Buckets(), Windows: windows[id]}, nil
}

const (
	historyStarts = `SELECT r.content_id, r.opened_at FROM khodnevis.openings r WHERE r.content_id = ANY($1)
		AND ` + there

	// startHistories keeps what is recorded already. The order keeps two callers from waiting for
	// each other.
	startHistories = `INSERT INTO khodnevis.openings (content_id, opened_at)
		SELECT r.content_id, r.at FROM unnest($1::text[], $2::timestamptz[]) AS r (content_id, at) WHERE ` + there + `
		ORDER BY r.content_id COLLATE "C" ON CONFLICT DO NOTHING`

	// keptStarts is of how many contents a Store remembers when their history starts.
	keptStarts = 10_000
)

func (s *Store) recordedStarts(ctx context.Context, ids pq.StringArray) (map[string]time.Time, error) {
	var recorded []rows.HistoryStart
	err := s.query(ctx, &recorded, historyStarts, ids)
	starts := make(map[string]time.Time, len(recorded))
	for _, r := range recorded {
		starts[r.Content] = r.At.Time
	}
	return starts, err
}

// startHistories returns when the histories of the contents start that batch sets a score of, and
// records those that are not recorded. It looks up those that this Store does not remember. Starts
// of deleted contents are not recorded.
func (s *Store) startHistories(ctx context.Context, batch rating.Batch) (map[string]time.Time, error) {
	starts := batch.Starts()
	unknown := s.starts.fill(starts)
	if len(unknown) == 0 {
		return starts, nil
	}
	recorded, err := s.recordedStarts(ctx, unknown)
	if err == nil && len(recorded) < len(unknown) {
		var ids pq.StringArray
		var at []time.Time
		for _, id := range unknown {
			if _, ok := recorded[id]; !ok {
				ids, at = append(ids, id), append(at, starts[id])
			}
		}
		if _, err = s.exec(ctx, startHistories, ids, times(at)); err == nil {
			recorded, err = s.recordedStarts(ctx, unknown) // another caller may have been faster
		}
	}
	if err != nil {
		return nil, err
	}
	s.starts.keep(recorded)
	maps.Copy(starts, recorded)
	return starts, nil
}

// knownStarts remembers when histories start, which never changes.
type knownStarts struct {
	mu        sync.Mutex
	byContent *lru.Map[string, time.Time]
}

// fill sets those of starts that are known, and returns the others.
func (k *knownStarts) fill(starts map[string]time.Time) (unknown pq.StringArray) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range starts {
		if at, ok := k.byContent.Get(id); ok {
			starts[id] = at
		} else {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

func (k *knownStarts) keep(starts map[string]time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, at := range starts {
		k.byContent.Put(id, at)
	}
}

// mark locks rows in the order in which those who apply ratings do. The revision grows, so that a
// refresh in flight does not take the mark away.
const mark = `UPDATE khodnevis.rating_stats SET dirty = true, revision = revision + 1
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
