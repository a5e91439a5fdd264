package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/store"
)

// scrape returns what a handler answers.
func scrape(h http.Handler, method string) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/metrics", nil))
	return w.Result()
}

// F22: metrics move with what they tell of.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var q queue.Queue
	s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) { q = c.Queue }})
	told := func(lines ...string) {
		t.Helper()
		resp := scrape(s.app.Metrics(), "GET")
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" ||
			resp.Header.Get("X-Request-Id") == "" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		for _, line := range lines {
			if !strings.Contains("\n"+string(body), "\n"+line) {
				t.Errorf("no line that begins with %q in\n%s", line, body)
			}
		}
	}
	told("khodnevis_queue_messages 0\n", "khodnevis_queue_oldest_seconds 0\n", "khodnevis_requests_in_hand 0\n",
		"khodnevis_waits 0\n", `khodnevis_answers_total{class="2xx"} 0`)
	id := s.write(t, "Stalker")
	s.repeat(t, 2, rates(ada, id, ""), 202)
	s.repeat(t, 3, request{path: "contents/none/"}, 404)
	waits := make(chan answer)
	go func() {
		a, err := s.send(t, request{method: "PUT", path: "contents/" + id + "/rating/", as: ben, body: `{"score":2}`,
			prefer: "wait=10"})
		if err != nil {
			t.Error(err)
		}
		waits <- a
	}()
	testutil.Eventually(t, 30*time.Second, "a request waits", func() bool { return s.app.Ratings.Waiting() == 1 })
	told(
		"khodnevis_queue_messages 3\n",
		"khodnevis_queue_oldest_seconds 0.",
		"khodnevis_requests_in_hand 0\n",
		"khodnevis_waits 1\n",
		`khodnevis_answers_total{class="2xx"} 2`,
		`khodnevis_answers_total{class="4xx"} 3`,
		"# TYPE khodnevis_answers_total counter\n",
		"# TYPE khodnevis_waits gauge\n",
	)
	s.work()
	if a := <-waits; a.status != 201 {
		t.Errorf("what waited: %s", a)
	}
	testutil.Eventually(t, 30*time.Second, "the queue is empty", func() bool { return s.lag(t) == 0 })
	told(
		"khodnevis_queue_messages 0\n",
		"khodnevis_queue_oldest_seconds 0\n",
		"khodnevis_requests_in_hand 0\n",
		"khodnevis_waits 0\n",
		`khodnevis_answers_total{class="2xx"} 3`,
		"# TYPE khodnevis_rejected_total counter\n",
		`khodnevis_rejected_total{reason="malformed"} 0`,
		`khodnevis_rejected_total{reason="unstorable"} 0`,
	)
	if _, err := q.Publish(t.Context(), queue.Message{Key: "nobody's", Body: []byte("no event")}); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 30*time.Second, "the queue is empty", func() bool { return s.lag(t) == 0 })
	told(`khodnevis_rejected_total{reason="malformed"} 1`, `khodnevis_rejected_total{reason="unstorable"} 0`)
	for method, status := range map[string]int{"HEAD": 200, "OPTIONS": 204, "POST": 405} {
		if resp := scrape(s.app.Metrics(), method); resp.StatusCode != status || method != "HEAD" &&
			resp.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
}

// mute is a queue that does not say what waits.
type mute struct{ queue.Queue }

func (mute) Lag(context.Context) (int64, error) { return 0, errors.New("no") }
func (mute) Age(context.Context) (time.Duration, time.Duration, error) {
	return 0, 0, errors.New("no")
}

// What nobody can tell is left out: zero would be a lie.
func TestMetricsOfASilentQueue(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(queue.Queue) queue.Queue{
		"one that fails": func(q queue.Queue) queue.Queue { return mute{q} },
		"one that can't": func(q queue.Queue) queue.Queue { return struct{ queue.Queue }{q} },
	} {
		s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) { c.Queue = wrap(c.Queue) }})
		resp := scrape(s.app.Metrics(), "GET")
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || strings.Contains(string(body), "queue") ||
			!strings.Contains(string(body), "khodnevis_waits 0") {
			t.Errorf("%s: %d\n%s", name, resp.StatusCode, body)
		}
	}
}

// fragile says whether it is down.
type fragile struct{ down atomic.Bool }

func (f *fragile) Down() bool { return f.down.Load() }

func TestMetricsOfBreakers(t *testing.T) {
	t.Parallel()
	var c, db fragile
	s := serve(t, setup{idle: true, config: func(cfg *khodnevis.Config) {
		cfg.Cache = struct {
			cache.Cache
			*fragile
		}{lrucache.New(lrucache.Config{}), &c}
		cfg.Store = struct {
			store.Store
			*fragile
		}{cfg.Store.(store.Store), &db}
	}})
	for _, x := range []struct {
		cache, store bool
		want         string
	}{{false, false, "00"}, {true, false, "10"}, {false, true, "01"}, {true, true, "11"}} {
		c.down.Store(x.cache)
		db.down.Store(x.store)
		body, _ := io.ReadAll(scrape(s.app.Metrics(), "GET").Body)
		if want := fmt.Sprintf("\nkhodnevis_down{dependency=\"cache\"} %c\nkhodnevis_down{dependency=\"store\"} %c\n",
			x.want[0], x.want[1]); !strings.Contains(string(body), want) {
			t.Errorf("%+v: no %q in\n%s", x, want, body)
		}
	}
	still := serve(t, setup{idle: true, config: func(cfg *khodnevis.Config) {
		cfg.Store = struct{ store.Store }{cfg.Store.(store.Store)}
		cfg.Cache = lrucache.New(lrucache.Config{})
	}})
	if body, _ := io.ReadAll(scrape(still.app.Metrics(), "GET").Body); strings.Contains(string(body), "khodnevis_down") {
		t.Errorf("what never is down is told of:\n%s", body)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{idle: true})
	live, ready := s.app.Health(nil), s.app.Health(s.app.Ready)
	for range 2 {
		if a := scrape(live, "GET"); a.StatusCode != 200 {
			t.Errorf("live: %d", a.StatusCode)
		}
		s.app.Drain()
	}
	a := scrape(ready, "GET")
	if body, _ := io.ReadAll(a.Body); a.StatusCode != 503 || string(body) != "draining\n" ||
		a.Header.Get("Retry-After") == "" || a.Header.Get("X-Request-Id") == "" {
		t.Errorf("draining: %d %v", a.StatusCode, a.Header)
	}
	if a := scrape(serve(t, setup{idle: true}).app.Health(s.app.Ready), "PUT"); a.StatusCode != 405 ||
		a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("PUT: %d %v", a.StatusCode, a.Header)
	}
}
