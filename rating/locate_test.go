package rating_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
)

// retaining is a queue that deletes everything before an offset, as Kafka does with what is too
// old. It may fail to tell.
type retaining struct {
	*memqueue.Queue
	start  atomic.Int64
	failed atomic.Bool
	asked  atomic.Int64
}

func (r *retaining) Locate(ctx context.Context, key string, at queue.Position) (queue.Standing, error) {
	r.asked.Add(1)
	if r.failed.Load() {
		return queue.Unknown, errors.New("silent")
	}
	if at.Offset < r.start.Load() {
		return queue.Deleted, nil
	}
	return r.Queue.Locate(ctx, key, at)
}

// newRetaining returns a world without a worker whose queue may delete.
func newRetaining(t *testing.T) (*world, *retaining) {
	w := newForgetful(t)
	q := &retaining{Queue: w.queue}
	w.ratings = must(rating.New(w.store, q, w.contents, w.cfg))
	return w, q
}

// A rating that the queue deleted before a worker stored it is lost, and its task says so, whatever
// the cache remembers. Its rater does not see it as pending any longer. One that was stored, or
// superseded, before it was deleted is not lost.
func TestExpiredUnread(t *testing.T) {
	t.Parallel()
	w, q := newRetaining(t)
	c := w.content()
	ada, ben := actor.Actor{User: "ada"}, actor.Actor{User: "ben"}
	lost, kept := w.submit("ada", c.ID, 4), w.submit("ben", c.ID, 2)
	q.start.Store(1)
	w.offset.Add(int64(2 * time.Minute)) // the cache is believed for a while
	for _, remembered := range []bool{true, false} {
		accepted, err := w.ratings.Task(t.Context(), ada, lost.Task.ID)
		if err != nil || accepted.State != task.Failure || accepted.Error == nil || accepted.Error.Code != task.CodeExpired {
			t.Errorf("remembered %v: the task is %+v, %v", remembered, accepted, err)
		}
		if _, _, err := w.ratings.Get(t.Context(), ada, lost.Rating.Key); !errors.Is(err, rating.ErrNotFound) {
			t.Errorf("remembered %v: its rating: %v", remembered, err)
		}
		if accepted := w.task(kept.Task); accepted.State != task.Pending {
			t.Errorf("remembered %v: one that is not deleted is %s", remembered, accepted.State)
		}
		if remembered {
			if _, pending, err := w.ratings.Get(t.Context(), ben, kept.Rating.Key); !pending || err != nil {
				t.Errorf("one that is not deleted: pending %v, %v", pending, err)
			}
		}
		w.wipe()
	}
}

func TestDeletedAfterItWasStored(t *testing.T) {
	t.Parallel()
	w, q := newRetaining(t)
	c := w.content()
	first, second := w.submit("ada", c.ID, 4), w.submit("ada", c.ID, 5)
	w.work()
	if done := w.await(second.Task); done.State != task.Success {
		t.Fatalf("the second is %s", done.State)
	}
	q.start.Store(2)
	w.offset.Add(int64(2 * time.Minute))
	w.wipe()
	for i, want := range []rating.Result{rating.Superseded, rating.Created} {
		if accepted := w.task([]rating.Receipt{first, second}[i].Task); accepted.State != task.Success ||
			accepted.Result.Outcome != string(want) {
			t.Errorf("task %d is %s, %+v, want %s", i, accepted.State, accepted.Result, want)
		}
	}
}

// A queue that does not tell what became of a message leaves tasks as they are, and is not asked by
// each request.
func TestQueueDoesNotReportItsAge(t *testing.T) {
	t.Parallel()
	w, q := newRetaining(t)
	accepted := w.submit("ada", w.content().ID, 4).Task
	q.failed.Store(true)
	w.wipe()
	for range 10 {
		if got := w.task(accepted); got.State != task.Pending {
			t.Errorf("the task is %s", got.State)
		}
	}
	if n := q.asked.Load(); n > 2 { // a second may pass
		t.Errorf("the queue was asked %d times", n)
	}
}

// The queue is not asked about what has just been accepted.
func TestQueueIsNotAskedAboutYoungTasks(t *testing.T) {
	t.Parallel()
	w, q := newRetaining(t)
	accepted := w.submit("ada", w.content().ID, 4).Task
	w.known("a young task", actor.Actor{User: "ada"}, accepted.ID)
	if n := q.asked.Load(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// Nothing was published beyond the end of the log, so nobody can have been given a task there. Once
// something is, it counts.
func TestTaskBeyondTheEndOfTheLog(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	own := w.submit("ada", w.content().ID, 4).Task
	ada, boss := actor.Actor{User: "ada"}, actor.Actor{User: "boss", Staff: true}
	beyond := func(n int64) string {
		return forge(own.ID, func(t *taskid.Ticket) { t.Position.Offset += n })
	}
	for _, n := range []int64{1, 2, 1 << 40} {
		w.unknown("a task beyond the end", ada, beyond(n))
		w.unknown("a task beyond the end", boss, beyond(n))
	}
	w.unknown("a recalculation beyond the end", boss, forge(own.ID, func(t *taskid.Ticket) {
		t.Op, t.Content, t.Rater, t.By, t.Position.Offset = event.Recalculate, w.content().ID, "", "boss", 1
	}))
	w.submit("ben", w.content().ID, 4)
	w.known("a task that was beyond the end", ada, beyond(1))
	w.unknown("the next one", ada, beyond(2))
}

// Tasks that are made up, so well that they cannot be told from others which the cache has
// forgotten, have few places to wait, and those who wait for their own have all of theirs, also
// while the cache knows nothing.
func TestMadeUpTasksWaitApart(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	w.cfg.Waiters = 16 // and two for others
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	accepted, forgotten := w.submit("ben", w.content().ID, 4).Task, w.submit("ben", w.content().ID, 4).Task
	forged := forge(accepted.ID, func(t *taskid.Ticket) { t.Content, t.Rater, t.By = w.content().ID, "eve", "eve" })
	w.wipe()
	genuine := w.submit("ben", w.content().ID, 4).Task

	ctx, end := context.WithTimeout(t.Context(), 20*time.Second)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	returned := make(chan struct{}, 1000)
	wait := func(user, taskID string, how func(context.Context, actor.Actor, string) (task.Task, error)) {
		all.Go(func() {
			if got, err := how(ctx, actor.Actor{User: user}, taskID); err != nil || got.State != task.Pending {
				t.Errorf("a wait of %s ends with %s, %v", user, got.State, err)
			}
			returned <- struct{}{}
		})
	}
	back := func(n int) {
		t.Helper()
		for range n {
			select {
			case <-returned:
			case <-ctx.Done():
				t.Fatalf("%d wait, and more are held", w.ratings.Waiting())
			}
		}
	}
	waiting := func(n int) {
		t.Helper()
		for w.ratings.Waiting() != n {
			if ctx.Err() != nil {
				t.Fatalf("%d wait, want %d", w.ratings.Waiting(), n)
			}
			runtime.Gosched()
		}
	}
	for range 64 {
		wait("eve", forged, w.ratings.Wait)
	}
	back(62)
	waiting(2)
	wait("ben", forgotten.ID, w.ratings.Wait) // answered at once: it might be made up
	back(1)
	for range 8 {
		wait("ben", genuine.ID, w.ratings.Wait)
	}
	waiting(10)
	w.wipe()
	for range 8 {
		wait("ben", genuine.ID, w.ratings.WaitAccepted)
	}
	waiting(18)
	wait("ben", genuine.ID, w.ratings.WaitAccepted)
	back(1)
}
