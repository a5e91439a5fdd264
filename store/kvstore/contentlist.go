package kvstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/content"
)

// contentIndexes are the indexes of the orders.
var contentIndexes = map[content.Field]index{
	content.ByCreated: contentsByCreated,
	content.ByUpdated: contentsByUpdated,
	content.ByTitle:   contentsByTitle,
	content.ByScore:   contentsByScore,
	content.ByRatings: contentsByRatings,
}

// plan says how to find contents in an order: it intersects lists, and checks each content.
type plan struct {
	lists [][]byte // prefixes of indexes; their keys end with the value of field and the content
	span           // of the ends
	field content.Field
	check content.Filter // the conditions that lists and span do not ensure
	all   bool           // check has no conditions
}

// newPlan returns the plan for the contents that match f, in the order o, after a place. In the
// order of creation author and terms have lists; in other orders they are checked.
func newPlan(f content.Filter, o content.Order, place *content.Cursor) plan {
	p := plan{field: o.Field}
	switch o.Field {
	case content.ByCreated:
		if f.Author != "" {
			p.lists = append(p.lists, key(contentsByAuthor, f.Author))
		}
		for _, term := range f.Terms {
			p.lists = append(p.lists, key(contentsByTerm, short(term)))
		}
		p.span = during(f.CreatedFrom, f.CreatedBefore)
		f.Author, f.Terms, f.CreatedFrom, f.CreatedBefore = "", nil, time.Time{}, time.Time{}
	case content.ByUpdated:
		p.span = during(f.UpdatedFrom, f.UpdatedBefore)
		f.UpdatedFrom, f.UpdatedBefore = time.Time{}, time.Time{}
	case content.ByRatings:
		p.low = extend(nil, float64(f.RatingsMin))
		f.RatingsMin = 0
	}
	if len(p.lists) == 0 {
		p.lists = [][]byte{key(contentIndexes[o.Field])}
	}
	if p.descending = o.Desc; place != nil {
		p.span = p.span.beyond(ending(o.Field, *place))
	}
	p.check = f
	p.all = f.IsZero()
	return p
}

// narrowing returns the fields in whose orders a plan looks at a part of the contents only, because
// of f.
func narrowing(f content.Filter) (fields []content.Field) {
	if f.Author != "" || len(f.Terms) > 0 || !f.CreatedFrom.IsZero() || !f.CreatedBefore.IsZero() {
		fields = append(fields, content.ByCreated)
	}
	if !f.UpdatedFrom.IsZero() || !f.UpdatedBefore.IsZero() {
		fields = append(fields, content.ByUpdated)
	}
	if f.RatingsMin > 0 {
		fields = append(fields, content.ByRatings)
	}
	return fields
}

// ending returns the end of the key that a content at position p has in the indexes of a field.
func ending(field content.Field, p content.Cursor) []byte {
	switch field {
	case content.ByCreated, content.ByUpdated:
		return extend(nil, p.Time, p.ID)
	case content.ByTitle:
		return extend(nil, p.Text, p.ID)
	}
	return extend(nil, p.Number, p.ID)
}

// listed returns c with its position in the order of a field.
func (t *tx) listed(field content.Field, c content.Content) content.Listed {
	st, number := numbersRow{}, 0.0
	switch field {
	case content.ByScore:
		st, _ = numbers.get(t, c.ID)
		number = st.Score.Rank
	case content.ByRatings:
		st, _ = numbers.get(t, c.ID)
		number = float64(st.Count)
	}
	return c.Listed(field, number)
}

// find ranges over the contents that a plan finds.
func (t *tx) find(p plan, b *budget) iter.Seq[content.Content] {
	return func(yield func(content.Content) bool) {
		for end := range t.intersect(p.lists, p.span, b) {
			rest := parts(end)
			if p.field == content.ByTitle {
				rest.text()
			} else {
				rest.integer()
			}
			c, ok := contents.get(t, rest.text())
			if ok && t.matches(c, p.check) && !yield(c) {
				return
			}
		}
	}
}

func (t *tx) matches(c content.Content, f content.Filter) bool {
	switch {
	case f.Author != "" && c.Author != f.Author,
		!f.CreatedFrom.IsZero() && c.CreatedAt.Before(f.CreatedFrom),
		!f.CreatedBefore.IsZero() && !c.CreatedAt.Before(f.CreatedBefore),
		!f.UpdatedFrom.IsZero() && c.UpdatedAt.Before(f.UpdatedFrom),
		!f.UpdatedBefore.IsZero() && !c.UpdatedAt.Before(f.UpdatedBefore):
		return false
	}
	for _, term := range f.Terms {
		if _, ok := t.get(key(contentsByTerm, short(term), c.CreatedAt, c.ID)); !ok {
			return false
		}
	}
	if f.RatingsMin <= 0 && f.ScoreMin == nil && f.ScoreMax == nil {
		return true
	}
	st, _ := numbers.get(t, c.ID)
	scored := st.Score.Counted > 0
	return st.Count >= f.RatingsMin &&
		(f.ScoreMin == nil || scored && st.Score.Value >= *f.ScoreMin) &&
		(f.ScoreMax == nil || scored && st.Score.Value <= *f.ScoreMax)
}

// ListContents implements content.Store. It finds the contents in the order of the list, or finds
// all matches in another order and sorts them, whichever looks at fewer rows.
func (s *Store) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	return view(ctx, s, "list contents", func(t *tx) ([]content.Listed, error) {
		if contentIndexes[q.Order.Field] == 0 {
			return nil, fmt.Errorf("no order by %q", q.Order.Field)
		}
		for rows := range budgets(q.MaxRows) {
			for _, field := range narrowing(q.Filter) {
				if field == q.Order.Field {
					continue
				}
				if found, ok := t.sorted(q, field, &budget{rows: rows}); ok {
					return found, nil
				}
			}
			if found, ok := t.inOrder(q, &budget{rows: rows}); ok {
				return found, nil
			}
		}
		return nil, content.ErrTooBroad
	})
}

// inOrder finds the contents in the order of the list. It returns false if the budget is exceeded.
func (t *tx) inOrder(q content.Query, b *budget) (found []content.Listed, ok bool) {
	for c := range t.find(newPlan(q.Filter, q.Order, q.After), b) {
		b.refund()
		if found = append(found, t.listed(q.Order.Field, c)); len(found) == q.Limit {
			break
		}
	}
	return found, !b.exceeded
}

// sorted finds all matches in the order of a field and sorts them. It returns false if the budget
// is exceeded.
func (t *tx) sorted(q content.Query, field content.Field, b *budget) (found []content.Listed, ok bool) {
	type placed struct {
		content.Listed
		end []byte
	}
	compare := func(a, b []byte) int {
		if q.Order.Desc {
			a, b = b, a
		}
		return bytes.Compare(a, b)
	}
	var all []placed
	for c := range t.find(newPlan(q.Filter, content.Order{Field: field}, nil), b) {
		l := t.listed(q.Order.Field, c)
		end := ending(q.Order.Field, l.Cursor)
		if q.After == nil || compare(end, ending(q.Order.Field, *q.After)) > 0 {
			all = append(all, placed{l, end})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return compare(a.end, b.end) })
	for _, p := range all[:min(q.Limit, len(all))] {
		found = append(found, p.Listed)
	}
	return found, !b.exceeded
}

// CountContents implements content.Store. It counts by the plan that looks at the fewest rows.
func (s *Store) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	return view(ctx, s, "count contents", func(t *tx) (int64, error) {
		for rows := range budgets(oneMore(maxRows)) {
			for _, field := range append(narrowing(f), content.ByCreated) {
				p, b := newPlan(f, content.Order{Field: field}, nil), &budget{rows: rows}
				var n int
				if p.all {
					n = count(t.intersect(p.lists, p.span, b), oneMore(maxRows))
				} else {
					n = count(t.find(p, b), oneMore(maxRows))
				}
				if !b.exceeded {
					return int64(n), nil
				}
			}
		}
		return 0, content.ErrTooBroad
	})
}
