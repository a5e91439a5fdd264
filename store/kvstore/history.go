package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// history returns what the numbers of a content are computed from.
func (t *tx) history(id string) rating.History {
	start, _ := starts.get(t, id)
	return rating.History{
		Start:   start,
		Buckets: t.tally(id).Buckets(),
		Windows: windows.list(t, span{prefix: key(byte(windows), id)}, -1),
	}
}

// tally returns the buckets of a content.
func (t *tx) tally(id string) rating.Tally {
	stored := rating.Tally{}
	for _, b := range buckets.list(t, span{prefix: key(byte(buckets), id)}, -1) {
		for value, n := range b.Counts {
			stored.AddMany(score.Cell{Bucket: b.Index, Score: value}, n)
		}
	}
	return stored
}

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	return view(ctx, s, "history of content "+id, func(t *tx) (rating.History, error) { return t.history(id), nil })
}

// startHistories returns when the histories of the contents start that batch sets a score of.
func (t *tx) startHistories(batch rating.Batch) map[string]time.Time {
	found := batch.Starts()
	for id, at := range found {
		if recorded, ok := starts.get(t, id); ok {
			found[id] = recorded
		} else if !tombstones.has(t, id) {
			starts.put(t, at, id)
		}
	}
	return found
}

// AddWindow implements rating.Store.
func (s *Store) AddWindow(ctx context.Context, w rating.Window) error {
	return s.write(ctx, "add window "+w.ID+" of content "+w.Content, func(t *tx) error {
		if tombstones.has(t, w.Content) {
			return rating.ErrNotFound
		}
		if !windows.has(t, w.Content, w.ID) {
			windows.put(t, w, w.Content, w.ID)
			t.mark(w.Content)
		}
		return nil
	})
}

// RemoveWindow implements rating.Store.
func (s *Store) RemoveWindow(ctx context.Context, content, id string) error {
	return s.write(ctx, "remove window "+id+" of content "+content, func(t *tx) error {
		if !windows.has(t, content, id) {
			return rating.ErrNotFound
		}
		windows.delete(t, content, id)
		t.mark(content)
		return nil
	})
}
