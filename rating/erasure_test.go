package rating_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
	"github.com/khodnevis/khodnevis/store"
)

// settle stores everything that was accepted so far, and folds the scores, so that nothing changes
// by itself any more.
func (w *world) settle() {
	w.t.Helper()
	recalculator := must(worker.NewRecalculator(w.ratings, w.store))
	worker := must(worker.New(recalculator, w.queue, w.contents))
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = worker.Run(ctx) })
	defer func() {
		cancel()
		wg.Wait()
		check(recalculator.RefreshScores(w.t.Context()))(w.t)
	}()
	deadline := time.After(20 * time.Second)
	for w.lag() > 0 {
		select {
		case <-deadline:
			w.t.Fatalf("%d messages are not stored", w.lag())
		case <-time.After(time.Millisecond):
		}
	}
}

func (w *world) lag() int64 {
	w.t.Helper()
	return check(w.queue.Lag(w.t.Context()))(w.t)
}

func (w *world) followUp() int {
	w.t.Helper()
	return check(w.ratings.ResumeErasures(w.t.Context(), time.Time{}))(w.t)
}

// exact recounts, and compares the numbers of a content.
func (w *world) exact(contentID string, count, sum int64) {
	w.t.Helper()
	stats := check(w.store.StatsByContent(w.t.Context(), []string{contentID}))(w.t)
	if len(stats) != 1 || stats[0].Count != count || stats[0].Sum != sum {
		w.t.Errorf("the numbers are %+v, want %d ratings that add up to %d", stats, count, sum)
	}
	if drift := check(w.store.Recount(w.t.Context(), []string{contentID}))(w.t); len(drift) > 0 {
		w.t.Errorf("a recount found %+v", drift)
	}
}

// of returns the stored ratings of a content that are u's, and those that are nobody's.
func (w *world) of(contentID, u string) (own, anonymous []rating.Rating) {
	w.t.Helper()
	for _, r := range check(w.store.ListRatings(w.t.Context(),
		rating.Query{Filter: rating.Filter{Content: contentID}, Limit: 1000}))(w.t) {
		switch {
		case r.Rater == u:
			own = append(own, r)
		case strings.HasPrefix(r.Rater, "anonymous-"):
			anonymous = append(anonymous, r)
		}
	}
	return own, anonymous
}

func (w *world) forget(u string, fate rating.ErasureMode) {
	w.t.Helper()
	if err := w.ratings.Erase(w.t.Context(), u, fate); err != nil {
		w.t.Fatal(err)
	}
}

// A25: the ratings of who leaves are gone or nobody's, and the numbers are exact either way.
func TestErase(t *testing.T) {
	t.Parallel()
	for fate, want := range map[rating.ErasureMode]struct{ count, sum int64 }{rating.EraseDelete: {1, 2},
		rating.EraseAnonymize: {2, 6}} {
		t.Run(string(fate), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			var contents []string
			for range 3 {
				c := w.content()
				contents = append(contents, c.ID)
				w.submit("u", c.ID, 4)
				w.submit("v", c.ID, 2)
			}
			w.settle()
			before := w.stats(contents[0])
			w.forget("u", fate)
			if lag := w.lag(); lag != 3 {
				t.Errorf("%d withdrawals are in the queue, want 3", lag)
			}
			if _, _, err := w.ratings.Get(t.Context(), actor.Actor{User: "u"},
				rating.Key{Content: contents[0], Rater: "u"}); !errors.Is(err, rating.ErrNotFound) {
				t.Errorf("who left still reads the rating: %v", err)
			}
			w.settle()
			names := map[string]bool{}
			for _, id := range contents {
				w.exact(id, want.count, want.sum)
				own, anonymous := w.of(id, "u")
				if len(own) > 0 || len(anonymous) != int(want.count)-1 {
					t.Errorf("left are %+v and %+v", own, anonymous)
				}
				for _, r := range anonymous {
					if _, ok := rating.ParseKey(r.Key.String()); !ok || r.Score != 4 || names[r.Rater] {
						t.Errorf("handed over was %+v", r)
					}
					names[r.Rater] = true
				}
			}
			if after := w.stats(contents[0]); fate == rating.EraseAnonymize && after.Revision != before.Revision {
				t.Errorf("the numbers went from %+v to %+v", before, after)
			}
			w.forget("u", fate) // twice is fine
			w.settle()
			w.exact(contents[0], want.count, want.sum)
		})
	}
}

// Ratings that were accepted before the rater left, and stored after, are found later; the last
// score counts.
func TestErasePendingRatings(t *testing.T) {
	t.Parallel()
	for fate, want := range map[rating.ErasureMode]struct{ count, sum int64 }{rating.EraseDelete: {0, 0},
		rating.EraseAnonymize: {1, 2}} {
		t.Run(string(fate), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			changed, fresh := w.content().ID, w.content().ID
			w.submit("u", changed, 5)
			w.settle()
			w.submit("u", changed, 2)
			w.submit("u", fresh, 2)
			w.forget("u", fate)
			w.settle() // the change and its withdrawal meet in one batch
			w.exact(changed, want.count, want.sum)
			w.exact(fresh, 1, 2)
			if n := w.followUp(); n != 1 {
				t.Errorf("%d withdrawals follow, want 1", n)
			}
			w.settle()
			for _, id := range []string{changed, fresh} {
				w.exact(id, want.count, want.sum)
				if own, _ := w.of(id, "u"); len(own) > 0 {
					t.Errorf("left is %+v", own)
				}
			}
			if n := w.followUp(); n != 0 {
				t.Errorf("%d withdrawals follow when all is done", n)
			}
		})
	}
}

// What is on its way is not withdrawn again, unless that is forgotten; then it does no harm.
func TestFollowUpAgain(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	c := w.content().ID
	w.submit("u", c, 4)
	w.settle()
	w.forget("u", rating.EraseAnonymize)
	if n := w.followUp(); n != 0 {
		t.Errorf("%d withdrawals of what is on its way", n)
	}
	w.wipe()
	if n := w.followUp(); n != 1 {
		t.Errorf("%d withdrawals of what is forgotten to be on its way, want 1", n)
	}
	w.settle()
	w.exact(c, 1, 4)
	if _, anonymous := w.of(c, "u"); len(anonymous) != 1 {
		t.Errorf("left are %+v", anonymous)
	}
}

// A queue that is down delays what was asked for, and only that.
func TestEraseWithoutQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content().ID
	w.submit("u", c, 4)
	w.submit("v", c, 3)
	w.settle()
	working := w.ratings
	w.ratings = must(rating.New(w.store, refusing{queue.ErrNotAccepted}, w.contents, w.cfg))
	w.forget("u", rating.EraseDelete)
	if _, err := w.ratings.ResumeErasures(t.Context(), time.Time{}); !errors.Is(err, rating.ErrUnavailable) {
		t.Errorf("the queue is down, and ResumeErasures returns %v", err)
	}
	w.exact(c, 2, 7)
	w.ratings = working
	w.followUp()
	w.settle()
	w.exact(c, 1, 3)
}

// A rater with more ratings than are looked at together, and many who left.
func TestFollowUpPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ratings := rating.Batch{}
	const many = 1203
	for i := range many {
		ratings.Changes = append(ratings.Changes, rating.Change{Key: rating.Key{Content: fmt.Sprintf("c%d", i), Rater: "u"},
			Version: rating.Version{Offset: int64(i)}, Score: 3, At: w.now().UTC().Truncate(time.Microsecond)})
	}
	check(w.store.ApplyRatings(t.Context(), ratings))(t)
	for i := range 250 {
		w.forget(fmt.Sprintf("gone%d", i), rating.EraseAnonymize)
	}
	d := rating.Erasure{Rater: "u", Mode: rating.EraseDelete, At: w.now().UTC().Truncate(time.Microsecond)}
	if err := w.store.RecordErasure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if n, err := w.ratings.ResumeErasures(t.Context(), d.At.Add(time.Minute)); n != 0 || err != nil {
		t.Errorf("of those who leave in a minute %d ratings are withdrawn, %v", n, err)
	}
	if n := w.followUp(); n != many {
		t.Errorf("%d are withdrawn, want %d", n, many)
	}
	if lag := w.lag(); lag != many {
		t.Errorf("%d withdrawals are in the queue", lag)
	}
}

func TestEraseValidates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for field, err := range map[string]error{
		"ratings": w.ratings.Erase(t.Context(), "u", "burn"),
		"rater":   w.ratings.Erase(t.Context(), "a b", rating.EraseDelete),
	} {
		var bad *rating.ValidationError
		if !errors.As(err, &bad) || bad.Fields[0].Name != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if all := check(w.store.Erasures(t.Context(), time.Time{}, "", 10))(t); len(all) > 0 {
		t.Errorf("recorded are %+v", all)
	}
	// What another release has written is left for it, and keeps nobody else's from being followed.
	c := w.content().ID
	w.submit("u", c, 4)
	w.settle()
	for rater, fate := range map[string]rating.ErasureMode{"another": "burn", "u": rating.EraseDelete} {
		if err := w.store.RecordErasure(t.Context(), rating.Erasure{Rater: rater, Mode: fate, At: w.now()}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.ratings.ResumeErasures(t.Context(), time.Time{}); n != 1 || err == nil {
		t.Errorf("%d withdrawals, %v", n, err)
	}
}

// unclaimed is a store whose ticks are all somebody else's, and that says when one is asked for.
type unclaimed struct {
	store.Store
	asked chan string
}

func (s unclaimed) ClaimLease(_ context.Context, job string, _ time.Time, _ time.Duration) (bool, error) {
	s.asked <- job
	return false, nil
}

// RunErasures claims the leases of its job, and ends with its context.
func TestRunErasures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	u := unclaimed{w.store, make(chan string)}
	// a millisecond before a tick, always
	w.cfg.Now = func() time.Time { return time.Date(2026, 11, 23, 9, 59, 29, 999_000_000, time.UTC) }
	ratings := must(rating.New(u, memqueue.New(memqueue.Config{}), w.contents, w.cfg))
	recalculator := must(worker.NewRecalculator(ratings, u))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- recalculator.RunErasures(ctx) }()
	if job := <-u.asked; job != task.Erase {
		t.Errorf("it asks for %s", job)
	}
	cancel()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-u.asked:
		}
	}
}

// deleting are contents of a host, who deletes them all at once.
type deleting struct{ gone atomic.Bool }

func (h *deleting) Rateable(_ context.Context, ids []string) ([]string, error) {
	if h.gone.Load() {
		return nil, nil
	}
	return ids, nil
}

// A content that its host has deleted leaves nothing behind, and what is on its way is refused.
func TestEraseContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var h deleting
	w.ratings = must(rating.New(w.store, w.queue, &h, w.cfg))
	const film = "film-1"
	first := w.submit("rater", film, 4).Task
	worker := must(worker.New(must(worker.NewRecalculator(w.ratings, w.store)), w.queue, &h))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	work := func() { running.Go(func() { _ = worker.Run(ctx) }) }
	work()
	w.await(first)
	cancel()
	running.Wait()
	if got := w.stats(film); got.Count != 1 {
		t.Fatalf("%d ratings", got.Count)
	}
	late := w.submit("another", film, 5).Task // and no worker runs
	h.gone.Store(true)
	for range 2 {
		if err := w.ratings.EraseContent(t.Context(), film); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.stats(film); got.Count != 0 {
		t.Errorf("%d ratings are left", got.Count)
	}
	for _, rater := range []string{"rater", "another"} {
		if _, _, err := w.ratings.Get(t.Context(), actor.Actor{User: rater},
			rating.Key{Content: film, Rater: rater}); !errors.Is(err, rating.ErrNotFound) {
			t.Errorf("the rating of %s: %v", rater, err)
		}
	}
	h.gone.Store(false) // a host that still knows it, by mistake
	ctx, cancel = context.WithCancel(t.Context())
	defer func() { cancel(); running.Wait() }()
	work()
	if done := w.await(late); done.State != task.Failure || done.Error.Code != task.CodeNoContent {
		t.Errorf("what was on its way: %+v", done)
	}
	var bad *rating.ValidationError
	if err := w.ratings.EraseContent(t.Context(), "no identifier"); !errors.As(err, &bad) {
		t.Errorf("no identifier: %v", err)
	}
}
