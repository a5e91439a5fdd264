package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store"
)

func contentLists() []Check {
	return []Check{
		{"content/list", "ListContents returns at most q.Limit contents that match q.Filter, in q.Order, " +
			"after q.After.", contentList},
		{"content/list-all", "The zero Filter means all; conditions that are set must all hold.", contentListAll},
		{"content/list-ties", "Contents that are equal in the field are ordered by identifier, bytewise.",
			contentListTies},
		{"content/list-title", "ByTitle orders by Content.SortTitle, bytewise.",
			contentListTitle},
		{"content/list-after", "After is where the piece starts, exclusively; nil: at the beginning. The " +
			"content that stood there may be gone.", contentListAfter},
		{"content/list-moving", "After is where the piece starts, exclusively; nil: at the beginning.",
			contentListMoving},
		{"content/cursor", "Cursor is the place of a content in an ordered list: the value of the field " +
			"that the list is ordered by, and the identifier.", contentCursor},
		{"content/filters", "Filter says which contents are meant. The zero Filter means all; conditions " +
			"that are set must all hold.", contentFilters},
		{"content/filter-times", "CreatedFrom and UpdatedFrom are the earliest times that match, " +
			"CreatedBefore and UpdatedBefore the first that no longer do.", contentFilterTimes},
		{"content/count", "CountContents returns how many contents match f, and maxRows+1 if more than maxRows do.",
			contentCount},
		{"content/terms", "Terms must each be among Content.Terms, as Terms(search) makes them.", contentTerms},
		{"content/terms-change", "Terms must each be among Content.Terms, as Terms(search) makes them.", contentTermsChange},
		{"content/search-pairs", "Terms must each be among Content.Terms, as Terms(search) makes them.",
			contentSearchPairs},
	}
}

// newShelf stores n contents of few authors, with few different times, titles and words, so that
// there are ties in everything.
func newShelf(ctx context.Context, s content.Store, seed uint64, n int, authors []string) (shelf, error) {
	r := dice(seed)
	titles := []string{"b", "B", "a", "ab", "a b", "Ä", "ä", "é", "z", "Z", "کتاب", "Ꭿ", "10", "9", "_",
		"a\u200cb", "😀", "\ufffd"}
	words := []string{"red", "green", "blue", "Red", "redder", "سبز", "آبی"}
	var sh shelf
	for range n {
		c := newContent(authors[r.IntN(len(authors))], 0)
		c.Title = titles[r.IntN(len(titles))]
		c.CreatedAt = at(r.IntN(6))
		c.UpdatedAt = c.CreatedAt.Add(time.Duration(r.IntN(4)) * time.Microsecond)
		c.Description = words[r.IntN(len(words))] + " " + words[r.IntN(len(words))]
		if err := s.CreateContent(ctx, c); err != nil {
			return shelf{}, err
		}
		sh.contents = append(sh.contents, c)
	}
	return sh, nil
}

func contentList(ctx context.Context, s store.Store) error {
	authors := names(2)
	sh, err := newShelf(ctx, s, 11, 60, authors)
	if err != nil {
		return err
	}
	for _, o := range orders() {
		for _, limit := range []int{4, 1000} {
			if err := sh.checkList(ctx, s, content.Filter{Author: authors[0]}, o, limit); err != nil {
				return err
			}
		}
	}
	// A page that the list fills exactly is its last one.
	n := len(sh.find(content.Filter{Author: authors[1]}, orders()[0]))
	return sh.checkList(ctx, s, content.Filter{Author: authors[1]}, orders()[0], n)
}

// contentListAll names no author, so that others' contents may be listed too.
func contentListAll(ctx context.Context, s store.Store) error {
	sh, err := newShelf(ctx, s, 15, 24, names(3))
	if err != nil {
		return err
	}
	for _, f := range []content.Filter{{}, {Terms: content.Terms("red")}, {CreatedFrom: at(2)}} {
		for _, o := range orders() {
			listed, err := allContents(ctx, s, content.Query{Filter: f, Order: o, Limit: 5})
			if err != nil {
				return err
			}
			seen := shelf{contents: contentsOf(listed)}
			if err := seen.reload(ctx, s); err != nil {
				return err
			}
			if !slices.Equal(contentsOf(listed), seen.find(f, o)) {
				return fmt.Errorf("%s by %s, descending %t: the contents are not in order, or match not",
					show(f), o.Field, o.Desc)
			}
			for _, c := range sh.find(f, o) {
				if !slices.Contains(seen.contents, c) {
					return fmt.Errorf("content %s is missing in the list of all by %s", c.ID, o.Field)
				}
			}
			n, err := s.CountContents(ctx, f, 0)
			if err := errors.Join(err, want("contents counted", n, int64(len(listed)))); err != nil {
				return err
			}
		}
	}
	return nil
}

func contentListTies(ctx context.Context, s store.Store) error {
	author := newName()
	var sh shelf
	for range 20 {
		c := newContent(author, 1)
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
		sh.contents = append(sh.contents, c)
	}
	for _, o := range orders() {
		if err := sh.checkList(ctx, s, content.Filter{Author: author}, o, 3); err != nil {
			return err
		}
	}
	return nil
}

// contentListTitle uses titles whose keys are equal in the first content.TitleKey bytes, and titles
// whose order is not that of their bytes.
func contentListTitle(ctx context.Context, s store.Store) error {
	long := strings.Repeat("x", content.TitleKey-1)
	author := newName()
	var sh shelf
	titles := []string{
		long + "é one", long + "é two", long + "è", long + "ā", long + "a", long + "b", long, long + "x", long + "xx",
		strings.Repeat("س", content.TitleKey/2) + "ب", strings.Repeat("س", content.TitleKey/2) + "ا",
		strings.Repeat("س", content.TitleKey/2),
		"x" + strings.Repeat("س", content.TitleKey/2), "x" + strings.Repeat("س", content.TitleKey/2) + "ب",
		"\uffee", "\U00010000", "B", "a", "A", "b", "~", " ", "ß", "ss", "i", "I", "ı", "İ",
		"وام", "هام", "نام", "یام", "\u064aام", "آب", "اب", "پا", "تا", "۹", "10", "٢", "\U0001f600", "C++", "C",
	}
	// Identifiers run against the whole titles, so that it shows which of both decides.
	ids := many(len(titles), newUUID)
	slices.Sort(titles)
	slices.SortStableFunc(titles, func(a, b string) int {
		return strings.Compare(content.Content{Title: a}.SortTitle(), content.Content{Title: b}.SortTitle())
	})
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	for i, title := range titles {
		c := newContent(author, 1)
		c.ID, c.Title = ids[i], title
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
		sh.contents = append(sh.contents, c)
	}
	for _, desc := range []bool{false, true} {
		for _, limit := range []int{1, 4, 100} {
			if err := sh.checkList(ctx, s, content.Filter{Author: author},
				content.Order{Field: content.ByTitle, Desc: desc}, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func contentListAfter(ctx context.Context, s store.Store) error {
	author := newName()
	sh, err := newShelf(ctx, s, 12, 20, []string{author})
	if err != nil {
		return err
	}
	for _, o := range orders() {
		f := content.Filter{Author: author}
		wanted := sh.find(f, o)
		i := len(wanted) / 2
		gone := wanted[i]
		if err := s.DeleteContent(ctx, gone.ID, 0); err != nil {
			return err
		}
		sh.contents = slices.DeleteFunc(sh.contents, func(c content.Content) bool { return c.ID == gone.ID })
		place := sh.cursor(gone, o.Field)
		listed, err := s.ListContents(ctx, content.Query{Filter: f, Order: o, After: &place, Limit: 1})
		if err != nil {
			return err
		}
		if len(listed) != 1 || listed[0].Content != wanted[i+1] {
			return fmt.Errorf("by %s: after the place of a deleted content stands %v, want %s", o.Field,
				idsOf(listed), wanted[i+1].ID)
		}
		last := sh.cursor(wanted[len(wanted)-1], o.Field)
		if listed, err = s.ListContents(ctx, content.Query{Filter: f, Order: o, After: &last, Limit: 9}); err != nil {
			return err
		}
		if err := want("contents after the last one", len(listed), 0); err != nil {
			return err
		}
	}
	return nil
}

// contentListMoving pages while contents come and go: those that are there all the time occur
// exactly once, nothing occurs twice.
func contentListMoving(ctx context.Context, s store.Store) error {
	for seed, o := range orders() {
		author := newName()
		sh, err := newShelf(ctx, s, uint64(seed), 20, []string{author})
		if err != nil {
			return err
		}
		steady := map[string]bool{}
		for _, c := range sh.contents {
			steady[c.ID] = true
		}
		r := dice(uint64(100 + seed))
		seen := map[string]bool{}
		q := content.Query{Filter: content.Filter{Author: author}, Order: o, Limit: 4}
		for {
			page, err := s.ListContents(ctx, q)
			if err != nil {
				return err
			}
			for _, l := range page {
				if seen[l.ID] {
					return fmt.Errorf("by %s: content %s is listed twice", o.Field, l.ID)
				}
				seen[l.ID] = true
			}
			if len(page) < q.Limit {
				break
			}
			last := page[len(page)-1]
			q.After = &last.Cursor
			if len(seen) > 200 {
				return fmt.Errorf("by %s: the list does not end", o.Field)
			}
			if err := s.DeleteContent(ctx, last.ID, 0); err != nil {
				return err
			}
			gone := sh.contents[r.IntN(len(sh.contents))].ID
			if err := s.DeleteContent(ctx, gone, 0); err == nil {
				delete(steady, gone)
			} else if !errors.Is(err, content.ErrNotFound) {
				return err
			}
			if len(seen) < 60 {
				if _, err := newShelf(ctx, s, r.Uint64(), 2, []string{author}); err != nil {
					return err
				}
			}
		}
		for id := range steady {
			if !seen[id] {
				return fmt.Errorf("by %s: content %s, which was there all the time, is not listed", o.Field, id)
			}
		}
	}
	return nil
}

func contentCursor(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	c.Title, c.UpdatedAt = strings.Repeat("ب", content.TitleKey), at(2) // its key is longer
	odd := newContent(c.Author, 1)
	odd.Title = "x" + c.Title
	sh := shelf{contents: []content.Content{c, odd}}
	for _, c := range sh.contents {
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
	}
	for _, o := range orders() {
		if err := sh.checkList(ctx, s, content.Filter{Author: c.Author}, o, 1); err != nil {
			return err
		}
	}
	return nil
}

// contentFilters draws filters at random; those over numbers are drawn in across.go.
func contentFilters(ctx context.Context, s store.Store) error {
	authors := names(3)
	sh, err := newShelf(ctx, s, 13, 60, authors)
	if err != nil {
		return err
	}
	r := dice(14)
	for i := range 50 {
		f := content.Filter{Author: authors[r.IntN(len(authors))]}
		if r.IntN(2) == 0 {
			f.Terms = content.Terms([]string{"red", "green blue", "سبز", "nothing", "RED آبی"}[r.IntN(5)])
		}
		for _, bound := range []*time.Time{&f.CreatedFrom, &f.CreatedBefore, &f.UpdatedFrom, &f.UpdatedBefore} {
			if r.IntN(3) == 0 {
				*bound = at(r.IntN(6)).Add(time.Duration(r.IntN(3)) * time.Microsecond)
			}
		}
		if err := sh.checkList(ctx, s, f, orders()[i%len(orders())], 3+r.IntN(8)); err != nil {
			return err
		}
	}
	return nil
}

func contentFilterTimes(ctx context.Context, s store.Store) error {
	author := newName()
	c := newContent(author, 1)
	c.UpdatedAt = at(2)
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	for name, f := range map[string]content.Filter{
		"created from that time":   {CreatedFrom: c.CreatedAt},
		"created before the next":  {CreatedBefore: c.CreatedAt.Add(time.Microsecond)},
		"created at that time":     {CreatedFrom: c.CreatedAt, CreatedBefore: c.CreatedAt.Add(time.Microsecond)},
		"updated from that time":   {UpdatedFrom: c.UpdatedAt},
		"updated before the next":  {UpdatedBefore: c.UpdatedAt.Add(time.Microsecond)},
		"created from long before": {CreatedFrom: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)},
		"updated before the end":   {UpdatedBefore: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
	} {
		f.Author = author
		n, err := s.CountContents(ctx, f, 0)
		if err := errors.Join(err, want("contents "+name, n, 1)); err != nil {
			return err
		}
	}
	for name, f := range map[string]content.Filter{
		"created from the next":    {CreatedFrom: c.CreatedAt.Add(time.Microsecond)},
		"created before that time": {CreatedBefore: c.CreatedAt},
		"updated from the next":    {UpdatedFrom: c.UpdatedAt.Add(time.Microsecond)},
		"updated before that time": {UpdatedBefore: c.UpdatedAt},
		"created in an empty span": {CreatedFrom: c.CreatedAt, CreatedBefore: c.CreatedAt},
	} {
		f.Author = author
		n, err := s.CountContents(ctx, f, 0)
		if err := errors.Join(err, want("contents "+name, n, 0)); err != nil {
			return err
		}
	}
	return nil
}

func contentCount(ctx context.Context, s store.Store) error {
	author := newName()
	for i := range 5 {
		n, err := s.CountContents(ctx, content.Filter{Author: author}, 0)
		if err := errors.Join(err, want("contents of the author", n, int64(i))); err != nil {
			return err
		}
		for _, author := range []string{author, newName()} {
			if err := s.CreateContent(ctx, newContent(author, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func contentTermsChange(ctx context.Context, s store.Store) error {
	author := newName()
	c := newContent(author, 1)
	c.Title, c.Description = "old", "same"
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	c.Title, c.Description, c.Version = "same", "new", 2
	if err := s.UpdateContent(ctx, c); err != nil {
		return err
	}
	for search, wanted := range map[string]int{"old": 0, "same": 1, "new": 1, "same new": 1, "same old": 0} {
		listed, err := s.ListContents(ctx, content.Query{
			Filter: content.Filter{Author: author, Terms: content.Terms(search)},
			Order:  content.Order{Field: content.ByCreated, Desc: true}, Limit: 5,
		})
		if err := errors.Join(err, want("contents found for "+search, len(listed), wanted)); err != nil {
			return err
		}
	}
	return nil
}
