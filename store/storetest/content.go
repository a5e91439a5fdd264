package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store"
)

// contentChecks are those of content.Store.
func contentChecks() []Check {
	return append([]Check{
		{"content/create", "CreateContent keeps c.", contentCreate},
		{"content/texts", "Times come and go as UTC with microseconds; texts come and go unchanged, byte by byte.",
			contentTexts},
		{"content/times", "Times come and go as UTC with microseconds", contentTimes},
		{"content/create-taken", "ErrConflict: the identifier is taken, or was by a content now deleted.",
			contentCreateTaken},
		{"content/create-race", "ErrConflict: the identifier is taken, or was by a content now deleted.",
			contentCreateRace},
		{"content/by-id", "ContentsByID returns those of ids that exist, each once, in any order. A missing " +
			"one is no error.", contentByIDs},
		{"content/update", "UpdateContent replaces title, description and time of change of the content with " +
			"c's identifier if it still has the version c.Version-1, and leaves it with c.Version.", contentUpdate},
		{"content/update-refused", "ErrNotFound: there is none. ErrConflict: it has another version.",
			contentUpdateRefused},
		{"content/update-race", "if it still has the version c.Version-1, and leaves it with c.Version.",
			contentUpdateRace},
		{"content/delete", "Deleted contents are gone for every method.", contentDelete},
		{"content/delete-refused", "ErrNotFound: there is none. ErrConflict: it has another version than the " +
			"given one. Version 0: whatever it is.", contentDeleteRefused},
		{"content/delete-race", "ErrNotFound: there is none.", contentDeleteRace},
		{"content/memory", "Methods may be called concurrently and share no memory with the caller.", contentMemory},
		{"content/concurrent", "Methods may be called concurrently and share no memory with the caller.",
			contentConcurrent},
		{"content/unstorable", unstorable, contentUnstorable},
	}, slices.Concat(contentRecords(), contentLists(), contentBounds())...)
}

func contentCreate(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	c.UpdatedAt, c.Version = at(2), 7
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	got, err := contentByID(ctx, s, c.ID)
	if err != nil {
		return err
	}
	return want("the content", got, c)
}

func contentTexts(ctx context.Context, s store.Store) error {
	texts := []string{
		"a",
		" blank around\t ",
		"line\nline\r\nline\rline\n",
		"کتاب\u200cهای خواندنی — نقد و نظر ۱۲۳",
		"e\u0301 is not \u00e9, nor is \ufb01 fi", // no normalization
		"İstanbul straße ΣΊΣΥΦΟΣ",
		"👩‍👩‍👧‍👦 🇮🇷 \U0010ffff \ufeff \ufffd",
		`'; DROP TABLE contents; -- " \ % _ ? $1 :name @x`,
		"\u202bright to left\u202c",
		strings.Repeat("𠀀", content.MaxDescription), // one word of the greatest length in code points and in bytes
		strings.Repeat("wort \n", content.MaxDescription/6),
	}
	author := newName()
	stored := map[string]content.Content{}
	compare := func(got content.Content) error {
		if wanted := stored[got.ID]; got != wanted {
			return fmt.Errorf("the content %.20q, %.20q came back as %.20q, %.20q, or with another time or number",
				wanted.Title, wanted.Description, got.Title, got.Description)
		}
		return nil
	}
	for i, text := range texts {
		c := newContent(author, i)
		for version, description := range []string{text, "", texts[len(texts)-1-i]} {
			runes := []rune(text + description)
			c.Title, c.Description, c.Version = string(runes[:min(content.MaxTitle, len(runes))]), description,
				int64(version+1)
			stored[c.ID] = c
			keep := s.UpdateContent
			if version == 0 {
				keep = s.CreateContent
			}
			if err := keep(ctx, c); err != nil {
				return err
			}
			got, err := contentByID(ctx, s, c.ID)
			if err := errors.Join(err, compare(got)); err != nil {
				return err
			}
		}
	}
	listed, err := allContents(ctx, s, content.Query{Filter: content.Filter{Author: author},
		Order: content.Order{Field: content.ByTitle}, Limit: 3})
	if err != nil {
		return err
	}
	for _, l := range listed {
		if err := compare(l.Content); err != nil {
			return err
		}
	}
	return want("contents listed", len(listed), len(texts))
}

func contentTimes(ctx context.Context, s store.Store) error {
	author := newName()
	var sh shelf
	for i, t := range edges() {
		c := newContent(author, i)
		c.CreatedAt, c.UpdatedAt = t, edges()[(i+3)%len(edges())]
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
		got, err := contentByID(ctx, s, c.ID)
		if err := errors.Join(err, want("the content", got, c)); err != nil {
			return err
		}
		sh.contents = append(sh.contents, c)
	}
	for _, o := range orders() {
		if err := sh.checkList(ctx, s, content.Filter{Author: author}, o, 2); err != nil {
			return err
		}
	}
	return nil
}

func contentCreateTaken(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	other := newContent(newName(), 2)
	other.ID = c.ID
	if err := wantError("a taken identifier", s.CreateContent(ctx, other), content.ErrConflict); err != nil {
		return err
	}
	got, err := contentByID(ctx, s, c.ID)
	if err != nil {
		return err
	}
	if err := want("the content after a conflict", got, c); err != nil {
		return err
	}
	if err := s.DeleteContent(ctx, c.ID, 0); err != nil {
		return err
	}
	return wantError("the identifier of a deleted content", s.CreateContent(ctx, other), content.ErrConflict)
}

func contentCreateRace(ctx context.Context, s store.Store) error {
	id := newUUID()
	var winners atomic.Int64
	err := together(16, func(i int) error {
		c := newContent(newName(), i)
		c.ID = id
		switch err := s.CreateContent(ctx, c); {
		case err == nil:
			winners.Add(1)
			return nil
		case errors.Is(err, content.ErrConflict):
			return nil
		default:
			return err
		}
	})
	if err != nil {
		return err
	}
	return want("creations of one identifier that succeeded", winners.Load(), 1)
}

func contentByIDs(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 5)
	if err != nil {
		return err
	}
	ids := []string{all[3].ID, newUUID(), all[0].ID, all[3].ID, "no-uuid", all[4].ID, all[3].ID}
	found, err := s.ContentsByID(ctx, ids)
	if err != nil {
		return err
	}
	byID, err := index(found, func(c content.Content) string { return c.ID })
	if err != nil {
		return err
	}
	if err := want("contents found", len(found), 3); err != nil {
		return err
	}
	for _, i := range []int{0, 3, 4} {
		if err := want("a content", byID[all[i].ID], all[i]); err != nil {
			return err
		}
	}
	// Many at once, more than databases have placeholders by default.
	ids = append(many(3000, newUUID), all[2].ID)
	if found, err = s.ContentsByID(ctx, ids); err != nil {
		return err
	}
	if err := want("contents found among many", len(found), 1); err != nil {
		return err
	}
	found, err = s.ContentsByID(ctx, nil)
	return errors.Join(err, want("contents found for no identifier", len(found), 0))
}

func contentUpdate(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	other := newContent(c.Author, 2)
	for _, c := range []content.Content{c, other} {
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
	}
	for i := range 3 {
		c.Title, c.Description = fmt.Sprintf("Another title %d", i), strings.Repeat("longer ", i)
		c.UpdatedAt, c.Version = at(10+i), c.Version+1
		sent := c
		// What is not named stays.
		sent.Author, sent.CreatedAt = newName(), at(99)
		if err := s.UpdateContent(ctx, sent); err != nil {
			return err
		}
		got, err := contentByID(ctx, s, c.ID)
		if err != nil {
			return err
		}
		if err := want("the content after an update", got, c); err != nil {
			return err
		}
	}
	got, err := contentByID(ctx, s, other.ID)
	return errors.Join(err, want("the other content", got, other))
}

func contentUpdateRefused(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	c.Version = 4
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	for _, version := range []int64{1, 3, 4, 6, 7} {
		stale := c
		stale.Title, stale.Version = "not to be seen", version
		if err := wantError(fmt.Sprintf("an update of version 4 to %d", version), s.UpdateContent(ctx, stale),
			content.ErrConflict); err != nil {
			return err
		}
	}
	got, err := contentByID(ctx, s, c.ID)
	if err != nil {
		return err
	}
	if err := want("the content after refused updates", got, c); err != nil {
		return err
	}
	missing := newContent(newName(), 1)
	missing.Version = 2
	return wantError("an update of a missing content", s.UpdateContent(ctx, missing), content.ErrNotFound)
}

func contentUpdateRace(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	version := func(i int) content.Content {
		u := c
		u.Title, u.Version, u.UpdatedAt = fmt.Sprintf("by caller %d", i), 2, at(100+i)
		return u
	}
	return race(50, content.ErrConflict, func(i int) error { return s.UpdateContent(ctx, version(i)) },
		func(i int) error {
			got, err := contentByID(ctx, s, c.ID)
			return errors.Join(err, want("the content", got, version(i)))
		})
}

// race has as many callers write together, and fails unless one of them succeeds and the others get
// the conflict. It calls kept with the index of the winner.
func race(callers int, conflict error, write, kept func(i int) error) error {
	won := make([]bool, callers)
	err := together(callers, func(i int) error {
		err := write(i)
		won[i] = err == nil
		if errors.Is(err, conflict) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return oneWinner(won, kept)
}

// oneWinner fails unless one of won is true, and calls kept with its index.
func oneWinner(won []bool, kept func(i int) error) error {
	winner := -1
	for i, w := range won {
		if !w {
			continue
		}
		if winner >= 0 {
			return fmt.Errorf("callers %d and %d both succeeded", winner, i)
		}
		winner = i
	}
	if winner < 0 {
		return errors.New("no caller succeeded")
	}
	return kept(winner)
}

func contentDelete(ctx context.Context, s store.Store) error {
	author := newName()
	all, err := createContents(ctx, s, author, 2)
	if err != nil {
		return err
	}
	gone := all[0]
	if err := s.DeleteContent(ctx, gone.ID, 1); err != nil {
		return err
	}
	found, err := s.ContentsByID(ctx, []string{gone.ID})
	if err != nil {
		return err
	}
	if err := want("deleted contents found by id", len(found), 0); err != nil {
		return err
	}
	f := content.Filter{Author: author}
	for _, field := range content.Fields() {
		listed, err := s.ListContents(ctx, content.Query{Filter: f, Order: content.Order{Field: field}, Limit: 9})
		if err != nil {
			return err
		}
		if len(listed) != 1 || listed[0].Content != all[1] {
			return fmt.Errorf("the list by %s after a deletion is %v, want the other content alone", field,
				idsOf(listed))
		}
	}
	f.Terms = content.Terms(gone.Title)
	n, err := s.CountContents(ctx, f, 0)
	if err := errors.Join(err, want("deleted contents counted", n, 0)); err != nil {
		return err
	}
	gone.Version++
	return wantError("an update of a deleted content", s.UpdateContent(ctx, gone), content.ErrNotFound)
}

func contentDeleteRefused(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 2)
	if err != nil {
		return err
	}
	u := all[0]
	u.Version, u.Title = 2, "changed"
	if err := s.UpdateContent(ctx, u); err != nil {
		return err
	}
	for _, version := range []int64{1, 3} {
		if err := wantError("a deletion at another version", s.DeleteContent(ctx, u.ID, version),
			content.ErrConflict); err != nil {
			return err
		}
	}
	got, err := contentByID(ctx, s, u.ID)
	if err := errors.Join(err, want("the content after refused deletions", got, u)); err != nil {
		return err
	}
	if err := s.DeleteContent(ctx, u.ID, 2); err != nil {
		return fmt.Errorf("a deletion at the present version: %w", err)
	}
	if err := s.DeleteContent(ctx, all[1].ID, 0); err != nil {
		return fmt.Errorf("a deletion at any version: %w", err)
	}
	for what, id := range map[string]string{"a deleted content": u.ID, "a missing content": newUUID()} {
		for _, version := range []int64{0, 2} {
			if err := wantError("a deletion of "+what, s.DeleteContent(ctx, id, version),
				content.ErrNotFound); err != nil {
				return err
			}
		}
	}
	return nil
}

func contentDeleteRace(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	won := make([]bool, 16)
	err := together(len(won), func(i int) error {
		err := s.DeleteContent(ctx, c.ID, int64(i%2))
		won[i] = err == nil
		if errors.Is(err, content.ErrNotFound) {
			return nil
		}
		return err
	})
	return errors.Join(err, oneWinner(won, func(int) error { return nil }))
}

func contentMemory(ctx context.Context, s store.Store) error {
	author := newName()
	all, err := createContents(ctx, s, author, 3)
	if err != nil {
		return err
	}
	// What the caller does to an answer is not seen by the next one.
	ids := []string{all[0].ID, all[1].ID, all[2].ID}
	q := content.Query{Filter: content.Filter{Author: author, Terms: content.Terms("title")},
		Order: content.Order{Field: content.ByCreated}, Limit: 5}
	for range 2 {
		found, err := s.ContentsByID(ctx, ids)
		if err != nil {
			return err
		}
		listed, err := s.ListContents(ctx, q)
		if err != nil {
			return err
		}
		if len(found) != 3 || len(listed) != 3 {
			return fmt.Errorf("%d contents found and %d listed, want 3 each", len(found), len(listed))
		}
		for i := range found {
			if listed[i].Content != all[i] || found[i].Title == "" {
				return errors.New("a content was changed through an answer")
			}
			found[i], listed[i] = content.Content{}, content.Listed{}
		}
	}
	// What the caller handed in is not changed, and not looked at later.
	if ids[0] != all[0].ID || ids[1] != all[1].ID || ids[2] != all[2].ID || len(q.Filter.Terms) != 1 ||
		q.Filter.Terms[0] != "title" {
		return errors.New("an argument was changed")
	}
	return nil
}

func contentConcurrent(ctx context.Context, s store.Store) error {
	author := newName()
	const callers, each = 8, 12
	err := together(callers, func(i int) error {
		for j := range each {
			c := newContent(author, i*each+j)
			if err := s.CreateContent(ctx, c); err != nil {
				return err
			}
			c.Version, c.Title = 2, "changed"
			if err := s.UpdateContent(ctx, c); err != nil {
				return err
			}
			got, err := contentByID(ctx, s, c.ID)
			if err := errors.Join(err, want("the content just changed", got, c)); err != nil {
				return err
			}
			if _, err := s.ListContents(ctx, content.Query{Filter: content.Filter{Author: author},
				Order: content.Order{Field: content.ByTitle}, Limit: 5}); err != nil {
				return err
			}
			if j%3 == 0 {
				if err := s.DeleteContent(ctx, c.ID, 2); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	n, err := s.CountContents(ctx, content.Filter{Author: author}, 0)
	return errors.Join(err, want("contents that stay", n, int64(callers*each*2/3)))
}
