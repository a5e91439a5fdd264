package content

import "time"

// IsZero reports, for adapters, whether f matches all contents.
func (f Filter) IsZero() bool {
	return f.Author == "" && len(f.Terms) == 0 && f.RatingsMin <= 0 && f.ScoreMin == nil && f.ScoreMax == nil &&
		f.CreatedFrom.IsZero() && f.CreatedBefore.IsZero() && f.UpdatedFrom.IsZero() && f.UpdatedBefore.IsZero()
}

// FilterPart is for adapters: the conditions of a filter that one index can find contents by, and
// the conditions that remain to be checked.
type FilterPart struct{ Indexed, Rest Filter }

// Parts is for adapters. It returns the parts of f: its terms, its author with the span of
// creation, its spans of creation and of update, its number of ratings, and last all contents.
func (f Filter) Parts() []FilterPart {
	created := Filter{CreatedFrom: f.CreatedFrom, CreatedBefore: f.CreatedBefore}
	byAuthor := created
	if byAuthor.Author = f.Author; f.Author == "" {
		byAuthor = Filter{}
	}
	var parts []FilterPart
	for _, indexed := range []Filter{
		{Terms: f.Terms}, byAuthor, created,
		{UpdatedFrom: f.UpdatedFrom, UpdatedBefore: f.UpdatedBefore}, {RatingsMin: f.RatingsMin},
	} {
		if !indexed.IsZero() {
			parts = append(parts, FilterPart{indexed, f.without(indexed)})
		}
	}
	return append(parts, FilterPart{Rest: f})
}

// Ordered is Parts for the index of a list's order. The index has the order of time within each
// author.
func (f Filter) Ordered(by Field) FilterPart {
	var indexed Filter
	switch by {
	case ByCreated:
		indexed = Filter{Author: f.Author, CreatedFrom: f.CreatedFrom, CreatedBefore: f.CreatedBefore}
	case ByUpdated:
		indexed = Filter{UpdatedFrom: f.UpdatedFrom, UpdatedBefore: f.UpdatedBefore}
	case ByRatings:
		indexed = Filter{RatingsMin: f.RatingsMin}
	}
	return FilterPart{indexed, f.without(indexed)}
}

// without returns f without the conditions of o, which are among those of f.
func (f Filter) without(o Filter) Filter {
	if o.Author != "" {
		f.Author = ""
	}
	if len(o.Terms) > 0 {
		f.Terms = nil
	}
	if !o.CreatedFrom.IsZero() || !o.CreatedBefore.IsZero() {
		f.CreatedFrom, f.CreatedBefore = time.Time{}, time.Time{}
	}
	if !o.UpdatedFrom.IsZero() || !o.UpdatedBefore.IsZero() {
		f.UpdatedFrom, f.UpdatedBefore = time.Time{}, time.Time{}
	}
	if o.RatingsMin > 0 {
		f.RatingsMin = 0
	}
	return f
}

// Listed is for adapters. It returns c with its cursor in the order of a field. Number is the
// rank or the number of ratings, in an order by them.
func (c Content) Listed(by Field, number float64) Listed {
	p := Cursor{ID: c.ID}
	switch by {
	case ByCreated:
		p.Time = c.CreatedAt
	case ByUpdated:
		p.Time = c.UpdatedAt
	case ByTitle:
		p.Text = c.SortTitle()
	default:
		p.Number = number
	}
	return Listed{Content: c, Cursor: p}
}
