package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

type retaken struct{ store.Store }

func (s *retaken) CreateContent(ctx context.Context, c content.Content) error {
	err := s.Store.CreateContent(ctx, c)
	if !errors.Is(err, content.ErrConflict) {
		return err
	}
	if found, _ := s.ContentsByID(ctx, []string{c.ID}); len(found) == 0 {
		return nil
	}
	return err
}

type trimming struct{ store.Store }

func (s trimming) CreateContent(ctx context.Context, c content.Content) error {
	c.Description = strings.TrimSpace(c.Description)
	return s.Store.CreateContent(ctx, c)
}

type localTimes struct{ store.Store }

func (s localTimes) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	found, err := s.Store.ContentsByID(ctx, ids)
	for i := range found {
		found[i].CreatedAt = found[i].CreatedAt.In(time.FixedZone("", 0))
	}
	return found, err
}

type repeating struct{ store.Store }

func (s repeating) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	var all []content.Content
	for _, id := range ids {
		found, err := s.Store.ContentsByID(ctx, []string{id})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

type careless struct{ store.Store }

func (s careless) UpdateContent(ctx context.Context, c content.Content) error {
	for {
		found, err := s.ContentsByID(ctx, []string{c.ID})
		if err != nil || len(found) == 0 {
			return content.ErrNotFound
		}
		c.Version = found[0].Version + 1
		if err := s.Store.UpdateContent(ctx, c); !errors.Is(err, content.ErrConflict) {
			return err
		}
	}
}

type keeping struct {
	store.Store
	kept sync.Map
}

func (s *keeping) DeleteContent(ctx context.Context, id string, version int64) error {
	found, err := s.Store.ContentsByID(ctx, []string{id})
	if err == nil && len(found) == 1 {
		s.kept.Store(id, found[0])
	}
	return s.Store.DeleteContent(ctx, id, version)
}

func (s *keeping) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	found, err := s.Store.ContentsByID(ctx, ids)
	for _, id := range ids {
		if c, ok := s.kept.Load(id); ok {
			found = append(found, c.(content.Content))
		}
	}
	return found, err
}

// lingering removes ratings of a deleted content beyond the first thousand when they are swept.
type lingering struct {
	store.Store
	hides bool
	left  sync.Map
}

func (s *lingering) leave(ctx context.Context, id string) error {
	all, err := s.Store.ListRatings(ctx, rating.Query{Filter: rating.Filter{Content: id}, Limit: 2000})
	if err == nil && len(all) > 1000 {
		s.left.Store(id, all[1000:])
	}
	return err
}

func (s *lingering) DeleteContent(ctx context.Context, id string, version int64) error {
	return errors.Join(s.leave(ctx, id), s.Store.DeleteContent(ctx, id, version))
}

func (s *lingering) EraseContent(ctx context.Context, id string) error {
	return errors.Join(s.leave(ctx, id), s.Store.EraseContent(ctx, id))
}

func (s *lingering) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if left, ok := s.left.Load(q.Filter.Content); ok && !s.hides {
		return left.([]rating.Rating), nil
	}
	return s.Store.ListRatings(ctx, q)
}

func (s *lingering) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.Store.SweepRatings(ctx, before, limit)
	s.left.Range(func(id, left any) bool {
		s.left.Delete(id)
		n += len(left.([]rating.Rating))
		return true
	})
	return n, err
}

type gap struct{ store.Store }

func (s gap) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	if q.After == nil {
		return s.Store.ListContents(ctx, q)
	}
	q.Limit++
	listed, err := s.Store.ListContents(ctx, q)
	return listed[min(1, len(listed)):], err
}

type inclusive struct{ store.Store }

func (s inclusive) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	return relist(ctx, s.Store, q, nil, func(l content.Listed) bool { return q.After == nil || l.ID != q.After.ID })
}

type anchored struct{ store.Store }

func (s anchored) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	if q.After != nil {
		if found, err := s.ContentsByID(ctx, []string{q.After.ID}); err != nil || len(found) == 0 {
			q.After = nil
		}
	}
	return s.Store.ListContents(ctx, q)
}

// relist lists everything, orders it anew unless compare is nil, and starts after the last one that
// before reports false for.
func relist(ctx context.Context, s store.Store, q content.Query, compare func(a, b content.Listed) int,
	before func(content.Listed) bool) ([]content.Listed, error) {
	all := q
	all.After, all.Limit = nil, 10_000
	listed, err := s.ListContents(ctx, all)
	if compare != nil {
		slices.SortFunc(listed, compare)
		if q.Order.Desc {
			slices.Reverse(listed)
		}
	}
	for q.After != nil && len(listed) > 0 && before(listed[0]) {
		listed = listed[1:]
	}
	return listed[:min(q.Limit, len(listed))], err
}

// after makes a list in another order start in the right place.
func after(ctx context.Context, s store.Store, q content.Query,
	compare func(a, b content.Listed) int) ([]content.Listed, error) {
	passed := q.After == nil
	return relist(ctx, s, q, compare, func(l content.Listed) bool {
		if passed {
			return false
		}
		passed = l.ID == q.After.ID
		return true
	})
}

type oneWayTies struct{ store.Store }

func (s oneWayTies) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	return after(ctx, s.Store, q, func(a, b content.Listed) int {
		byID := strings.Compare(a.ID, b.ID)
		if q.Order.Desc {
			byID = -byID
		}
		x, y := a.Cursor, b.Cursor
		return cmp.Or(x.Time.Compare(y.Time), strings.Compare(x.Text, y.Text), cmp.Compare(x.Number, y.Number), byID)
	})
}

type caseless struct{ store.Store }

func (s caseless) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	return after(ctx, s.Store, q, func(a, b content.Listed) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)),
			strings.Compare(a.ID, b.ID))
	})
}

type wholeTitle struct{ store.Store }

func (s wholeTitle) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	return after(ctx, s.Store, q, func(a, b content.Listed) int {
		return cmp.Or(strings.Compare(a.Title, b.Title), strings.Compare(a.ID, b.ID))
	})
}

type longCursor struct{ store.Store }

func (s longCursor) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	listed, err := s.Store.ListContents(ctx, q)
	for i := range listed {
		if q.Order.Field == content.ByTitle {
			listed[i].Cursor.Text = listed[i].Title
		}
	}
	return listed, err
}

type unrankedLast struct{ store.Store }

func (s unrankedLast) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	return after(ctx, s.Store, q, func(a, b content.Listed) int {
		x, y := a.Cursor.Number, b.Cursor.Number
		if (x == 0) != (y == 0) {
			return cmp.Compare(y*y, x*x)
		}
		return cmp.Or(cmp.Compare(x, y), strings.Compare(a.ID, b.ID))
	})
}

type lateBorder struct{ store.Store }

func (s lateBorder) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	if !f.CreatedBefore.IsZero() {
		f.CreatedBefore = f.CreatedBefore.Add(time.Microsecond)
	}
	return s.Store.CountContents(ctx, f, maxRows)
}

type anyTerm struct{ store.Store }

func (s anyTerm) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	if len(f.Terms) > 1 {
		f.Terms = f.Terms[:1]
	}
	return s.Store.CountContents(ctx, f, maxRows)
}

// noSymbols takes symbols for separators, as tokenizers of full-text searches do.
type noSymbols struct{ store.Store }

func (s noSymbols) words(f content.Filter) content.Filter {
	f.Terms = slices.DeleteFunc(slices.Clone(f.Terms), func(term string) bool {
		return strings.IndexFunc(term, unicode.IsLetter) < 0 && strings.IndexFunc(term, unicode.IsDigit) < 0
	})
	return f
}

func (s noSymbols) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	return s.Store.CountContents(ctx, s.words(f), maxRows)
}

func (s noSymbols) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	q.Filter = s.words(q.Filter)
	return s.Store.ListContents(ctx, q)
}

type countsAll struct{ store.Store }

func (s countsAll) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	f.Author, f.Terms = "", nil
	return s.Store.CountContents(ctx, f, maxRows)
}
