package memstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/khodnevis/khodnevis/rating"
)

// history returns what the score of a content is folded from, for the caller to keep.
func (s *Store) history(id string) rating.History {
	h := rating.History{Opened: s.openings[id], Windows: slices.Clone(s.windows[id])}
	if of := s.rated[id]; of != nil {
		h.Buckets = of.tally.ordered()
	}
	return h
}

// HistoryByContent implements rating.Store.
func (s *Store) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	if err := s.rlock(ctx); err != nil {
		return rating.History{}, err
	}
	defer s.mu.RUnlock()
	return s.history(id), nil
}

// MarkChanged implements rating.Store.
func (s *Store) MarkChanged(ctx context.Context, ids []string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for id := range unique(ids) {
		s.mark(id)
	}
	return nil
}

func (s *Store) mark(id string) {
	if of := s.rated[id]; of != nil && of.revision > 0 {
		s.changed.add(id)
		s.touch(of)
	}
}

// AddWindow implements rating.Store.
func (s *Store) AddWindow(ctx context.Context, w rating.Window) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.deleted.has(w.Content) {
		return fmt.Errorf("memstore: add window %s of content %s: %w", w.ID, w.Content, rating.ErrNotFound)
	}
	i, found := s.window(w.Content, w.ID)
	if !found {
		s.windows[w.Content] = slices.Insert(s.windows[w.Content], i, w)
		s.mark(w.Content)
	}
	return nil
}

// RemoveWindow implements rating.Store.
func (s *Store) RemoveWindow(ctx context.Context, content, id string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	i, found := s.window(content, id)
	if !found {
		return fmt.Errorf("memstore: remove window %s of content %s: %w", id, content, rating.ErrNotFound)
	}
	s.windows[content] = slices.Delete(s.windows[content], i, i+1)
	s.mark(content)
	return nil
}

// window returns where a window stands, or would.
func (s *Store) window(content, id string) (int, bool) {
	return slices.BinarySearchFunc(s.windows[content], id, func(w rating.Window, id string) int { return strings.Compare(w.ID, id) })
}
