package rating_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
)

// L1: those past the bound of callers that wait are answered at once, and the next one waits again
// when one of them goes.
func TestTooManyWaiters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil) // without a worker, no accepted is ever done
	w.cfg.Waiters = 2
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	accepted, ben := w.submit("ben", w.content().ID, 4).Task, actor.Actor{User: "ben"}
	long, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	first, leave := context.WithCancel(long)
	var all sync.WaitGroup
	wait := func(ctx context.Context) {
		all.Go(func() {
			if got, err := w.ratings.Wait(ctx, ben, accepted.ID); err != nil || got.State != task.Pending {
				t.Errorf("the end of a wait: %v, %v", got.State, err)
			}
		})
	}
	waiting := func(n int) {
		t.Helper()
		for w.ratings.Waiting() != n {
			if long.Err() != nil {
				t.Fatalf("%d wait, want %d", w.ratings.Waiting(), n)
			}
			runtime.Gosched()
		}
	}
	wait(first)
	wait(long)
	waiting(2)
	for range 3 {
		if got, err := w.ratings.Wait(long, ben, accepted.ID); err != nil || got.State != task.Pending || long.Err() != nil {
			t.Errorf("one too many: %v, %v, after it %v", got.State, err, long.Err())
		}
	}
	leave()
	waiting(1)
	wait(long)
	waiting(2)
	end()
	all.Wait()
}

// tardy is a context whose deadline passes some time before it is done, as on a machine that is
// busy.
type tardy struct {
	context.Context
	end time.Time
}

func (c tardy) Deadline() (time.Time, bool) { return c.end, true }

// A look at the task that the end of the wait cuts off is no error: the caller gets what was seen
// before.
func TestEndOfAWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.cfg.Cache = nil // so that the store is asked while it waits
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	accepted := w.submit("ben", w.content().ID, 4).Task
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := w.ratings.Wait(tardy{ctx, time.Now().Add(400 * time.Millisecond)}, actor.Actor{User: "ben"}, accepted.ID)
	if err != nil || got.State != task.Pending || ctx.Err() != nil {
		t.Errorf("the task is %s, %v; after it %v", got.State, err, ctx.Err())
	}
}
