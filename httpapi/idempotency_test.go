package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
)

// keyed is a request to create a content, with a key.
func keyed(as, key, body string) request {
	return request{method: http.MethodPost, path: "contents/", as: as, body: body,
		header: map[string]string{"Idempotency-Key": key}}
}

// contents counts them all.
func (s *server) contents(t *testing.T) int {
	t.Helper()
	return int(s.get(t, nobody, "contents/?count=exact").at(t, "count").(float64))
}

// TestIdempotencyKeyForgotten: a cache that has forgotten the first answer, or never took it, leads
// to no second content.
func TestIdempotencyKeyForgotten(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		kept := &forgetful{}
		kept.forget()
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.Cache = kept }})
		const body = `{"title":"once","description":"<d>"}`
		first := s.do(t, keyed(ada, "k", body))
		again := s.do(t, keyed(ada, "k", body))
		if first.status != 201 || !bytes.Equal(again.body, first.body) {
			t.Fatalf("the first: %s, and again: %s", first, again)
		}
		kept.forget()
		again = s.do(t, keyed(ada, "k", body))
		if again.status != 201 || again.header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(again.body,
			first.body) ||
			again.header.Get("Location") != first.header.Get("Location") ||
			again.header.Get("ETag") != first.header.Get("ETag") {
			t.Errorf("forgotten: %s %v", again, again.header)
		}
		s.rate(t, ben, first.text(t, "id"), 4)
		s.fold(t, first.text(t, "id"))
		if a := s.do(t, request{method: "PATCH", path: first.header.Get("Location"), as: ada,
			body: `{"title":"changed"}`}); a.status != 200 {
			t.Fatalf("a change: %s", a)
		}
		now, again := s.get(t, ada, first.header.Get("Location")), s.do(t, keyed(ada, "k", body))
		if again.status != 201 || again.header.Get("Idempotency-Replayed") != "true" || again.at(t, "title") != "changed" ||
			again.at(t, "ratings_count") != 1.0 ||
			again.header.Get("Location") != first.header.Get("Location") ||
			again.header.Get("ETag") != now.header.Get("ETag") {
			t.Errorf("changed since: %s %v", again, again.header)
		}
		if a := s.do(t, keyed(ada, "k", `{"title":"another"}`)); a.status != 422 ||
			a.problem() != "idempotency_key_reused" {
			t.Errorf("with another body: %s", a)
		}
		if a := s.do(t, keyed(ben, "k", body)); a.status != 201 || a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("somebody else's key: %s", a)
		}
		if n := s.contents(t); n != 2 {
			t.Errorf("%d contents, want one of each", n)
		}
		if a := s.do(t, request{method: "DELETE", path: first.header.Get("Location"), as: ada}); a.status != 204 {
			t.Fatalf("a deletion: %s", a)
		}
		for range 2 {
			if a := s.do(t, keyed(ada, "k", body)); a.status != 410 || a.problem() != "content_deleted" ||
				a.header.Get("Location") != "" {
				t.Errorf("deleted since: %s", a)
			}
		}
		if a := s.do(t, keyed(ada, "k", `{"title":"another"}`)); a.status != 422 {
			t.Errorf("deleted since, with another body: %s", a)
		}
		s.clock.Advance(25 * time.Hour)
		s.login(t, ada)
		kept.forget()
		if a := s.do(t, keyed(ada, "k", `{"title":"another"}`)); a.status != 201 ||
			a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("a day later: %s", a)
		}
	})
}

// TestIdempotencyKeyOnTwoNodes: processes that share nothing but the store make one content,
// whichever is asked.
func TestIdempotencyKeyOnTwoNodes(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		node := twoNodes(t, open, nil, nil)
		var both sync.WaitGroup
		var statuses [2]map[int]int
		for i, s := range node {
			both.Go(func() {
				statuses[i] = s.parallel(t, 10, func(int) request { return keyed(ada, "k", `{"title":"once"}`) })
			})
		}
		both.Wait()
		for i, got := range statuses {
			if got[201] < 1 || got[201]+got[409] != 10 {
				t.Errorf("10 at once on node %d: %v", i, got)
			}
		}
		first := node[0].do(t, keyed(ada, "k", `{"title":"once"}`))
		if second := node[1].do(t, keyed(ada, "k", `{"title":"once"}`)); first.status != 201 || second.status != 201 ||
			first.text(t, "id") != second.text(t, "id") {
			t.Errorf("after them: %s and %s", first, second)
		}
		if n := node[0].contents(t); n != 1 {
			t.Errorf("20 at once made %d contents", n)
		}
	})
}

// down is a cache that does not answer.
type down struct{}

func (down) GetMany(context.Context, []string) (map[string]cache.Item, error) {
	return nil, errors.New("no answer")
}
func (down) SetMany(context.Context, []cache.Item) error { return errors.New("no answer") }
func (down) DeleteMany(context.Context, []string) error  { return errors.New("no answer") }
func (down) Add(context.Context, string, int64, time.Duration) (int64, error) {
	return 0, errors.New("no answer")
}

var _ cache.Counter = down{}

// TestIdempotencyKeyWithoutCache: a cache that fails is none, and the process itself tells who is
// first.
func TestIdempotencyKeyWithoutCache(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{config: func(c *khodnevis.Config) { c.Cache = down{} }})
	if got := s.parallel(t, 20, func(int) request { return keyed(ada, "k", `{"title":"once"}`) }); got[201] < 1 ||
		got[201]+got[409] != 20 {
		t.Errorf("20 at once: %v", got)
	}
	if a := s.do(t, keyed(ada, "k", `{"title":"once"}`)); a.status != 201 ||
		a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("after them: %s", a)
	}
	if n := s.contents(t); n != 1 {
		t.Errorf("%d contents", n)
	}
}

// measured is a cache that knows the longest value it was given below "replay:" of an installation.
type measured struct {
	*lrucache.Cache
	mu      sync.Mutex
	longest int
}

func (m *measured) SetMany(ctx context.Context, items []cache.Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, item := range items {
		if strings.Contains(item.Key, "replay:") {
			m.longest = max(m.longest, len(item.Value))
		}
	}
	return m.Cache.SetMany(ctx, items)
}

// TestLongAnswersAreNotKept: what one user writes does not push out what the cache keeps of all
// others.
func TestLongAnswersAreNotKept(t *testing.T) {
	t.Parallel()
	kept := &measured{Cache: lrucache.New(lrucache.Config{})}
	s := serve(t, setup{config: func(c *khodnevis.Config) { c.Cache = kept }})
	for i, length := range []int{10, 15 << 10, 17 << 10, 65_536} {
		r := keyed(ada, fmt.Sprint("k", i), fmt.Sprintf(`{"title":"long","description":%q}`, strings.Repeat("d", length)))
		first, again := s.do(t, r), s.do(t, r)
		if first.status != 201 || again.status != 201 || again.header.Get("Idempotency-Replayed") != "true" ||
			!bytes.Equal(again.body, first.body) {
			t.Errorf("%d bytes: %d, and again %d", length, first.status, again.status)
		}
	}
	if kept.longest < 15<<10 || kept.longest > 16<<10 {
		t.Errorf("the longest answer that is kept has %d bytes, want 15 to 16 KiB", kept.longest)
	}
	if n := s.contents(t); n != 4 {
		t.Errorf("%d contents", n)
	}
}

// A claim that has ended by itself is not taken back from those to come.
func TestIdempotencyKeyAfterALongRequest(t *testing.T) {
	t.Parallel()
	var s *server
	slow := true
	s = serve(t, setup{config: func(c *khodnevis.Config) {
		c.Hooks.Contents.BeforeCreate = func(context.Context, content.Content) error {
			if slow {
				s.clock.Advance(11 * time.Second)
				return &content.Refusal{Status: 403, Code: "later", Detail: "Not now."}
			}
			return nil
		}
	}})
	r := request{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`,
		header: map[string]string{"Idempotency-Key": "long"}, refused: true}
	if a := s.do(t, r); a.status != 403 {
		t.Fatalf("the one that takes long: %s", a)
	}
	slow, r.refused = false, false
	if a := s.do(t, r); a.status != 201 {
		t.Errorf("the next one: %s", a)
	}
}
