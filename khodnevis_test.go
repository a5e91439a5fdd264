package khodnevis_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// The whole life of a rating, without HTTP: accepted, stored, counted.
func Example() {
	app, err := khodnevis.New(khodnevis.Config{}) // everything in memory
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = app.Run(ctx) })

	film, _ := app.Contents.Create(ctx, "ana", content.Draft{Title: "Stalker"})
	receipt, _ := app.Ratings.Submit(ctx, actor.Actor{User: "ben"}, rating.Submission{Content: film.ID, Score: 5})
	task, _ := app.Ratings.Wait(ctx, actor.Actor{User: "ben"}, receipt.Task.ID)
	stats, _ := app.Ratings.Stats(ctx, []string{film.ID})
	average, _ := stats[film.ID].Average()
	fmt.Println(task.State, task.Result.Outcome, average)

	cancel()
	running.Wait()
	// Output: SUCCESS created 5
}

// A user of the host leaves: the rating stays in the numbers, and is nobody's.
func Example_forget() {
	app, err := khodnevis.New(khodnevis.Config{Authenticator: nobody{}, RatedContents: everything{}})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = app.Run(ctx) })

	ben := actor.Actor{User: "ben"}
	receipt, _ := app.Ratings.Submit(ctx, ben, rating.Submission{Content: "post-17", Score: 5})
	_, _ = app.Ratings.Wait(ctx, ben, receipt.Task.ID)
	if err := app.Ratings.Erase(ctx, "ben", rating.EraseAnonymize); err != nil {
		panic(err)
	}
	_, _, err = app.Ratings.Get(ctx, ben, receipt.Rating.Key)
	stats, _ := app.Ratings.Stats(ctx, []string{"post-17"})
	fmt.Println(err, stats["post-17"].Count)

	cancel()
	running.Wait()
	// Output: rating: not found 1
}

func TestConfigReportsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := khodnevis.New(khodnevis.Config{Recalculate: "0 0 30 2 *", Recount: "nonsense", Workers: 65,
		Scale: score.Scale{Min: 5, Max: 1}, Batch: -1, Prefix: "api",
		Auth: auth.Config{
			PasswordMin: 3,
		}, Limits: httpapi.Limits{Reads: -1},
		RatedContents: everything{}, Hooks: khodnevis.Hooks{Contents: content.Hooks{
			BeforeCreate: func(context.Context, content.Content) error { return nil }}}})
	if err == nil {
		t.Fatal("it is accepted")
	}
	for _, want := range []string{"never due", "nonsense", "Workers", "scale", "Batch", "Prefix", "PasswordMin",
		"Limits.Reads", "Hooks.Contents"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"TZ=UTC", "CRON_TZ=Europe/Rome 0 3 * * *", "@every 10ms", "@every 1500ms", "@every",
		"0 0 31 2 *", "* * * * * *", ""} {
		if spec == "" {
			continue // the default
		}
		if _, err := khodnevis.New(khodnevis.Config{Recalculate: spec}); err == nil {
			t.Errorf("%q is accepted", spec)
		}
	}
	for _, spec := range []string{"@every 1s", "@every 30s", "@hourly", "*/5 * * * *", "30 2 * * 0"} {
		if _, err := khodnevis.New(khodnevis.Config{Recalculate: spec}); err != nil {
			t.Errorf("%q is refused: %v", spec, err)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	app, err := khodnevis.New(khodnevis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Ready(); err != nil {
		t.Errorf("a new App is not ready: %v", err)
	}
	app.Drain()
	app.Drain() // twice is fine
	if app.Ready() == nil {
		t.Error("a drained App is ready")
	}
}

// Run ends with its context, again and again, and leaves nothing behind that the race detector or
// the next run could trip over.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	app, err := khodnevis.New(khodnevis.Config{Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- app.Run(ctx) }()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Run does not end with its context")
		}
	}
}

// Run removes what the services need no more.
func TestRunSweeps(t *testing.T) {
	t.Parallel()
	kept := sweptStore{memstore.New(memstore.Config{}), make(chan string, 2)}
	app, err := khodnevis.New(khodnevis.Config{Store: kept})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()
	swept := map[string]bool{}
	for range 2 {
		select {
		case what := <-kept.swept:
			swept[what] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("only %v are swept", swept)
		}
	}
	cancel()
	if err := <-ended; err != nil || !swept["creations"] || !swept["sessions"] {
		t.Errorf("%v are swept, and Run ended with %v", swept, err)
	}
}

// sweptStore tells of the first sweeps.
type sweptStore struct {
	store.Store
	swept chan string
}

func (s sweptStore) tell(what string) {
	select {
	case s.swept <- what:
	default:
	}
}

func (s sweptStore) SweepIdempotencyRecords(context.Context, time.Time, int) (int, error) {
	s.tell("creations")
	return 0, nil
}

func (s sweptStore) SweepSessions(context.Context, time.Time, int) (int, error) {
	s.tell("sessions")
	return 0, nil
}

// A host that brings its own contents and users gets ratings alone.
func TestHostRoutes(t *testing.T) {
	t.Parallel()
	app, err := khodnevis.New(khodnevis.Config{Authenticator: nobody{}, RatedContents: everything{},
		Prefix: "/blog/api/"})
	if err != nil {
		t.Fatal(err)
	}
	if app.Users != nil || app.Contents != nil {
		t.Error("the host's own things are there twice")
	}
	for path, want := range map[string]int{"/blog/api/ratings/": 200, "/blog/api/contents/": 404,
		"/blog/api/contents/post-17/stats/": 200, "/blog/api/users/": 404, "/api/ratings/": 200} {
		w := httptest.NewRecorder()
		app.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d", path, w.Code, want)
		}
	}
}
