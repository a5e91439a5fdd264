package content_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// silenced is a store that fails reads while it has an error.
type silenced struct {
	content.Store
	err error
}

func (s *silenced) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Store.ContentsByID(ctx, ids)
}

func TestRecent(t *testing.T) {
	t.Parallel()
	ctx, author := t.Context(), actor.Actor{User: "ada"}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store, shared := memstore.New(memstore.Config{}), lrucache.New(lrucache.Config{})
	node := func() (*content.Service, *silenced) {
		s := &silenced{Store: store}
		service, err := content.New(s, content.Config{Cache: shared, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return service, s
	}
	here, db := node()
	there, _ := node()
	create := func(description string) string {
		c, err := here.Create(ctx, "ada", content.Draft{Title: "first", Description: description})
		if err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	look := func(id, title string, age time.Duration, err error) {
		t.Helper()
		c, a, e := here.GetOrStale(ctx, id)
		if c.Title != title || a != age || !errors.Is(e, err) {
			t.Errorf("%q, %v old, %v; want %q, %v, %v", c.Title, a, e, title, age, err)
		}
	}
	kept, changed, deleted, great := create(""), create(""), create(""), create(strings.Repeat("x", 20<<10))
	for _, id := range []string{kept, changed, deleted, great} {
		look(id, "first", 0, nil)
	}
	second := "second"
	if _, err := here.Update(ctx, author, changed, content.Patch{Title: &second}); err != nil {
		t.Fatal(err)
	}
	if err := there.Delete(ctx, author, deleted); err != nil {
		t.Fatal(err)
	}
	for _, unavailable := range []error{content.ErrUnavailable, context.DeadlineExceeded} {
		db.err = unavailable
		now = now.Add(time.Minute)
	}
	look(kept, "first", 2*time.Minute, nil)
	look(changed, "second", 2*time.Minute, nil)
	look(deleted, "", 0, content.ErrNotFound) // the cache knows of it
	look(great, "", 0, context.DeadlineExceeded)
	db.err = errors.New("wrong SQL")
	look(kept, "", 0, db.err)
	now = now.Add(content.MaxStale - 2*time.Minute)
	db.err = content.ErrUnavailable
	look(kept, "first", content.MaxStale, nil)
	now = now.Add(1)
	look(kept, "", 0, content.ErrUnavailable)

	db.err = nil // and from now on it is known again
	look(kept, "first", 0, nil)
	if err := here.Delete(ctx, author, kept); err != nil {
		t.Fatal(err)
	}
	look(kept, "", 0, content.ErrNotFound)
	db.err = content.ErrUnavailable
	look(kept, "", 0, content.ErrUnavailable)
}

// late is a store in which something happens after a content was read and before the reader gets
// it.
type late struct {
	content.Store
	meanwhile func()
	err       error
}

func (l *late) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if l.err != nil {
		return nil, l.err
	}
	found, err := l.Store.ContentsByID(ctx, ids)
	if do := l.meanwhile; do != nil {
		l.meanwhile = nil
		do()
	}
	return found, err
}

// Who read a content before it was deleted or grew too large to be remembered brings it back for
// nobody.
func TestRecentOfALateReader(t *testing.T) {
	t.Parallel()
	ctx, author, text := t.Context(), actor.Actor{User: "ada"}, strings.Repeat("x", 20<<10)
	for name, write := range map[string]func(*content.Service, string) error{
		"deleted": func(s *content.Service, id string) error { return s.Delete(ctx, author, id) },
		"grown": func(s *content.Service, id string) error {
			_, err := s.Update(ctx, author, id, content.Patch{Description: &text})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &late{Store: memstore.New(memstore.Config{})}
			s, err := content.New(store, content.Config{})
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.Create(ctx, "ada", content.Draft{Title: "first"})
			if err != nil {
				t.Fatal(err)
			}
			store.meanwhile = func() {
				if err := write(s, c.ID); err != nil {
					t.Error(err)
				}
			}
			if _, _, err := s.GetOrStale(ctx, c.ID); err != nil {
				t.Fatal(err)
			}
			store.err = content.ErrUnavailable
			if got, _, err := s.GetOrStale(ctx, c.ID); !errors.Is(err, content.ErrUnavailable) {
				t.Errorf("it is %q, %v", got.Title, err)
			}
		})
	}
}

// mute is a cache that does not answer.
type mute struct{ cache.Cache }

func (mute) GetMany(context.Context, []string) (map[string]cache.Item, error) {
	return nil, errors.New("it does not answer")
}

// A content that the cache might know to be deleted is not told.
func TestRecentWithoutCache(t *testing.T) {
	t.Parallel()
	store := &silenced{Store: memstore.New(memstore.Config{})}
	s, err := content.New(store, content.Config{Cache: mute{lrucache.New(lrucache.Config{})}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Create(t.Context(), "ada", content.Draft{Title: "first"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.GetOrStale(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	store.err = content.ErrUnavailable
	if got, _, err := s.GetOrStale(t.Context(), c.ID); !errors.Is(err, content.ErrUnavailable) {
		t.Errorf("it is %q, %v", got.Title, err)
	}
}
