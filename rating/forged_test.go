package rating_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/store"
)

// forge returns the identifier of a task of which change makes another one, as anybody could.
func forge(taskID string, change func(*taskid.Ticket)) string {
	ticket, ok := taskid.Parse(taskID)
	if !ok {
		panic("not the identifier of a task: " + taskID)
	}
	change(&ticket)
	return ticket.ID()
}

// look returns how both ways to ask for a task answer the actor, who does not wait.
func (w *world) look(actor actor.Actor, taskID string) []error {
	w.t.Helper()
	hurried, cancel := context.WithCancel(w.t.Context())
	cancel()
	_, asked := w.ratings.Task(w.t.Context(), actor, taskID)
	_, waited := w.ratings.Wait(hurried, actor, taskID)
	return []error{asked, waited}
}

// unknown fails unless the actor is told that there is no such task.
func (w *world) unknown(what string, actor actor.Actor, taskID string) {
	w.t.Helper()
	for _, err := range w.look(actor, taskID) {
		if !errors.Is(err, rating.ErrNotFound) {
			w.t.Errorf("%s, asked for by %+v: %v, want ErrNotFound", what, actor, err)
		}
	}
}

// known fails unless the actor is told of the task.
func (w *world) known(what string, actor actor.Actor, taskID string) {
	w.t.Helper()
	if errs := w.look(actor, taskID); !slices.Equal(errs, []error{nil, nil}) {
		w.t.Errorf("%s, asked for by %+v: %v", what, actor, errs)
	}
}

// Identifiers of tasks can be made by anybody. Whatever they say, nobody learns from them who else
// has rated what.
func TestForgedTasksRevealNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.work()
	c := w.content()
	w.await(w.submit("victim", c.ID, 4).Task)
	w.await(w.submit("gone", c.ID, 5).Task)
	own := w.submit("eve", w.content().ID, 3).Task
	w.await(own)
	if err := w.ratings.Erase(t.Context(), "gone", rating.EraseAnonymize); err != nil {
		t.Fatal(err)
	}
	w.await(w.submit("eve", c.ID, 1).Task) // behind the withdrawal of what is handed over

	eve, staff := actor.Actor{User: "eve"}, actor.Actor{User: "boss", Staff: true}
	withdrawal := func(content, rater, by string) string {
		return forge(own.ID, func(t *taskid.Ticket) {
			t.Op, t.Content, t.Rater, t.By = event.Withdraw, content, rater, by
		})
	}
	for _, rater := range []string{"victim", "gone", "nobody"} {
		w.unknown("a withdrawal of the rating of "+rater, eve, withdrawal(c.ID, rater, "eve"))
		w.known("a withdrawal of the rating of "+rater, staff, withdrawal(c.ID, rater, "eve"))
	}
	w.known("a withdrawal of her own rating", eve, withdrawal(c.ID, "eve", "eve"))
	w.unknown("a withdrawal of her own rating by another", eve, withdrawal(c.ID, "eve", "boss"))
	for _, content := range []string{c.ID, "no-such-content"} {
		for _, by := range []string{"eve", "boss"} {
			recalculation := forge(own.ID, func(t *taskid.Ticket) {
				t.Op, t.Content, t.Rater, t.By = event.Recalculate, content, "", by
			})
			w.unknown("a recalculation of "+content, eve, recalculation)
			w.unknown("a recalculation of "+content, actor.Actor{}, recalculation)
			w.known("a recalculation of "+content, staff, recalculation)
		}
	}
}

func TestWhoMayAskForATask(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	w.work()
	c := w.content()
	ada, ben, boss := actor.Actor{User: "ada"}, actor.Actor{User: "ben"}, actor.Actor{User: "boss", Staff: true}
	key := rating.Key{Content: c.ID, Rater: "ada"}
	withdraw := func(by actor.Actor) task.Task {
		accepted := check(w.ratings.Withdraw(t.Context(), by, key))(t).Task
		w.awaitAs(by, accepted)
		return accepted
	}
	var tasks []task.Task
	rate := func(score int) {
		accepted := w.submit("ada", c.ID, score).Task
		w.await(accepted)
		tasks = append(tasks, accepted)
	}
	rate(3)
	rate(4)
	tasks = append(tasks, withdraw(ada))
	rate(5)
	staffs := map[string]string{
		"withdrawal":    withdraw(boss).ID,
		"recalculation": check(w.ratings.Recalculate(t.Context(), boss, c.ID))(t).ID,
	}
	for _, when := range []string{"remembered", "derived"} {
		for i, accepted := range tasks {
			what := fmt.Sprintf("%s task %d", when, i)
			w.known(what, ada, accepted.ID)
			w.known(what, boss, accepted.ID)
			w.unknown(what, ben, accepted.ID)
			w.unknown(what, actor.Actor{}, accepted.ID)
		}
		for what, accepted := range staffs {
			w.known(when+" "+what, boss, accepted)
			w.unknown(when+" "+what, ada, accepted)
			w.unknown(when+" "+what+", once no longer staff", actor.Actor{User: "boss"}, accepted)
		}
		w.wipe()
	}
}

// A task cannot have been accepted in the future, but for a clock that is ahead of this one: it
// would be waited for, and never expire.
func TestTaskOfTheFutureIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorldAt(t, nil, func() time.Time { return someTime })
	ada := actor.Actor{User: "ada"}
	own := w.submit("ada", w.content().ID, 4).Task
	at := func(d time.Duration) string {
		return forge(own.ID, func(t *taskid.Ticket) { t.At = w.now().UTC().Add(d) })
	}
	w.known("a task of another clock", ada, at(time.Minute))
	for _, d := range []time.Duration{time.Minute + time.Microsecond, time.Hour, 100 * 365 * 24 * time.Hour} {
		w.unknown(fmt.Sprintf("a task of %v ahead", d), ada, at(d))
		w.unknown(fmt.Sprintf("a task of %v ahead", d), actor.Actor{User: "boss", Staff: true}, at(d))
	}
}

// streams is a store that says which streams were given an epoch, and may fail at it.
type streams struct {
	store.Store
	mu    sync.Mutex
	given []string
	fail  error
}

func (s *streams) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	if !slices.Contains(s.given, stream) {
		s.given = append(s.given, stream)
	}
	return s.Store.StreamEpoch(ctx, stream)
}

func (s *streams) failing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Whoever makes up the identifier of a task makes up its stream, too. Nothing is written for that,
// and nothing kept.
func TestTaskOfAnInventedStreamIsUnknown(t *testing.T) {
	t.Parallel()
	s := &streams{}
	w := newWorld(t, func(inner store.Store) store.Store { s.Store = inner; return s })
	ada := actor.Actor{User: "ada"}
	own := w.submit("ada", w.content().ID, 4).Task
	on := func(stream string) string {
		return forge(own.ID, func(t *taskid.Ticket) { t.Position.Stream = stream })
	}
	for i := range 200 {
		w.unknown("a task of an invented stream", ada, on(fmt.Sprint("stream-", i)))
	}
	for _, odd := range []string{"", "\x00", "a\x00", "\xff", "a b", "é", strings.Repeat("s", 65),
		strings.Repeat("s", 200)} {
		w.unknown(fmt.Sprintf("a task of the stream %q", odd), actor.Actor{User: "boss", Staff: true}, on(odd))
	}
	if len(s.given) != 1 {
		t.Errorf("%d streams were given an epoch, want that of the task alone", len(s.given))
	}
	if n := w.ratings.KnownStreams(); n != 1 {
		t.Errorf("%d streams are kept, want that of the task alone", n)
	}
	// Another process may make it the next moment.
	check(w.store.StreamEpoch(t.Context(), "stream-7"))(t)
	w.known("a task of a stream that came meanwhile", ada, on("stream-7"))
}

// Every process knows at once of a task that was accepted on a new stream, with and without a
// cache.
func TestTaskOfANewStreamIsKnown(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	ada := actor.Actor{User: "ada"}
	accepted := w.submit("ada", w.content().ID, 4).Task
	w.wipe()
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg)) // another process
	w.known("a task of a new stream", ada, accepted.ID)
	w.cfg.Cache = nil
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	w.known("a task of a new stream, without a cache", ada, accepted.ID)
}

// The store may fail right when a task was accepted as the first one of its stream. It is accepted
// all the same, and the cache says so.
func TestTaskOfANewStreamWithoutStore(t *testing.T) {
	t.Parallel()
	s := &streams{fail: rating.ErrUnavailable}
	w := newWorld(t, func(inner store.Store) store.Store { s.Store = inner; return s })
	ada := actor.Actor{User: "ada"}
	accepted := w.submit("ada", w.content().ID, 4).Task
	w.known("a task of a stream that has no epoch yet", ada, accepted.ID)
	w.unknown("another one of that stream", ada, forge(accepted.ID, func(t *taskid.Ticket) { t.Position.Offset++ }))
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg)) // another process
	w.known("a task of a stream that has no epoch yet", ada, accepted.ID)
	s.failing(nil)
	w.work()
	if done := w.await(accepted); done.State != task.Success || done.Result.Outcome != string(rating.Created) {
		t.Errorf("it came to %s, %+v", done.State, done.Result)
	}
}
