package kvstore

import (
	"context"

	"github.com/khodnevis/khodnevis/rating"
)

// history returns what the score of a content is computed from.
func (t *tx) history(id string) rating.History {
	opened, _ := starts.get(t, id)
	return rating.History{
		Start:   opened,
		Buckets: buckets.list(t, span{prefix: key(byte(buckets), id)}, -1),
		Windows: windows.list(t, span{prefix: key(byte(windows), id)}, -1),
	}
}

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	return view(ctx, s, "history of content "+id, func(t *tx) (rating.History, error) { return t.history(id), nil })
}

// StartHistories implements rating.Store.
func (s *Store) StartHistories(ctx context.Context, opened []rating.HistoryStart) ([]rating.HistoryStart, error) {
	return update(ctx, s, "start histories", func(t *tx) ([]rating.HistoryStart, error) {
		recorded := make([]rating.HistoryStart, len(opened))
		for i, o := range opened {
			if at, ok := starts.get(t, o.Content); ok {
				o.At = at
			} else {
				starts.put(t, o.At, o.Content)
			}
			recorded[i] = o
		}
		return recorded, nil
	})
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
