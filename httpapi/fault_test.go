package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// fault is an error or a panic that can be switched on and off.
type fault struct{ v atomic.Pointer[any] }

func (f *fault) Store(v any) {
	if v == nil {
		f.v.Store(nil)
		return
	}
	f.v.Store(&v)
}

func (f *fault) err() error {
	p := f.v.Load()
	if p == nil {
		return nil
	}
	if err, ok := (*p).(error); ok {
		return fmt.Errorf("sql: secret of /tmp/x.go: %w", err)
	}
	panic(*p)
}

// faults wraps a store and a queue so that they fail when a test says so.
type faults struct {
	read, update, apply, publish, depart fault
	log                                  testutil.Log
	// creating, if set, gets a word when a content is about to be created, which then waits for
	// another.
	creating chan struct{}
}

func (f *faults) into(c *khodnevis.Config) {
	c.Store = faultyStore{c.Store.(store.Store), f}
	c.Queue = faultyQueue{c.Queue, f}
	c.Logger = slog.New(slog.NewTextHandler(&f.log, nil))
}

type faultyStore struct {
	store.Store
	f *faults
}

func (s faultyStore) ContentsByID(ctx context.Context, ids []string) ([]content.Content, error) {
	if err := s.f.read.err(); err != nil {
		return nil, err
	}
	return s.Store.ContentsByID(ctx, ids)
}

func (s faultyStore) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	if err := s.f.read.err(); err != nil {
		return nil, err
	}
	return s.Store.ListContents(ctx, q)
}

func (s faultyStore) CreateContent(ctx context.Context, c content.Content) error {
	if err := s.f.create(); err != nil {
		return err
	}
	return s.Store.CreateContent(ctx, c)
}

func (s faultyStore) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	if err := s.f.create(); err != nil {
		return content.IdempotencyRecord{}, err
	}
	return s.Store.CreateContentIdempotent(ctx, c, r, since)
}

func (f *faults) create() error {
	if err := f.update.err(); err != nil {
		return err
	}
	if f.creating != nil {
		f.creating <- struct{}{}
		<-f.creating
	}
	return nil
}

func (s faultyStore) UpdateContent(ctx context.Context, c content.Content) error {
	if err := s.f.update.err(); err != nil {
		return err
	}
	return s.Store.UpdateContent(ctx, c)
}

func (s faultyStore) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	if err := s.f.read.err(); err != nil {
		return nil, err
	}
	return s.Store.RatingsByKey(ctx, keys)
}

func (s faultyStore) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if err := s.f.read.err(); err != nil {
		return nil, err
	}
	return s.Store.ListRatings(ctx, q)
}

func (s faultyStore) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	if err := s.f.read.err(); err != nil {
		return nil, err
	}
	return s.Store.StatsByContent(ctx, ids)
}

func (s faultyStore) ApplyRatings(ctx context.Context, b rating.Batch) ([]rating.Outcome, error) {
	if err := s.f.apply.err(); err != nil {
		return nil, err
	}
	return s.Store.ApplyRatings(ctx, b)
}

func (s faultyStore) RecordErasure(ctx context.Context, d rating.Erasure) error {
	if err := s.f.depart.err(); err != nil {
		return err
	}
	return s.Store.RecordErasure(ctx, d)
}

func (s faultyStore) DeleteUser(ctx context.Context, d auth.Deletion) error {
	if err := s.f.update.err(); err != nil {
		return err
	}
	return s.Store.DeleteUser(ctx, d)
}

func (s faultyStore) CreateUser(ctx context.Context, u auth.User) error {
	if err := s.f.update.err(); err != nil {
		return err
	}
	return s.Store.CreateUser(ctx, u)
}

func (s faultyStore) UserByName(ctx context.Context, name string) (auth.User, error) {
	if err := s.f.read.err(); err != nil {
		return auth.User{}, err
	}
	return s.Store.UserByName(ctx, name)
}

func (s faultyStore) UsersByID(ctx context.Context, ids []string) ([]auth.User, error) {
	if err := s.f.read.err(); err != nil {
		return nil, err
	}
	return s.Store.UsersByID(ctx, ids)
}

type faultyQueue struct {
	queue.Queue
	f *faults
}

func (q faultyQueue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if err := q.f.publish.err(); err != nil {
		return nil, err
	}
	return q.Queue.Publish(ctx, msgs...)
}

// TestQueueFails: a queue that does not take a rating is a 503 that says whether it may still be
// stored.
func TestQueueFails(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	contentID := s.write(t, "A film")
	ratingID := s.rate(t, ada, contentID, 4)
	for outcome, err := range map[string]error{"not_accepted": queue.ErrNotAccepted,
		"unknown": errors.New("the connection is gone")} {
		f.publish.Store(err)
		for _, r := range []request{
			{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":5}`, contentID)},
			{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":5}`, contentID), prefer: "wait=5"},
			{method: "PUT", path: "ratings/" + ratingID + "/", body: `{"score":5}`},
			{method: "PATCH", path: "ratings/" + ratingID + "/", body: `{"score":5}`},
			{method: "DELETE", path: "ratings/" + ratingID + "/"},
			{method: "PUT", path: "contents/" + contentID + "/rating/", body: `{"score":5}`},
			{method: "DELETE", path: "contents/" + contentID + "/rating/"},
			{method: "POST", path: "contents/" + contentID + "/stats/recalculate/", as: sam},
		} {
			if r.as == nobody {
				r.as = ada
			}
			r.faulty = true
			a := s.do(t, r)
			if a.status != 503 || a.problem() != "unavailable" || a.at(t, "outcome") != outcome ||
				a.header.Get("Location") != "" || a.header.Get("Preference-Applied") != "" {
				t.Errorf("%s %s: %s, want the outcome %s", r.method, r.path, a, outcome)
			}
		}
	}
	f.publish.Store(nil)
	if a := s.get(t, ada, "ratings/"+ratingID+"/"); a.at(t, "score") != 4.0 || a.at(t, "state") != "stored" {
		t.Errorf("the rating is %s", a)
	}
}

// everyRead are requests that need the store.
func everyRead(contentID, ratingID string) []request {
	return []request{
		{path: "contents/"}, {path: "contents/" + contentID + "/"}, {path: "ratings/"}, {path: "ratings/" + ratingID + "/"},
		{path: "contents/" + contentID + "/rating/", as: ada}, {path: "users/me/", as: ada},
		{method: "POST", path: "users/login/", body: `{"username":"ada","password":"` + password + `"}`},
		{method: "PATCH", path: "contents/" + contentID + "/", as: ada, body: `{"title":"x"}`},
		{method: "DELETE", path: "contents/" + contentID + "/", as: ada},
		{method: "PUT", path: "ratings/" + ratingID + "/", as: ada, body: `{"score":5}`},
		{method: "DELETE", path: "ratings/" + ratingID + "/", as: ada},
		{method: "PUT", path: "contents/" + contentID + "/rating/", as: ada, body: `{"score":5}`},
	}
}

// absent is a cache that has nothing while it is down.
type absent struct {
	cache.Cache
	down atomic.Bool
}

func (a *absent) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	if a.down.Load() {
		return map[string]cache.Item{}, nil
	}
	return a.Cache.GetMany(ctx, keys)
}

// TestStoreFails: unavailability is a 503, anything else a 500; neither tells what happened, but
// the log does.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	f := &faults{}
	known := &absent{Cache: lrucache.New(lrucache.Config{})}
	s := serve(t, setup{config: func(c *khodnevis.Config) { f.into(c); c.Cache = known }, idle: true})
	contentID := s.write(t, "A film")
	accepted := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":4}`,
		contentID)})
	ratingID, task := accepted.text(t, "rating.id"), accepted.text(t, "task")
	for _, name := range []string{ada, ben, sam} { // so that the tokens are known
		s.get(t, name, "users/me/")
	}
	for _, x := range []struct {
		fault   any
		status  int
		problem string
	}{
		{content.ErrUnavailable, 503, "unavailable"},
		{context.DeadlineExceeded, 503, "unavailable"},
		{errors.New("pq: syntax error in SELECT"), 500, "internal_error"},
		{"a panic with 127.0.0.1", 500, "internal_error"},
	} {
		f.read.Store(x.fault)
		for i, r := range everyRead(contentID, ratingID) {
			r.faulty = true
			id := fmt.Sprintf("request-%d-%d", x.status, i)
			r.header = map[string]string{"X-Request-Id": id}
			a := s.do(t, r)
			if a.status != x.status || a.problem() != x.problem {
				t.Errorf("%s %s with %v: %s", r.method, r.path, x.fault, a)
			}
			writesRating := r.method != "" && (strings.HasPrefix(r.path, "ratings/") || strings.HasSuffix(r.path, "/rating/"))
			if outcome := strings.Contains(string(a.body), `"outcome":"not_accepted"`); x.status == 503 &&
				outcome != writesRating {
				t.Errorf("%s %s: says not_accepted: %v", r.method, r.path, outcome)
			}
			if !strings.Contains(f.log.String(), id) {
				t.Errorf("%s %s with %v is not in the log", r.method, r.path, x.fault)
			}
		}
		// What the cache knows of a task is told while the store does not answer; without a cache
		// there is nothing to tell.
		want := x.status
		if want == 503 {
			want = 200
		}
		look := request{path: "tasks/" + task + "/", as: ada, faulty: true}
		if a := s.do(t, look); a.status != want || want == 200 && a.text(t, "state") != "PENDING" {
			t.Errorf("the task with %v: %s", x.fault, a)
		}
		known.down.Store(true)
		if a := s.do(t, look); a.status != x.status || a.problem() != x.problem {
			t.Errorf("the task with %v and no cache: %s", x.fault, a)
		}
		known.down.Store(false)
		f.read.Store(nil)
		if a := s.get(t, ada, "ratings/"+ratingID+"/"); a.status != 200 {
			t.Errorf("after %v: %s", x.fault, a)
		}
	}
	f.update.Store(content.ErrUnavailable)
	for _, r := range []request{{method: "POST", path: "contents/", body: `{"title":"t"}`},
		{method: "PATCH", path: "contents/" + contentID + "/", body: `{"title":"t"}`}} {
		r.as, r.faulty = ada, true
		if a := s.do(t, r); a.status != 503 {
			t.Errorf("%s %s: %s", r.method, r.path, a)
		}
	}
}

// TestContentsAreReadWhileTheStoreIsDown: what was read a little while ago still is, with its age;
// nothing else is.
func TestContentsAreReadWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	known, unknown := s.write(t, "A film"), s.write(t, "Another one")
	path := "contents/" + known + "/"
	before := s.get(t, "", path)
	if before.status != 200 || before.header.Get("Age") != "" {
		t.Fatalf("before: %s", before)
	}
	f.read.Store(content.ErrUnavailable)
	after := s.do(t, request{path: path})
	lately := func(a answer) bool { return len(a.header.Get("Age")) == 1 } // a few seconds
	if after.status != 200 || !lately(after) || string(after.body) != string(before.body) ||
		after.header.Get("ETag") != before.header.Get("ETag") {
		t.Errorf("while the store is down: %s, want %s", after, before)
	}
	unless := map[string]string{"If-None-Match": before.header.Get("ETag")}
	if a := s.do(t, request{path: path, header: unless}); a.status != 304 ||
		!lately(a) {
		t.Errorf("a conditional request: %s", a)
	}
	for _, r := range []request{{path: "contents/" + unknown + "/"}, {method: "PATCH", path: path, as: ada,
		body: `{"title":"x"}`}} {
		if r.faulty = true; s.do(t, r).status != 503 {
			t.Errorf("%s %s: %s", r.method, r.path, s.do(t, r))
		}
	}
	for _, path := range []string{path, path + "stats/"} {
		f.read.Store(nil)
		before := s.get(t, "", path)
		f.read.Store(content.ErrUnavailable)
		s.clock.Advance(4 * time.Minute)
		after := s.do(t, request{path: path})
		age, _ := strconv.Atoi(after.header.Get("Age"))
		if after.status != 200 || age < 240 || age > 300 || string(after.body) != string(before.body) {
			t.Errorf("four minutes later: %s, Age %s, want %s", after, after.header.Get("Age"), before)
		}
		s.clock.Advance(2 * time.Minute)
		if a := s.do(t, request{path: path, faulty: true}); a.status != 503 {
			t.Errorf("six minutes later: %s", a)
		}
	}
	f.read.Store(nil)
	if a := s.do(t, request{method: "DELETE", path: path, as: ada}); a.status != 204 {
		t.Fatal(a)
	}
	f.read.Store(content.ErrUnavailable)
	if a := s.do(t, request{path: path, faulty: true}); a.status != 503 || a.header.Get("Age") != "" {
		t.Errorf("deleted: %s", a)
	}
}

// TestUnstorable: what the database never takes although no rule refuses it is the client's fault,
// and a warning that a rule is missing.
func TestUnstorable(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	contentID := s.write(t, "A film")
	f.update.Store(content.ErrUnstorable)
	for i, r := range []request{
		{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`},
		{method: "PATCH", path: "contents/" + contentID + "/", as: ada, body: `{"title":"t"}`},
		{method: "POST", path: "users/", body: `{"username":"carl","password":"` + password + `"}`},
	} {
		id := fmt.Sprintf("unstorable-%d", i)
		r.header = map[string]string{"X-Request-Id": id}
		if a := s.do(t, r); a.status != 400 || a.problem() != "unstorable" {
			t.Errorf("%s %s: %s", r.method, r.path, a)
		}
		logged := false
		for line := range strings.Lines(f.log.String()) {
			logged = logged || strings.Contains(line, id) && strings.Contains(line, "level=WARN") && strings.Contains(line,
				"secret")
		}
		if !logged {
			t.Errorf("%s %s is no warning in the log", r.method, r.path)
		}
	}
}

// TestAcceptedThenStoreFails: what the queue has taken is accepted, whatever the store does after
// that.
func TestAcceptedThenStoreFails(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	contentID := s.write(t, "A film")
	s.rate(t, ada, contentID, 4)
	f.apply.Store(content.ErrUnavailable)
	a := s.do(t, request{method: "PUT", path: "contents/" + contentID + "/rating/", as: ada, body: `{"score":5}`,
		prefer: "wait=1"})
	if a.status != 202 {
		t.Fatalf("while nothing can be stored: %s", a)
	}
	testutil.Eventually(t, 30*time.Second, "the task is tried again", func() bool {
		task := s.get(t, ada, a.text(t, "status_url"))
		return task.at(t, "state") == "RETRY" && task.text(t, "error.code") == "unavailable" &&
			task.header.Get("Retry-After") != ""
	})
	f.apply.Store(nil)
	if done := s.do(t, request{path: a.text(t, "status_url"), as: ada, prefer: "wait=10"}); done.at(t,
		"state") != "SUCCESS" || done.text(t, "result.outcome") != "updated" {
		t.Errorf("once it can: %s", done)
	}
}

// TestStoredThenStoreFails: the same holds when the rating is stored, but cannot be read for the
// answer.
func TestStoredThenStoreFails(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into, idle: true})
	contentID := s.write(t, "A film")
	answers := make(chan answer, 1)
	go func() {
		a, err := s.send(t, request{method: "PUT", path: "contents/" + contentID + "/rating/", as: ada, body: `{"score":5}`,
			prefer: "wait=10"})
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	testutil.Eventually(t, 30*time.Second, "it is accepted", func() bool { return s.lag(t) == 1 })
	f.read.Store(content.ErrUnavailable)
	s.work()
	if a := <-answers; a.status != 202 || a.header.Get("Location") == "" {
		t.Errorf("stored, but not readable: %s", a)
	}
}

// TestPanicsKeepTheConnection sends two requests over one connection, the first of which panics.
func TestPanicsKeepTheConnection(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	f.read.Store("boom")
	get := func(path string) string { return "GET /api/" + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	answers := s.raw(t, get("contents/")+get("nowhere/")+get("contents/?a=b"), 3)
	var got []int
	for _, a := range answers {
		got = append(got, a.StatusCode)
	}
	if !slices.Equal(got, []int{500, 404, 400}) {
		t.Errorf("over one connection: %v", got)
	}
	if log := f.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "contents.go") {
		t.Errorf("the log does not say where it was: %s", log)
	}
}

// TestHostContents checks that a host's contents can be rated, and are not served.
func TestHostContents(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.RatedContents = strangeContents{} }})
		s.rate(t, ada, "film|7", 4)
		s.runAll(t, []exchange{
			{"", request{path: "contents/"}, 404, "not_found"},
			{"", request{path: "contents/film%7C7/"}, 404, "not_found"},
			{"", request{path: "contents/film%7C7/stats/"}, 200, ""},
			{"", request{path: "contents/none/stats/"}, 404, "not_found"},
			{"", request{method: "POST", path: "contents/film%7C7/stats/recalculate/", as: sam}, 202, ""},
			{"", request{method: "POST", path: "ratings/", as: ada, body: `{"content":"none","score":4}`}, 400,
				"validation_failed #/content=does_not_exist"},
		})
	})
}

// TestRequestIDs: a sane one is kept, any other replaced.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	for given, kept := range map[string]bool{
		"a": true, "A.b_c-9": true, strings.Repeat("x", 64): true, strings.Repeat("x",
			65): false, "a b": false, "a/b": false, "é": false, "<x>": false, "": false,
	} {
		for _, path := range []string{"contents/", "nowhere/"} {
			a := s.do(t, request{path: path, header: map[string]string{"X-Request-Id": given}})
			if got := a.header.Get("X-Request-Id"); (got == given) != kept {
				t.Errorf("%q becomes %q", given, got)
			}
		}
	}
}
