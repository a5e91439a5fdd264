package content_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// A request that comes again gets the content that it made, as it is now, for a day.
func TestCreateIdempotent(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	s := newService(t, content.Config{Now: func() time.Time { return now }})
	once := func(author, key, request string) (content.Content, bool, error) {
		return s.CreateIdempotent(t.Context(), author, content.Draft{Title: "t"},
			content.IdempotencyKey{Key: key, Request: request})
	}
	first, again, err := once("ana", "k", "r")
	if err != nil || again || first.Title != "t" || first.Author != "ana" || first.Version != 1 {
		t.Fatalf("the first: %+v, %v, %v", first, again, err)
	}
	if c, again, err := once("ana", "k", "r"); c != first || !again || err != nil {
		t.Errorf("again: %+v, %v, %v", c, again, err)
	}
	title := "changed"
	changed, err := s.Update(t.Context(), actor.Actor{User: "ana"}, first.ID, content.Patch{Title: &title})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(content.IdempotencyTTL)
	if c, again, err := once("ana", "k", "r"); c != changed || !again || err != nil {
		t.Errorf("changed since, a day later: %+v, %v, %v", c, again, err)
	}
	if _, again, err := once("ana", "k", "another"); !again || !errors.Is(err, content.ErrKeyReused) {
		t.Errorf("another request: %v, %v", again, err)
	}
	for _, other := range [][2]string{{"ben", "k"}, {"ana", "k2"}, {"ana", ""}} {
		if c, again, err := once(other[0], other[1], "r"); c.ID == first.ID || again || err != nil {
			t.Errorf("%q: %+v, %v, %v", other, c, again, err)
		}
	}
	if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, first.ID); err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]error{"r": content.ErrDeleted, "another": content.ErrKeyReused} {
		if c, again, err := once("ana", "k", request); c != (content.Content{}) || !again || !errors.Is(err, want) {
			t.Errorf("deleted since: %+v, %v, %v, want %v", c, again, err, want)
		}
	}
	now = now.Add(time.Microsecond)
	if c, again, err := once("ana", "k", "another"); c.ID == first.ID || again || err != nil {
		t.Errorf("more than a day later: %+v, %v, %v", c, again, err)
	}
	var bad *content.ValidationError
	if _, _, err := s.CreateIdempotent(t.Context(), "ana", content.Draft{},
		content.IdempotencyKey{Key: "k"}); !errors.As(err, &bad) {
		t.Errorf("a bad draft: %v", err)
	}
}

// What was refused may come again with its key; what was made is neither decided on again nor told
// again.
func TestHooksAndOnce(t *testing.T) {
	t.Parallel()
	refuse := true
	d := &told{before: func() error {
		if refuse {
			return &content.Refusal{}
		}
		return nil
	}}
	s := newService(t, content.Config{Hooks: d.hooks()})
	once := func() (bool, error) {
		_, again, err := s.CreateIdempotent(t.Context(), "ana", content.Draft{Title: "t"}, content.IdempotencyKey{Key: "k"})
		return again, err
	}
	var refused *content.Refusal
	if _, err := once(); !errors.As(err, &refused) {
		t.Errorf("refused: %v", err)
	}
	refuse = false
	if again, err := once(); again || err != nil {
		t.Errorf("no longer: %v, %v", again, err)
	}
	refuse = true
	if again, err := once(); !again || err != nil {
		t.Errorf("again: %v, %v", again, err)
	}
	d.want(t, "before create t by ana", "before create t by ana", "after create t 1")
}

// crowded lets nobody create before all have looked.
type crowded struct {
	content.Store
	looked sync.WaitGroup
}

func (c *crowded) IdempotencyRecordByKey(
	ctx context.Context, author string, key content.Hash,
) (content.IdempotencyRecord, error) {
	r, err := c.Store.IdempotencyRecordByKey(ctx, author, key)
	c.looked.Done()
	c.looked.Wait()
	return r, err
}

// Of many that have found nothing one makes the content, and the others get it; two processes are
// two services.
func TestCreateIdempotentTogether(t *testing.T) {
	t.Parallel()
	const callers = 20
	kept := &crowded{Store: memstore.New(memstore.Config{})}
	kept.looked.Add(callers)
	var told sync.Map
	var all sync.WaitGroup
	made, ids := make([]bool, callers), make([]string, callers)
	for _, first := range []int{0, callers / 2} {
		s, err := content.New(kept,
			content.Config{Hooks: content.Hooks{AfterCreate: func(_ context.Context, c content.Content) error {
				told.Store(c.ID, true)
				return nil
			}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := first; i < first+callers/2; i++ {
			all.Go(func() {
				c, again, err := s.CreateIdempotent(context.WithoutCancel(t.Context()), "ana", content.Draft{Title: "t"},
					content.IdempotencyKey{Key: "k"})
				if err != nil {
					t.Error(err)
				}
				made[i], ids[i] = !again, c.ID
			})
		}
	}
	all.Wait()
	n := 0
	for i := range callers {
		if made[i] {
			n++
		}
		if ids[i] != ids[0] {
			t.Errorf("caller %d got %s, caller 0 %s", i, ids[i], ids[0])
		}
	}
	if left, err := kept.CountContents(t.Context(), content.Filter{}, 0); n != 1 || left != 1 || err != nil {
		t.Errorf("%d of %d made a content, there are %d, %v", n, callers, left, err)
	}
	heard := 0
	told.Range(func(any, any) bool { heard++; return true })
	if heard != 1 {
		t.Errorf("the hooks heard of %d", heard)
	}
}

// A store that fails is no store that has nothing.
func TestCreateIdempotentFails(t *testing.T) {
	t.Parallel()
	kept := &failing{Store: memstore.New(memstore.Config{})}
	s, err := content.New(kept, content.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateIdempotent(t.Context(), "ana", content.Draft{Title: "t"},
		content.IdempotencyKey{Key: "k"}); !errors.Is(err, content.ErrUnavailable) {
		t.Errorf("the error is %v, want ErrUnavailable", err)
	}
	if n, err := kept.CountContents(t.Context(), content.Filter{}, 0); n != 0 || err != nil {
		t.Errorf("%d contents, %v", n, err)
	}
}

type failing struct{ content.Store }

func (failing) IdempotencyRecordByKey(context.Context, string, content.Hash) (content.IdempotencyRecord, error) {
	return content.IdempotencyRecord{}, content.ErrUnavailable
}

// What no request needs any more is removed now and every hour.
func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := memstore.New(memstore.Config{})
		s, err := content.New(kept, content.Config{})
		if err != nil {
			t.Fatal(err)
		}
		left := func() int {
			n, err := kept.SweepIdempotencyRecords(t.Context(), time.Now().Add(time.Hour), 100)
			if err != nil {
				t.Error(err)
			}
			return n
		}
		create := func(key string) {
			if _, _, err := s.CreateIdempotent(t.Context(), "ana", content.Draft{Title: "t"},
				content.IdempotencyKey{Key: key}); err != nil {
				t.Error(err)
			}
		}
		create("a")
		create("b")
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- s.Run(ctx) }()
		time.Sleep(24 * time.Hour) // of the bubble's clock
		create("c")
		time.Sleep(90 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := left(); n != 1 {
			t.Errorf("%d creations are left, want the one that is not a day old", n)
		}
		if n, err := kept.CountContents(t.Context(), content.Filter{}, 0); n != 3 || err != nil {
			t.Errorf("%d contents are left, %v, want all", n, err)
		}
	})
}

// However much there is to remove, each call of the store removes a bounded number.
func TestSweepInPieces(t *testing.T) {
	t.Parallel()
	pieces := &sweepStore{Store: memstore.New(memstore.Config{}), left: 2500}
	s, err := content.New(pieces, content.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context()); n != 2500 || err != nil || pieces.calls != 3 {
		t.Errorf("%d removed in %d calls, %v", n, pieces.calls, err)
	}
}

type sweepStore struct {
	content.Store
	left, calls int
}

func (s *sweepStore) SweepIdempotencyRecords(_ context.Context, _ time.Time, limit int) (int, error) {
	s.calls++
	n := min(limit, s.left)
	s.left -= n
	return n, nil
}
