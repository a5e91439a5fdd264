package rating_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
)

// hooked returns a world whose ratings take these hooks along, and its log.
func hooked(t *testing.T, hooks rating.Hooks) (*world, *testutil.Log) {
	w, log := newWorld(t, nil), &testutil.Log{}
	w.cfg.Hooks, w.cfg.Logger = hooks, slog.New(slog.NewTextHandler(log, nil))
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	return w, log
}

// reports keeps what AfterApply is told.
type reports struct {
	mu  sync.Mutex
	all []rating.Rating
}

func (r *reports) hear(_ context.Context, applied []rating.Rating) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, applied...)
	return nil
}

func (r *reports) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, x := range r.all {
		all = append(all, fmt.Sprint(x.Rater, " ", x.Score, " ", x.Result))
	}
	return all
}

// await waits until it has been told of n changes.
func (r *reports) await(t *testing.T, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if all := r.list(); len(all) >= n {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("told of %q, want %d changes", r.list(), n)
		}
	}
}

// What is wrong anyway is not asked about; what is asked about is the whole submission.
func TestBeforeHooksComeLast(t *testing.T) {
	t.Parallel()
	var calls []string
	w, _ := hooked(t, rating.Hooks{
		BeforeSubmit: func(ctx context.Context, actor actor.Actor, sub rating.Submission) error {
			calls = append(calls, fmt.Sprint("submit ", actor.User, " ", sub.Score, " ", httpapi.RequestID(ctx)))
			return nil
		},
		BeforeWithdraw: func(_ context.Context, actor actor.Actor, key rating.Key) error {
			calls = append(calls, fmt.Sprint("withdraw ", actor.User, " ", key.Rater, " ", actor.Staff))
			return nil
		},
	})
	c := w.content()
	for _, sub := range []rating.Submission{{Content: c.ID, Score: 9}, {Content: "none", Score: 3}} {
		if _, err := w.ratings.Submit(t.Context(), actor.Actor{User: "u"}, sub); err == nil {
			t.Errorf("%+v is accepted", sub)
		}
	}
	key := rating.Key{Content: c.ID, Rater: "u"}
	if _, err := w.ratings.Withdraw(t.Context(), actor.Actor{User: "u"}, key); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("nothing is there: %v", err)
	}
	ctx := httpapi.WithRequestID(t.Context(), "r1")
	check(w.ratings.Submit(ctx, actor.Actor{User: "u"}, rating.Submission{Content: c.ID, Score: 3}))(t)
	if _, err := w.ratings.Withdraw(t.Context(), actor.Actor{User: "v"}, key); err == nil {
		t.Error("another one withdraws it")
	}
	w.work()
	for { // staff see it once it is stored
		_, err := w.ratings.Withdraw(t.Context(), actor.Actor{User: "s", Staff: true}, key)
		if err == nil {
			break
		}
		if !errors.Is(err, rating.ErrNotFound) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if want := []string{"submit u 3 r1", "withdraw s u true"}; !slices.Equal(calls, want) {
		t.Errorf("asked about %q, want %q", calls, want)
	}
}

// Whatever a before-hook does but agree, nothing is published.
func TestBeforeHooksDecide(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func() error
		is     func(error) bool
	}{
		"refuses": {func() error { return &rating.Refusal{Status: 403, Code: "not_seen"} }, func(err error) bool {
			var r *rating.Refusal
			return errors.As(err, &r) && r.Code == "not_seen"
		}},
		"cannot tell": {func() error { return rating.ErrUnavailable }, func(err error) bool {
			return errors.Is(err, rating.ErrUnavailable)
		}},
		"fails": {func() error { return errors.New("boom") }, func(err error) bool {
			return strings.Contains(err.Error(), "boom")
		}},
		"seems not to know": {func() error { return rating.ErrNotFound }, func(err error) bool {
			return !errors.Is(err, rating.ErrNotFound)
		}},
		"panics": {func() error { panic("boom") }, func(err error) bool {
			return strings.Contains(err.Error(), "boom")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := hooked(t, rating.Hooks{
				BeforeSubmit:   func(context.Context, actor.Actor, rating.Submission) error { return tt.answer() },
				BeforeWithdraw: func(context.Context, actor.Actor, rating.Key) error { return tt.answer() },
			})
			c := w.content()
			key := rating.Key{Content: c.ID, Rater: "u"}
			stored := rating.Change{Key: key, Version: rating.Version{Epoch: 1, Offset: 1}, Score: 4, At: c.CreatedAt}
			check(w.store.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{stored}}))(t)
			_, err := w.ratings.Submit(t.Context(), actor.Actor{User: "u"}, rating.Submission{Content: c.ID, Score: 3})
			if err == nil || !tt.is(err) {
				t.Errorf("submit: %v", err)
			}
			if _, err := w.ratings.Withdraw(t.Context(), actor.Actor{User: "u"}, key); err == nil || !tt.is(err) {
				t.Errorf("withdraw: %v", err)
			}
			if n := check(w.queue.Lag(t.Context()))(t); n != 0 {
				t.Errorf("%d messages are published", n)
			}
			r, pending, err := w.ratings.Get(t.Context(), actor.Actor{User: "u"}, key)
			if err != nil || pending || r.Score != 4 {
				t.Errorf("the rating is %+v, pending %v, %v", r, pending, err)
			}
		})
	}
}

// After-hooks hear of what is committed: each change once in a quiet world, and none that was
// superseded or rejected.
func TestAfterApply(t *testing.T) {
	t.Parallel()
	heard := &reports{}
	var w *world
	w, _ = hooked(t, rating.Hooks{AfterApply: func(ctx context.Context, applied []rating.Rating) error {
		for _, r := range applied { // committed means that it can be read
			found := check(w.store.RatingsByKey(ctx, []rating.Key{r.Key}))(t)
			if len(found) != 1 || found[0].Version.Compare(r.Version) < 0 {
				t.Errorf("told of %+v, stored is %+v", r, found)
			}
		}
		return heard.hear(ctx, applied)
	}})
	c, gone := w.content(), w.content()
	w.submit("b", c.ID, 1) // superseded in the batch
	w.submit("b", c.ID, 2)
	w.submit("a", c.ID, 5)
	w.submit("a", gone.ID, 5)
	if err := w.contents.Delete(t.Context(), actor.Actor{User: "author"}, gone.ID); err != nil {
		t.Fatal(err)
	}
	w.work()
	if got, want := heard.await(t, 2), []string{"a 5 created", "b 2 created"}; !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
	w.await(w.submit("a", c.ID, 4).Task)
	heard.await(t, 3)
	w.await(w.submit("a", c.ID, 4).Task)
	heard.await(t, 4)
	check(w.ratings.Withdraw(t.Context(), actor.Actor{User: "a"}, rating.Key{Content: c.ID, Rater: "a"}))(t)
	got, want := heard.await(t, 5)[2:], []string{"a 4 updated", "a 4 unchanged", "a 0 withdrawn"}
	if !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
}

// amnesiac delivers its first batch twice, as a queue does that did not hear that it was stored.
type amnesiac struct{ queue.Consumer }

func (a amnesiac) Consume(ctx context.Context, limit int, h queue.Handler) error {
	first := true
	return a.Consumer.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
		if first {
			first = false
			if err := h(ctx, batch); err != nil {
				return err
			}
		}
		return h(ctx, batch)
	})
}

// A batch that comes again is reported again, with the same versions and results.
func TestAfterApplyAtLeastOnce(t *testing.T) {
	t.Parallel()
	heard := &reports{}
	w, _ := hooked(t, rating.Hooks{AfterApply: heard.hear})
	c := w.content()
	w.submit("a", c.ID, 5)
	worker := must(worker.New(must(worker.NewRecalculator(w.ratings, w.store)), amnesiac{w.queue}, w.contents))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = worker.Run(ctx) })
	got := heard.await(t, 2)
	cancel()
	running.Wait()
	if !slices.Equal(got, []string{"a 5 created", "a 5 created"}) || heard.all[0] != heard.all[1] {
		t.Errorf("told of %+v", heard.all)
	}
}

// An after-hook that fails or panics is logged: the ratings are stored, the worker goes on, and it
// is not called again for them.
func TestAfterApplyFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"fails":  func() error { return errors.New("boom") },
		"panics": func() error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard := &reports{}
			w, log := hooked(t, rating.Hooks{AfterApply: func(ctx context.Context, applied []rating.Rating) error {
				_ = heard.hear(ctx, applied)
				return fail()
			}})
			w.work()
			c := w.content()
			for i := range 3 {
				// The attempts are 0 if the store knows of the rating before the worker has published the result.
				if done := w.await(w.submit("a", c.ID, i+1).Task); done.State != task.Success || done.Attempts > 1 {
					t.Errorf("the task is %+v", done)
				}
			}
			if got, want := heard.await(t, 3), []string{"a 1 created", "a 2 updated", "a 3 updated"}; !slices.Equal(got, want) {
				t.Errorf("told of %q, want %q", got, want)
			}
			testutil.Eventually(t, 20*time.Second, "three failures are logged", func() bool {
				return log.Count("hook=rating.AfterApply") >= 3
			})
		})
	}
}

// The context of a hook ends after 2 s: until then a hook that heeds it delays a submission, or a
// worker with each batch.
func TestSlowHooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := hooked(t, rating.Hooks{BeforeSubmit: func(ctx context.Context, actor actor.Actor, _ rating.Submission) error {
			if actor.User != "slow" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, AfterApply: func(ctx context.Context, _ []rating.Rating) error { <-ctx.Done(); return ctx.Err() }})
		c := w.content()
		began := time.Now()
		_, err := w.ratings.Submit(t.Context(), actor.Actor{User: "slow"}, rating.Submission{Content: c.ID, Score: 3})
		if took := time.Since(began); !errors.Is(err, rating.ErrUnavailable) || took != 2*time.Second {
			t.Errorf("before: %v after %v", err, took)
		}
		worker := must(worker.New(must(worker.NewRecalculator(w.ratings, w.store)), w.queue, w.contents))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = worker.Run(ctx) })
		began = time.Now()
		for range 3 {
			w.await(w.submit("a", c.ID, 3).Task)
		}
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second { // the clock of synctest
			t.Errorf("three batches took %v", took)
		}
		cancel()
		running.Wait()
	})
}

// A message has the identifier of the request that its context carries.
func TestMessagesHaveTheRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	ctx, cancel := context.WithCancel(httpapi.WithRequestID(t.Context(), "r1"))
	defer cancel()
	check(w.ratings.Submit(ctx, actor.Actor{User: "u"}, rating.Submission{Content: c.ID, Score: 3}))(t)
	check(w.ratings.Withdraw(ctx, actor.Actor{User: "u"}, rating.Key{Content: c.ID, Rater: "u"}))(t)
	check(w.ratings.Recalculate(ctx, actor.Actor{User: "s", Staff: true}, c.ID))(t)
	seen := 0
	err := w.queue.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
		for _, d := range batch {
			if seen++; d.Header["request-id"] != "r1" {
				t.Errorf("the message %s has the header %v", d.Body, d.Header)
			}
		}
		if seen == 3 {
			cancel()
		}
		return nil
	})
	if seen != 3 {
		t.Errorf("%d messages, %v", seen, err)
	}
}
