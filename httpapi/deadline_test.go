package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// slowStore takes its time for what a content and a rating need, and heeds the deadline of its
// context, as adapters do.
type slowStore struct {
	store.Store
	each atomic.Int64 // nanoseconds for each call
}

func (s *slowStore) wait(ctx context.Context) error { return after(ctx, time.Duration(s.each.Load())) }

// after returns nil after d, or an error when ctx is done before that.
func after(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
}

func (s *slowStore) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.ContentsByID(ctx, ids)
}

func (s *slowStore) UpdateContent(ctx context.Context, c content.Content) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.UpdateContent(ctx, c)
}

func (s *slowStore) StatsByContent(ctx context.Context, contents []string) ([]rating.Stats, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.StatsByContent(ctx, contents)
}

func (s *slowStore) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.RatingsByKey(ctx, keys)
}

func (s *slowStore) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.ListDeadLetters(ctx, q)
}

// slowQueue takes its time to accept.
type slowQueue struct {
	queue.Queue
	each time.Duration
}

func (q *slowQueue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if err := after(ctx, q.each); err != nil {
		return nil, err
	}
	return q.Queue.Publish(ctx, msgs...)
}

// TestDeadlineOfTheWholeRequest: a request is answered within two seconds however many calls it
// takes, and one that waits for a rating by the end of its wait; the time that a client takes for
// the body is not counted. The times are those of synctest, so they are exact.
func TestDeadlineOfTheWholeRequest(t *testing.T) {
	t.Parallel()
	const second, never = time.Second, time.Hour
	const quick, title = 600 * time.Millisecond, `{"title":"x"}`
	limit := httpapi.DefaultLimits().RequestTimeout
	for name, tc := range map[string]struct {
		each, publish time.Duration
		hook          bool // the hook that is told of a change hangs
		method, body  string
		rates         bool // it is POST /ratings/
		bodyTakes     time.Duration
		prefer        string
		status        int
		within        time.Duration
		age           bool
	}{
		"quick":         {method: "PATCH", body: title, status: 200},
		"slow calls":    {each: second, method: "PATCH", body: title, status: 503, within: limit},
		"quicker calls": {each: quick, method: "PATCH", body: title, status: 200, within: limit},
		"a body that takes long": {each: quick, method: "PATCH", body: title, bodyTakes: 10 * second,
			status: 200, within: limit},
		"a silent store":    {each: never, method: "PATCH", body: title, status: 503, within: limit},
		"a stale copy":      {each: never, method: "GET", status: 200, within: limit, age: true},
		"a hook that hangs": {hook: true, method: "PATCH", body: title, status: 200, within: limit},
		"no wait":           {each: never, publish: second, rates: true, status: 202, within: limit},
		"a wait of 1 s": {each: never, publish: second, rates: true,
			prefer: "wait=1", status: 202, within: 2 * second},
		"a wait of 3 s": {each: never, publish: second, rates: true,
			prefer: "wait=3", status: 202, within: 3 * second},
		"a wait of 10 s": {each: never, publish: second, rates: true,
			prefer: "wait=10", status: 202, within: 10 * second},
		"a wait of 10 s, slow": {each: second / 2, publish: second, rates: true,
			prefer: "wait=10", status: 202, within: 10 * second},
		"a queue that takes longer": {publish: never, rates: true, status: 503, within: limit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				slow := &slowStore{Store: memstore.New(memstore.Config{})}
				cfg := khodnevis.Config{Authenticator: badHost{}, Store: slow}
				if tc.hook {
					cfg.Hooks.Contents.AfterUpdate = func(ctx context.Context, _ actor.Actor, _, _ content.Content) error {
						<-ctx.Done()
						return ctx.Err()
					}
				}
				cfg.Queue = &slowQueue{memqueue.New(memqueue.Config{}), tc.publish}
				app, err := khodnevis.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				c, err := app.Contents.Create(t.Context(), ada, content.Draft{Title: "A film"})
				if err != nil {
					t.Fatal(err)
				}
				path := "contents/" + c.ID + "/"
				if tc.rates {
					tc.method, path, tc.body = "POST", "ratings/", fmt.Sprintf(`{"content":%q,"score":4}`, c.ID)
				}
				do := func(method, path, body string, bodyTakes time.Duration) *httptest.ResponseRecorder {
					sent := &slowReader{strings.NewReader(body), bodyTakes}
					r := httptest.NewRequestWithContext(t.Context(), method, "/api/"+path, sent)
					r.ContentLength = int64(len(body))
					r.Header.Set("X-User", ada)
					r.Header.Set("Prefer", tc.prefer)
					r.Header.Set("Content-Type", "application/json")
					w := httptest.NewRecorder()
					app.Handler().ServeHTTP(w, r)
					return w
				}
				for _, known := range []string{"contents/" + c.ID + "/", "contents/" + c.ID + "/rating/"} { // to the cache
					do(http.MethodGet, known, "", 0)
				}
				slow.each.Store(int64(tc.each))
				time.Sleep(time.Second)
				began := time.Now()
				w := do(tc.method, path, tc.body, tc.bodyTakes)
				if took := time.Since(began) - tc.bodyTakes; w.Code != tc.status || took > tc.within {
					t.Errorf("%d after %v, want %d within %v: %s", w.Code, took, tc.status, tc.within, w.Body)
				}
				if (w.Header().Get("Retry-After") != "") != (tc.status == 503) || (w.Header().Get("Age") != "") != tc.age {
					t.Errorf("Retry-After is %q, Age is %q", w.Header().Get("Retry-After"), w.Header().Get("Age"))
				}
				time.Sleep(2 * never) // nothing is left running
			})
		})
	}
}

// slowReader takes its time for the first byte.
type slowReader struct {
	io.Reader
	takes time.Duration
}

func (r *slowReader) Read(b []byte) (int, error) {
	time.Sleep(r.takes)
	r.takes = 0
	return r.Reader.Read(b)
}
