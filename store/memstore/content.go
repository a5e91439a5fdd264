package memstore

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/khodnevis/khodnevis/content"
)

// entry is a stored content and the words that searches find it by.
type entry struct {
	content.Content
	terms set[string]
}

func newEntry(c content.Content) *entry {
	e := &entry{Content: c, terms: set[string]{}}
	for _, text := range []string{c.Title, c.Description} {
		for _, term := range content.Terms(text) {
			e.terms.add(term)
		}
	}
	return e
}

// CreateContent implements content.Store.
func (s *Store) CreateContent(ctx context.Context, c content.Content) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.create(c)
}

func (s *Store) create(c content.Content) error {
	if s.contents[c.ID] != nil || s.deleted.has(c.ID) {
		return fmt.Errorf("memstore: create content %s: %w", c.ID, content.ErrConflict)
	}
	s.contents[c.ID] = newEntry(c)
	return nil
}

// ContentsByID implements content.Store.
func (s *Store) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []content.Content
	for id := range unique(ids) {
		if e := s.contents[id]; e != nil {
			found = append(found, e.Content)
		}
	}
	return found, nil
}

// ListContents implements content.Store.
func (s *Store) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	compare := func(a, b content.Position) int {
		c := comparePositions(q.Order.Field, a, b)
		if q.Order.Desc {
			return -c
		}
		return c
	}
	found := func(f content.Filter, limit int) []content.Listed {
		rest := func(yield func(content.Listed) bool) {
			for e := range s.matching(f) {
				l := content.Listed{Content: e.Content, Position: s.position(e, q.Order.Field)}
				if q.After != nil && compare(l.Position, *q.After) <= 0 {
					continue
				}
				if !yield(l) {
					return
				}
			}
		}
		return least(rest, limit, func(a, b content.Listed) int { return compare(a.Position, b.Position) })
	}
	if q.MaxRows == 0 || s.narrow(q.Filter, q.MaxRows) {
		return found(q.Filter, q.Limit), nil
	}
	window := found(content.Filter{}, q.MaxRows+q.Limit)
	var page []content.Listed
	for _, l := range window {
		if s.matches(s.contents[l.ID], q.Filter) && len(page) < q.Limit {
			page = append(page, l)
		}
	}
	if len(window) == q.MaxRows+q.Limit && len(page) < q.Limit {
		return nil, fmt.Errorf("memstore: list contents: %w", content.ErrTooBroad)
	}
	return page, nil
}

// parts returns the conditions of f that databases have indexes for, each by itself, and whether there are no others.
func parts(f content.Filter) (each []content.Filter, all bool) {
	if f.Author != "" {
		each = append(each, content.Filter{Author: f.Author})
	}
	for _, term := range f.Terms {
		each = append(each, content.Filter{Terms: []string{term}})
	}
	if !f.CreatedFrom.IsZero() || !f.CreatedBefore.IsZero() {
		each = append(each, content.Filter{CreatedFrom: f.CreatedFrom, CreatedBefore: f.CreatedBefore})
	}
	if !f.UpdatedFrom.IsZero() || !f.UpdatedBefore.IsZero() {
		each = append(each, content.Filter{UpdatedFrom: f.UpdatedFrom, UpdatedBefore: f.UpdatedBefore})
	}
	return each, f.ScoreMin == nil && f.ScoreMax == nil && f.RatingsMin <= 0
}

// narrow reports whether one of the conditions of f leaves at most so many contents.
func (s *Store) narrow(f content.Filter, maxRows int) bool {
	each, _ := parts(f)
	return len(s.contents) <= maxRows || slices.ContainsFunc(each, func(part content.Filter) bool {
		return s.count(part, maxRows+1) <= maxRows
	})
}

// count returns how many contents match f, at most limit.
func (s *Store) count(f content.Filter, limit int) int {
	n := 0
	for range s.matching(f) {
		if n++; n == limit {
			break
		}
	}
	return n
}

// CountContents implements content.Store.
func (s *Store) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	if err := s.rlock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	if maxRows == 0 {
		return int64(s.count(f, math.MaxInt)), nil
	}
	if each, all := parts(f); !(all && len(each) <= 1) && !s.narrow(f, maxRows) {
		return 0, fmt.Errorf("memstore: count contents: %w", content.ErrTooBroad)
	}
	return int64(s.count(f, maxRows+1)), nil
}

// UpdateContent implements content.Store.
func (s *Store) UpdateContent(ctx context.Context, c content.Content) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	e := s.contents[c.ID]
	if e == nil {
		return fmt.Errorf("memstore: update content %s: %w", c.ID, content.ErrNotFound)
	}
	if e.Version != c.Version-1 {
		return fmt.Errorf("memstore: update content %s from version %d: %w", c.ID, c.Version-1, content.ErrConflict)
	}
	c.Author, c.CreatedAt = e.Author, e.CreatedAt
	s.contents[c.ID] = newEntry(c)
	return nil
}

// DeleteContent implements content.Store.
func (s *Store) DeleteContent(ctx context.Context, id string, version int64) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	e := s.contents[id]
	if e == nil {
		return fmt.Errorf("memstore: delete content %s: %w", id, content.ErrNotFound)
	}
	if version != 0 && version != e.Version {
		return fmt.Errorf("memstore: delete content %s at version %d: %w", id, version, content.ErrConflict)
	}
	delete(s.contents, id)
	s.deleted.add(id)
	s.dropRatings(id)
	return nil
}

// matching ranges over the contents that match f, in no order.
func (s *Store) matching(f content.Filter) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, e := range s.contents {
			if s.matches(e, f) && !yield(e) {
				return
			}
		}
	}
}

func (s *Store) matches(e *entry, f content.Filter) bool {
	for _, term := range f.Terms {
		if !e.terms.has(term) {
			return false
		}
	}
	stats := s.stats(e.ID)
	scored := stats.Score.Weight > 0
	switch {
	case f.Author != "" && e.Author != f.Author,
		!f.CreatedFrom.IsZero() && e.CreatedAt.Before(f.CreatedFrom),
		!f.CreatedBefore.IsZero() && !e.CreatedAt.Before(f.CreatedBefore),
		!f.UpdatedFrom.IsZero() && e.UpdatedAt.Before(f.UpdatedFrom),
		!f.UpdatedBefore.IsZero() && !e.UpdatedAt.Before(f.UpdatedBefore),
		f.ScoreMin != nil && (!scored || stats.Score.Value < *f.ScoreMin),
		f.ScoreMax != nil && (!scored || stats.Score.Value > *f.ScoreMax),
		stats.Count < f.RatingsMin:
		return false
	}
	return true
}

func (s *Store) position(e *entry, field content.Field) content.Position {
	p := content.Position{ID: e.ID}
	switch field {
	case content.ByCreated:
		p.Time = e.CreatedAt
	case content.ByUpdated:
		p.Time = e.UpdatedAt
	case content.ByTitle:
		p.Text = e.Title[:min(content.TitleKey, len(e.Title))]
	case content.ByScore:
		p.Number = s.stats(e.ID).Score.Rank
	case content.ByRatings:
		p.Number = float64(s.stats(e.ID).Count)
	}
	return p
}

func comparePositions(field content.Field, a, b content.Position) int {
	var c int
	switch field {
	case content.ByCreated, content.ByUpdated:
		c = a.Time.Compare(b.Time)
	case content.ByTitle:
		c = strings.Compare(a.Text, b.Text)
	case content.ByScore, content.ByRatings:
		c = cmp.Compare(a.Number, b.Number)
	}
	return cmp.Or(c, strings.Compare(a.ID, b.ID))
}
