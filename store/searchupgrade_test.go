package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// TestSearchUpgrade takes a database back to before titles had collation keys and searches found the
// beginnings of words, and upgrades it.
func TestSearchUpgrade(t *testing.T) {
	t.Run("sqlitestore", func(t *testing.T) {
		t.Parallel()
		file, err := sqlitefile.Open(filepath.Join(t.TempDir(), "s.db"), sqlitefile.Config{})
		if err != nil {
			t.Fatal(err)
		}
		upgraded := func() store.Store {
			s, err := sqlitestore.New(file)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		t.Cleanup(func() {
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
		checkSearchUpgrade(t, upgraded, func(text string, args ...any) {
			if err := file.Write(t.Context(), func(tx sqlitefile.Tx) error {
				_, err := tx.Exec(strings.ReplaceAll(text, "{s}.", ""), args...)
				return err
			}); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}, "UPDATE content_terms SET terms = 'title'")
	})
	t.Run("pgstore", func(t *testing.T) {
		t.Parallel()
		m := postgresMeter(t, 0)
		checkSearchUpgrade(t, func() store.Store {
			if err := m.Store.(interface{ Migrate(context.Context) error }).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			return m.Store
		}, m.exec, "UPDATE {s}.contents SET terms = '{title}'")
	})
}

func checkSearchUpgrade(t *testing.T, upgraded func() store.Store, exec func(string, ...any), formerTerms string) {
	ctx := t.Context()
	s := upgraded()
	const n = 50
	var all []content.Content
	for i := range n {
		c := content.Content{ID: fmt.Sprintf("c%02d", i), Title: fmt.Sprintf("title %d", n-i), Author: "a", Version: 1,
			CreatedAt: made(i), UpdatedAt: made(i)}
		if i == 7 {
			c.Title = "Éclair"
		}
		all = append(all, c)
		if err := s.CreateContent(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	// Two users whose names are one now, one whose name is taken in the present form, one of before.
	names := []string{"موسى", "علی۱", "علی١", "رضا٢", "رضا2", "ana"}
	for i, name := range names {
		u := auth.User{ID: fmt.Sprintf("u%d", i), Username: name, Canonical: name, Version: 1, JoinedAt: made(i),
			UpdatedAt: made(i)}
		if err := s.CreateUser(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	gone := auth.User{ID: "gone", Username: "نو۱", Canonical: "نو۱", Version: 1, JoinedAt: made(1), UpdatedAt: made(1)}
	err := errors.Join(s.CreateUser(ctx, gone), s.DeleteUser(ctx, auth.Deletion{User: gone.ID, At: made(2)}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		exec(`UPDATE {s}.contents SET title_key = $2 WHERE id = $1`, c.ID, []byte(c.Title))
	}
	exec(formerTerms)
	exec(`DROP TABLE {s}.content_rebuilds`)
	exec(`DELETE FROM {s}.migrations WHERE name LIKE '%_search.sql'`)

	s = upgraded()
	for name, id := range map[string]string{"موسی": "u0", "علی1": "u2", "علی۱": "u1", "رضا٢": "u3", "رضا2": "u4",
		"ana": "u5", "موسى": "", "علی١": "", "نو1": "", "نو۱": ""} {
		if u, err := s.UserByName(ctx, name); u.ID != id || (err == nil) != (id != "") {
			t.Errorf("%q is the user %q, %v, want %q", name, u.ID, err, id)
		}
		if err := s.CreateUser(ctx, auth.User{ID: "x", Canonical: name, Version: 1}); !errors.Is(err, auth.ErrUsernameTaken) {
			t.Errorf("a second user %q: %v", name, err)
		}
	}
	found := func(search string) int64 {
		t.Helper()
		n, err := s.CountContents(ctx, content.Filter{Terms: content.Terms(search)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if a, b := found("title"), found("tit"); a != n || b != 0 {
		t.Errorf("before they are rebuilt %d contents are found by a word and %d by a prefix", a, b)
	}
	changed := all[n-1]
	changed.Title, changed.Version = "Changed", 2
	if err := errors.Join(s.UpdateContent(ctx, changed), s.DeleteContent(ctx, all[n-2].ID, 0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.(store.Rebuilder).Rebuild(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for search, want := range map[string]int64{"tit": n - 3, "title": n - 3, "chan": 1, "eclair": 1, "title 2": 0,
		"title 21": 1} {
		if k := found(search); k != want {
			t.Errorf("%q finds %d contents, want %d", search, k, want)
		}
	}
	listed, err := s.ListContents(ctx, content.Query{Order: content.Order{Field: content.ByTitle}, Limit: 3})
	if err != nil || len(listed) != 3 || listed[0].Title != "Changed" || listed[1].Title != "Éclair" ||
		listed[2].Title != "title 10" {
		t.Errorf("by title: %v, %v", listed, err)
	}
	if err := s.(store.Rebuilder).Rebuild(ctx); err != nil {
		t.Error(err)
	}
}
