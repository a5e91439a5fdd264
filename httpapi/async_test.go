package httpapi_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// TestReadYourOwnWrite follows a rating from its acceptance until it is stored.
func TestReadYourOwnWrite(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, idle: true})
		contentID := s.write(t, "A film")
		a := s.do(t, request{method: "POST", path: "ratings/", as: ben, body: fmt.Sprintf(`{"content":%q,"score":4}`,
			contentID)})
		ratingID := contentID + ":" + s.ids[ben]
		task := a.text(t, "task")
		if a.status != 202 || a.header.Get("Location") != "/api/tasks/"+task+"/" ||
			a.header.Get("Preference-Applied") != "respond-async" ||
			a.text(t, "status_url") != a.header.Get("Location") || a.text(t, "rating.id") != ratingID ||
			a.text(t, "rating.url") != "/api/ratings/"+ratingID+"/" ||
			a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("accepted: %s %v", a, a.header)
		}
		see := func(when, as, path string, status int, state string) {
			t.Helper()
			if got := s.get(t, as, path); got.status != status || status == 200 && got.at(t, "state") != state {
				t.Errorf("%s, %q sees at %s: %s", when, as, path, got)
			}
		}
		own, rating, status := "contents/"+contentID+"/rating/", "ratings/"+ratingID+"/", "tasks/"+task+"/"
		for _, path := range []string{own, rating} {
			see("pending", ben, path, 200, "pending")
		}
		for _, as := range []string{nobody, ada, sam} {
			see("pending", as, rating, 404, "")
			if got := s.get(t, as, "ratings/").list(t, "id"); len(got) != 0 {
				t.Errorf("pending, %q sees %q in the list", as, got)
			}
		}
		see("pending", ben, status, 200, "PENDING")
		see("pending", sam, status, 200, "PENDING")
		see("pending", ada, status, 404, "")
		if got := s.get(t, ben, status).header.Get("Retry-After"); got == "" {
			t.Error("a task that is not done has no Retry-After")
		}
		for method, path := range map[string]string{"PUT": rating, "PATCH": rating} {
			read := s.get(t, ben, path)
			if got := s.do(t, request{method: method, path: path, as: ben, body: string(read.body),
				prefer: "respond-async"}); got.status != 202 {
				t.Errorf("what was read while pending, sent back: %s", got)
			}
		}
		read := s.get(t, ben, rating)
		s.work()
		done := s.do(t, request{path: status, as: ben, prefer: "wait=60"})
		if done.at(t, "state") != "SUCCESS" || done.header.Get("Retry-After") != "" ||
			done.header.Get("Preference-Applied") != "wait=10" {
			t.Errorf("done: %s %v", done, done.header)
		}
		if got := s.do(t, request{method: "PUT", path: rating, as: ben, body: string(read.body),
			prefer: "wait=10"}); got.status != 200 || got.at(t, "state") != "stored" {
			t.Errorf("what was read while pending, sent back when it is stored: %s", got)
		}
		for _, as := range []string{nobody, ada, ben, sam} {
			see("stored", as, rating, 200, "stored")
		}
	})
}

// TestPreferences writes ratings with every preference.
func TestPreferences(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		own, rating := "contents/"+contentID+"/rating/", "ratings/"+contentID+":"+s.ids[ada]+"/"
		post := func(score int) string { return fmt.Sprintf(`{"content":%q,"score":%d}`, contentID, score) }
		const async = "respond-async"
		for i, x := range []struct {
			method, path, body, prefer string
			status                     int
			applied                    string
		}{
			{"POST", "ratings/", post(4), "wait=10", 201, "wait=10"},
			{"POST", "ratings/", post(5), "wait=5", 200, "wait=5"},
			{"POST", "ratings/", post(5), `wait="5"`, 200, "wait=5"},
			{"POST", "ratings/", post(5), "Wait = 5; x=y", 200, "wait=5"},
			{"POST", "ratings/", post(5), "wait=3600", 200, "wait=10"},
			{"POST", "ratings/", post(4), "", 202, async},
			{"POST", "ratings/", post(4), async, 202, async},
			{"POST", "ratings/", post(4), "wait=0", 202, async},
			{"POST", "ratings/", post(4), "wait=-1", 202, async},
			{"POST", "ratings/", post(4), "wait=x", 202, async},
			{"POST", "ratings/", post(4), "wait", 202, async},
			{"POST", "ratings/", post(4), "something=else", 202, async},
			{"POST", "ratings/", post(4), async + ", wait=10", 200, "wait=10"},
			{"PUT", rating, `{"score":3}`, "", 200, ""},
			{"PUT", rating, `{"score":3}`, "wait=9", 200, "wait=9"},
			{"PUT", rating, `{"score":2}`, async, 202, async},
			{"PUT", rating, `{"score":2}`, "wait=0", 202, async},
			{"PATCH", rating, `{"score":1}`, "", 200, ""},
			{"PATCH", rating, `{"score":1}`, async, 202, async},
			{"DELETE", rating, "", "", 204, ""},
			{"PUT", own, `{"score":3}`, "", 201, ""},
			{"PUT", own, `{"score":4}`, "wait=10", 200, "wait=10"},
			{"PUT", own, `{"score":5}`, async, 202, async},
			{"DELETE", own, "", async, 202, async},
			{"PUT", own, `{"score":5}`, "wait=10", 201, "wait=10"},
			{"DELETE", own, "", "wait=10", 204, "wait=10"},
		} {
			a := s.do(t, request{method: x.method, path: x.path, as: ada, body: x.body, prefer: x.prefer})
			if a.status != x.status || a.header.Get("Preference-Applied") != x.applied {
				t.Errorf("%d: %s %s %s, Prefer: %s: %s, applied %q", i, x.method, x.path, x.body, x.prefer, a,
					a.header.Get("Preference-Applied"))
			}
			location := a.header.Get("Location")
			switch a.status {
			case 201:
				if location != "/api/"+rating || a.text(t, "state") != "stored" {
					t.Errorf("%d: created at %q: %s", i, location, a)
				}
			case 200:
				if location != "" || a.text(t, "state") != "stored" {
					t.Errorf("%d: changed at %q: %s", i, location, a)
				}
			case 202: // the next one comes after it in the log, and must find it done
				if done := s.do(t, request{path: location, as: ada, prefer: "wait=10"}); done.at(t, "state") != "SUCCESS" {
					t.Errorf("%d: %s", i, done)
				}
			}
		}
		if a := s.get(t, ada, own); a.status != 404 {
			t.Errorf("in the end there is %s", a)
		}
	})
}

// TestWaitsEnd: a wait ends with the time that was asked for, and when the server is about to stop.
func TestWaitsEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{idle: true})
	contentID := s.write(t, "A film")
	r := request{method: "PUT", path: "contents/" + contentID + "/rating/", as: ada, body: `{"score":4}`,
		prefer: "wait=1"}
	first := s.do(t, r)
	if first.status != 202 || first.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("a wait for nothing: %s", first)
	}
	r.prefer = "wait=10"
	waiting := make(chan answer, 1)
	began := time.Now()
	go func() {
		a, err := s.send(t, r)
		if err != nil {
			t.Error(err)
		}
		waiting <- a
	}()
	testutil.Eventually(t, 30*time.Second, "the second is accepted", func() bool { return s.lag(t) == 2 })
	s.app.Drain()
	if a := <-waiting; a.status != 202 || time.Since(began) > 8*time.Second {
		t.Errorf("a wait that is ended: %s after %v", a, time.Since(began))
	}
	if a := s.do(t, request{path: first.text(t, "status_url"), as: ada, prefer: "wait=10"}); a.at(t,
		"state") != "PENDING" || time.Since(began) > 8*time.Second {
		t.Errorf("a wait while draining: %s after %v", a, time.Since(began))
	}
}

// TestWithdrawals follows what is deleted.
func TestWithdrawals(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		ratingID := s.rate(t, ada, contentID, 4)
		path := "ratings/" + ratingID + "/"
		a := s.do(t, request{method: "DELETE", path: path, as: sam, prefer: "respond-async"})
		if a.status != 202 || strings.Contains(string(a.body), `"rating"`) {
			t.Errorf("staff withdraws: %s", a)
		}
		status := a.header.Get("Location")
		done := s.do(t, request{path: status, as: sam, prefer: "wait=10"})
		if done.at(t, "state") != "SUCCESS" || done.text(t, "result.outcome") != "withdrawn" ||
			done.text(t, "result.rating") != ratingID {
			t.Errorf("its task: %s", done)
		}
		if a := s.get(t, ada, status); a.status != 404 {
			t.Errorf("the rater sees the task of who withdrew: %s", a)
		}
		s.runAll(t, []exchange{
			{"gone", request{path: path, as: ada}, 404, "not_found"},
			{"twice", request{method: "DELETE", path: path, as: ada}, 404, "not_found"},
			{"a change of what is gone", request{method: "PUT", path: path, as: ada, body: `{"score":4}`}, 404, "not_found"},
			{"own", request{method: "DELETE", path: "contents/" + contentID + "/rating/", as: ada}, 404, "not_found"},
			{"own of nothing", request{method: "PUT", path: "contents/none/rating/", as: ada, body: `{"score":4}`}, 404,
				"not_found"},
			{"own of nothing", request{path: "contents/none/rating/", as: ada}, 404, "not_found"},
			{"again", request{method: "PUT", path: "contents/" + contentID + "/rating/", as: ada, body: `{"score":2}`}, 201,
				""},
			{"and gone", request{method: "DELETE", path: path, as: ada}, 204, ""},
		})
		s.settle(t, contentID)
		if a := s.get(t, nobody, "contents/"+contentID+"/stats/"); a.at(t, "ratings_count") != 0.0 ||
			a.at(t, "average_score") != nil || a.at(t, "histogram.4") != 0.0 {
			t.Errorf("the numbers are %s", a)
		}
	})
}

// TestPendingWithdrawal: the rater does not see any more what was withdrawn, others do until it is
// stored.
func TestPendingWithdrawal(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		f := &faults{}
		s := serve(t, setup{open: open, config: f.into})
		contentID := s.write(t, "A film")
		path := "ratings/" + s.rate(t, ada, contentID, 4) + "/"
		f.apply.Store(content.ErrUnavailable)
		if a := s.do(t, request{method: "DELETE", path: path, as: ada, prefer: "respond-async"}); a.status != 202 {
			t.Fatalf("withdrawn: %s", a)
		}
		s.runAll(t, []exchange{
			{"the rater", request{path: path, as: ada}, 404, "not_found"},
			{"somebody else", request{path: path, as: ben}, 200, ""},
		})
		f.apply.Store(nil)
		testutil.Eventually(t, 30*time.Second, "it is withdrawn for all", func() bool {
			return s.get(t, ben, path).status == 404
		})
	})
}

// TestOutcomes checks what becomes of tasks whose message was overtaken, or whose content goes.
func TestOutcomes(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, idle: true})
		contentID, doomed := s.write(t, "A film"), s.write(t, "A doomed film")
		post := func(contentID string, score int) string {
			t.Helper()
			a := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":%d}`,
				contentID, score)})
			return a.header.Get("Location")
		}
		first, second, lost := post(contentID, 1), post(contentID, 2), post(doomed, 3)
		answers := make(chan string, 2)
		for _, r := range []request{
			{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":3}`, doomed)},
			{method: "PUT", path: "contents/" + doomed + "/rating/", body: `{"score":3}`},
		} {
			r.as, r.prefer = ben, "wait=10"
			go func() {
				a, err := s.send(t, r)
				answers <- fmt.Sprint(r.method, " ", a.status, " ", a.problem(), err)
			}()
			testutil.Eventually(t, 30*time.Second, "it is accepted", func() bool {
				return s.get(t, ben, "contents/"+doomed+"/rating/").status == 200
			})
		}
		// The second of the two above cannot be told from the first; a pending one of its own says
		// that it came, too.
		testutil.Eventually(t, 30*time.Second, "both are in the queue", func() bool { return s.lag(t) >= 5 })
		if err := s.app.Contents.Delete(t.Context(), actor.Actor{User: s.ids[ada]}, doomed); err != nil {
			t.Fatal(err)
		}
		if a := s.get(t, ada, "ratings/"+doomed+":"+s.ids[ada]+"/"); a.status != 404 {
			t.Errorf("a pending rating of what is gone: %s", a)
		}
		s.work()
		for link, want := range map[string][]string{first: {"SUCCESS", "superseded"}, second: {"SUCCESS", "created"},
			lost: {"FAILURE", ""}} {
			a := s.do(t, request{path: link, as: ada, prefer: "wait=10"})
			if a.at(t, "state") != want[0] || want[1] != "" && a.text(t, "result.outcome") != want[1] {
				t.Errorf("want %q: %s", want, a)
			}
			if want[0] == "FAILURE" && (a.text(t, "error.code") != "does_not_exist" || a.at(t, "result") != nil ||
				a.header.Get("Retry-After") != "") {
				t.Errorf("a failure: %s", a)
			}
		}
		got := map[string]bool{<-answers: true, <-answers: true}
		for _, want := range []string{"POST 400 validation_failed #/content=does_not_exist<nil>",
			"PUT 404 not_found<nil>"} {
			if !got[want] {
				t.Errorf("those who waited got %v, want %s", got, want)
			}
		}
	})
}

// TestTasks checks who sees them, for how long, and what is no task.
func TestTasks(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		cached := &forgetful{}
		cached.forget()
		s := serve(t, setup{open: open, idle: true, config: func(c *khodnevis.Config) { c.Cache = cached }})
		contentID := s.write(t, "A film")
		accepted := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":4}`,
			contentID)})
		link, task := accepted.header.Get("Location"), accepted.text(t, "task")
		cached.forget()
		s.runAll(t, []exchange{
			{"a pending rating that was forgotten", request{path: accepted.text(t, "rating.url"), as: ada}, 404, "not_found"},
			{"the task, still", request{path: link, as: ada}, 200, ""},
			{"somebody else's", request{path: link, as: ben}, 404, "not_found"},
			{"anonymously", request{path: link}, 401, "not_authenticated"},
			{"another letter", request{path: "tasks/" + task[:10] + flip(task[10]) + task[11:] + "/", as: ada}, 404,
				"not_found"},
			{"a letter less", request{path: "tasks/" + task[:len(task)-1] + "/", as: ada}, 404, "not_found"},
			{"a letter more", request{path: "tasks/" + task + "A/", as: ada}, 404, "not_found"},
			{"another form of the same", request{path: "tasks/" + task + "=/", as: ada}, 404, "not_found"},
		})
		if a := s.get(t, ada, link); a.at(t, "state") != "PENDING" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("still queued: %s", a)
		}
		s.work()
		if a := s.do(t, request{path: link, as: ada, prefer: "wait=10"}); a.at(t, "state") != "SUCCESS" {
			t.Errorf("stored: %s", a)
		}
		testutil.Eventually(t, 30*time.Second, "it is known how it was stored", func() bool {
			a := s.get(t, ada, link)
			return a.at(t, "attempts") == 1.0 && a.at(t, "started_at") != nil && a.at(t, "date_done") != nil
		})
		cached.forget()
		if a := s.get(t, ada, link); a.at(t, "state") != "SUCCESS" || a.text(t, "result.outcome") != "created" {
			t.Errorf("stored, and forgotten by the cache: %s", a)
		}
		s.clock.Advance(25 * time.Hour)
		s.login(t, ada)
		s.login(t, ben)
		s.runAll(t, []exchange{
			{"expired", request{path: link, as: ada}, 410, "task_expired"},
			{"expired, while waiting", request{path: link, as: ada, prefer: "wait=1"}, 410, "task_expired"},
			{"somebody else's, expired", request{path: link, as: ben}, 404, "not_found"},
		})
	})
}

func flip(b byte) string {
	if b == 'A' {
		return "B"
	}
	return "A"
}

// forgetful is a cache that can lose everything.
type forgetful struct {
	now atomic.Pointer[lrucache.Cache]
}

var _ cache.Cache = (*forgetful)(nil)

func (f *forgetful) forget() { f.now.Store(lrucache.New(lrucache.Config{})) }

func (f *forgetful) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	return f.now.Load().GetMany(ctx, keys)
}

func (f *forgetful) SetMany(ctx context.Context, items []cache.Item) error {
	return f.now.Load().SetMany(ctx, items)
}

func (f *forgetful) DeleteMany(ctx context.Context, keys []string) error {
	return f.now.Load().DeleteMany(ctx, keys)
}

// TestNumbers checks what ratings make of a content.
func TestNumbers(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		for i, name := range []string{ada, ben, sam} {
			s.rate(t, name, contentID, []int{5, 5, 4}[i])
		}
		a := s.get(t, nobody, "contents/"+contentID+"/stats/")
		sum := 0.0
		for _, n := range a.at(t, "histogram").(map[string]any) {
			sum += n.(float64)
		}
		if a.at(t, "ratings_count") != 3.0 || a.at(t, "sum") != 14.0 || a.at(t, "average_score") != 14.0/3 || sum != 3 ||
			a.at(t, "histogram.5") != 2.0 || a.at(t, "histogram.1") != 0.0 || a.at(t, "as_of") == nil {
			t.Errorf("the numbers are %s", a)
		}
		for _, path := range []string{"contents/" + contentID + "/", "contents/?author=" + s.ids[ada]} {
			a := s.get(t, nobody, path)
			at := ""
			if strings.Contains(path, "?") {
				at = "results.0."
			}
			if a.at(t, at+"average_score") != 14.0/3 || a.at(t, at+"ratings_count") != 3.0 {
				t.Errorf("%s: %s", path, a)
			}
		}
		if a := s.do(t, request{method: "DELETE", path: "contents/" + contentID + "/", as: sam}); a.status != 204 {
			t.Errorf("staff deletes: %s", a)
		}
		for _, path := range []string{"contents/" + contentID + "/", "contents/" + contentID + "/stats/", "ratings/" +
			contentID + ":" + s.ids[ada] + "/"} {
			if a := s.get(t, ada, path); a.status != 404 {
				t.Errorf("%s of what is gone: %s", path, a)
			}
		}
		if a := s.do(t, request{method: "DELETE", path: "contents/" + contentID + "/", as: ada}); a.status != 404 {
			t.Errorf("deleted twice: %s", a)
		}
		if a := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":5}`,
			contentID)}); a.problem() != "validation_failed #/content=does_not_exist" {
			t.Errorf("a rating of what is gone: %s", a)
		}
	})
}
