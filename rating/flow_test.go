package rating_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// world is everything a rating lives through, in memory.
type world struct {
	t        *testing.T
	store    store.Store
	queue    *memqueue.Queue
	cache    cache.Cache
	contents *content.Service
	ratings  *rating.Service
	cfg      rating.Config
	now      func() time.Time
	offset   atomic.Int64 // moves the clock
}

// newWorld returns a world without a worker. wrap may put something between it and its store.
func newWorld(t *testing.T, wrap func(store.Store) store.Store) *world {
	t.Helper()
	return newWorldAt(t, wrap, time.Now)
}

// newWorldAt is newWorld with another clock than the real one.
func newWorldAt(t *testing.T, wrap func(store.Store) store.Store, clock func() time.Time) *world {
	t.Helper()
	w := &world{t: t, queue: memqueue.New(memqueue.Config{}), cache: lrucache.New(lrucache.Config{})}
	w.now = func() time.Time { return clock().Add(time.Duration(w.offset.Load())) }
	w.store = memstore.New(memstore.Config{Now: w.now})
	if wrap != nil {
		w.store = wrap(w.store)
	}
	w.cfg = rating.Config{Cache: w.cache, Now: w.now}
	w.contents = must(content.New(w.store, content.Config{Cache: w.cache, Now: w.now}))
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	return w
}

// work runs a worker until the test ends.
func (w *world) work() { w.workWith(w.queue) }

func (w *world) workWith(q queue.Consumer) {
	recalculator := must(worker.NewRecalculator(w.ratings, w.store))
	worker := must(worker.New(recalculator, q, w.contents))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := worker.Run(ctx); err != nil {
			w.t.Errorf("the worker ended with %v", err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

func (w *world) content() content.Content {
	w.t.Helper()
	return check(w.contents.Create(w.t.Context(), "author", content.Draft{Title: "t"}))(w.t)
}

func (w *world) submit(user, contentID string, score int) rating.Receipt {
	w.t.Helper()
	return check(w.ratings.Submit(w.t.Context(), actor.Actor{User: user},
		rating.Submission{Content: contentID, Score: score}))(w.t)
}

// await returns the task once it is done, to the rater who asked for it.
func (w *world) await(accepted task.Task) task.Task {
	w.t.Helper()
	return w.awaitAs(actor.Actor{User: accepted.Creator}, accepted)
}

func (w *world) awaitAs(actor actor.Actor, accepted task.Task) task.Task {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	done := check(w.ratings.Wait(ctx, actor, accepted.ID))(w.t)
	if !done.State.Done() {
		w.t.Fatalf("the task is %s, not done: %+v", done.State, done.Error)
	}
	return done
}

func (w *world) task(accepted task.Task) task.Task {
	w.t.Helper()
	return check(w.ratings.Task(w.t.Context(), actor.Actor{User: accepted.Creator}, accepted.ID))(w.t)
}

func (w *world) stats(contentID string) rating.Stats {
	w.t.Helper()
	return check(w.ratings.Stats(w.t.Context(), []string{contentID}))(w.t)[contentID]
}

// wipe makes the cache forget everything, as it may at any time.
func (w *world) wipe() {
	w.cache.(*forgetful).now.Store(lrucache.New(lrucache.Config{}))
}

// forgetful is a cache that can be wiped.
type forgetful struct {
	now atomic.Pointer[lrucache.Cache]
}

func (f *forgetful) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	return f.now.Load().GetMany(ctx, keys)
}

func (f *forgetful) SetMany(ctx context.Context, items []cache.Item) error {
	return f.now.Load().SetMany(ctx, items)
}

func (f *forgetful) DeleteMany(ctx context.Context, keys []string) error {
	return f.now.Load().DeleteMany(ctx, keys)
}

// newForgetful returns a world whose cache can be wiped.
func newForgetful(t *testing.T) *world {
	w := newWorld(t, nil)
	w.cache = &forgetful{}
	w.wipe()
	w.cfg.Cache = w.cache
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What became of a rating whose content is deleted is told when the cache has forgotten it, too.
func TestTaskOfADeletedContent(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	w.work()
	c := w.content()
	accepted := w.submit("rater", c.ID, 4).Task
	w.await(accepted)
	if err := w.contents.Delete(t.Context(), actor.Actor{User: "author"}, c.ID); err != nil {
		t.Fatal(err)
	}
	w.wipe()
	if got := w.task(accepted); got.State != task.Failure || got.Error == nil || got.Error.Code != task.CodeNoContent {
		t.Errorf("the task is %s, %+v", got.State, got.Error)
	}
}

// overfull is a cache that takes nothing while it is full, and can forget.
type overfull struct {
	cache.Cache
	full atomic.Bool
}

func (o *overfull) SetMany(ctx context.Context, items []cache.Item) error {
	if o.full.Load() {
		return errors.New("OOM")
	}
	return o.Cache.SetMany(ctx, items)
}

// Old numbers are not served because the cache had no room for new ones.
func TestNumbersWithAFullCache(t *testing.T) {
	t.Parallel()
	full := &overfull{Cache: lrucache.New(lrucache.Config{})}
	w := newWorld(t, nil)
	w.cache, w.cfg.Cache = full, full
	w.ratings = must(rating.New(w.store, w.queue, w.contents, w.cfg))
	w.work()
	c := w.content()
	w.await(w.submit("first", c.ID, 4).Task)
	if got := w.stats(c.ID); got.Count != 1 {
		t.Fatalf("%d ratings, want 1", got.Count)
	}
	full.full.Store(true)
	w.await(w.submit("second", c.ID, 4).Task)
	if got := w.stats(c.ID); got.Count != 2 {
		t.Errorf("%d ratings, want 2", got.Count)
	}
}

func TestRatingIsPendingThenStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	receipt := w.submit("u1", c.ID, 4)
	key := rating.Key{Content: c.ID, Rater: "u1"}

	r, pending, err := w.ratings.Get(t.Context(), actor.Actor{User: "u1"}, key)
	if err != nil || !pending || r.Score != 4 {
		t.Fatalf("the rater reads %+v, pending %v, %v", r, pending, err)
	}
	for _, other := range []actor.Actor{{User: "u2"}, {User: "s", Staff: true}, {}} {
		if _, _, err := w.ratings.Get(t.Context(), other, key); !errors.Is(err, rating.ErrNotFound) {
			t.Errorf("%+v reads a pending rating of another: %v", other, err)
		}
	}
	if got := w.task(receipt.Task); got.State != task.Pending || got.CreatedAt != receipt.Task.CreatedAt {
		t.Errorf("the task is %+v", got)
	}

	w.work()
	done := w.await(receipt.Task)
	if done.State != task.Success || done.Result.Outcome != string(rating.Created) ||
		done.Result.Rating != key.String() || done.Attempts != 1 || done.DoneAt.IsZero() {
		t.Errorf("the task came to %+v, %+v", done, done.Result)
	}
	r, pending, err = w.ratings.Get(t.Context(), actor.Actor{}, key)
	if err != nil || pending || r.Score != 4 || !r.CreatedAt.Equal(receipt.Rating.CreatedAt) {
		t.Errorf("everybody reads %+v, pending %v, %v", r, pending, err)
	}
	if s := w.stats(c.ID); s.Count != 1 || s.Sum != 4 || !maps.Equal(s.Histogram, map[int]int64{4: 1}) {
		t.Errorf("the numbers are %+v", s)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.work()
	c := w.content()
	actor := actor.Actor{User: "u"}
	for i, step := range []struct {
		score int // 0: withdraw
		want  rating.Result
		count int64
		sum   int64
	}{
		{3, rating.Created, 1, 3}, {5, rating.Updated, 1, 5}, {5, rating.Unchanged, 1, 5}, {0, rating.Withdrawn, 0, 0},
		{2, rating.Created, 1, 2},
	} {
		var receipt rating.Receipt
		if step.score == 0 {
			receipt = check(w.ratings.Withdraw(t.Context(), actor, rating.Key{Content: c.ID, Rater: "u"}))(t)
			if _, _, err := w.ratings.Get(t.Context(), actor,
				rating.Key{Content: c.ID, Rater: "u"}); !errors.Is(err, rating.ErrNotFound) {
				t.Errorf("a withdrawn rating is still readable by its rater: %v", err)
			}
		} else {
			receipt = w.submit("u", c.ID, step.score)
		}
		if done := w.await(receipt.Task); done.State != task.Success || done.Result.Outcome != string(step.want) {
			t.Errorf("step %d: %s %+v, want %s", i, done.State, done.Result, step.want)
		}
		if s := w.stats(c.ID); s.Count != step.count || s.Sum != step.sum {
			t.Errorf("step %d: count %d sum %d, want %d and %d", i, s.Count, s.Sum, step.count, step.sum)
		}
	}
}

// Several changes of one rating that meet in one batch: the last one accepted counts, the others
// are superseded.
func TestChangesInOneBatch(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	c := w.content()
	var receipts []rating.Receipt
	for _, score := range []int{1, 5, 2} {
		receipts = append(receipts, w.submit("u", c.ID, score))
	}
	w.work()
	for i, want := range []rating.Result{rating.Superseded, rating.Superseded, rating.Created} {
		if done := w.await(receipts[i].Task); done.Result == nil || done.Result.Outcome != string(want) {
			t.Errorf("submission %d came to %+v, want %s", i, done.Result, want)
		}
	}
	w.wipe()
	for i, want := range []rating.Result{rating.Superseded, rating.Superseded, rating.Created} {
		if done := w.task(receipts[i].Task); done.Result == nil || done.Result.Outcome != string(want) {
			t.Errorf("with the cache wiped, submission %d came to %+v, want %s", i, done.Result, want)
		}
	}
	if s := w.stats(c.ID); s.Count != 1 || s.Sum != 2 {
		t.Errorf("count %d sum %d", s.Count, s.Sum)
	}
}

// What can never be applied is set aside with its reason; the rest of the batch is stored.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	c, gone := w.content(), w.content()
	now := w.now().UTC().Truncate(time.Microsecond)
	good := w.submit("u1", c.ID, 4)
	late := w.submit("u1", gone.ID, 4)
	if err := w.contents.Delete(t.Context(), actor.Actor{User: "author"}, gone.ID); err != nil {
		t.Fatal(err)
	}
	for _, m := range []queue.Message{
		{Key: c.ID + ":u2", Body: []byte("not json")},
		{Key: "no key", Body: encodeRate(4, now)},
		{Key: c.ID + ":u3", Body: encodeRate(6, now)},
		{Key: "unknown:u4", Body: encodeRate(4, now)},
	} {
		check(w.queue.Publish(t.Context(), m))(t)
	}
	last := w.submit("u5", c.ID, 2)
	w.work()
	w.await(last.Task)
	if done := w.await(good.Task); done.State != task.Success {
		t.Errorf("the good one is %s", done.State)
	}
	failed := func(when string, accepted task.Task) {
		if accepted.State != task.Failure || accepted.Error == nil || accepted.Error.Code != task.CodeNoContent {
			t.Errorf("%s: a rating of a content deleted since is %s, %+v", when, accepted.State, accepted.Error)
		}
	}
	failed("at once", w.await(late.Task))
	w.wipe()
	failed("with the cache wiped", w.task(late.Task))
	var reasons []string
	for _, r := range check(w.store.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Limit: 100}))(t) {
		reasons = append(reasons, r.Reason)
	}
	slices.Sort(reasons)
	want := []string{task.CodeNoContent, task.CodeNoContent, task.CodeInvalidScore, task.CodeMalformed,
		task.CodeMalformed}
	if !slices.Equal(reasons, want) {
		t.Errorf("rejected for %v, want %v", reasons, want)
	}
	if s := w.stats(c.ID); s.Count != 2 || s.Sum != 6 {
		t.Errorf("count %d sum %d, want 2 and 6", s.Count, s.Sum)
	}
}

// vandal damages the messages with one key, and lengthens those with another.
type vandal struct {
	queue.Consumer
	damaged, long string
}

func (v vandal) Consume(ctx context.Context, limit int, h queue.Handler) error {
	return v.Consumer.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
		for i, d := range batch {
			switch d.Key {
			case v.damaged:
				batch[i].Header, batch[i].Damaged = nil, true
			case v.long:
				batch[i].Body = bytes.Repeat([]byte("x"), 3*queue.MaxBody)
			}
		}
		return h(ctx, batch)
	})
}

// A message that is damaged is rejected, and those that follow it are stored; what is kept of a
// dead letter is 64 KiB of its body at most.
func TestDamagedMessagesAreDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	damaged, long := w.submit("damaged", c.ID, 1), w.submit("long", c.ID, 2)
	good := w.submit("good", c.ID, 3)
	w.workWith(vandal{w.queue, damaged.Rating.Key.String(), long.Rating.Key.String()})
	if done := w.await(good.Task); done.State != task.Success {
		t.Errorf("the good one is %s", done.State)
	}
	for _, accepted := range []task.Task{damaged.Task, long.Task} {
		if done := w.await(accepted); done.State != task.Failure || done.Error.Code != task.CodeMalformed {
			t.Errorf("%s, %+v, want to be rejected", done.State, done.Error)
		}
	}
	for _, r := range check(w.store.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Limit: 10}))(t) {
		if isLong := r.Key == long.Rating.Key.String(); isLong != (len(r.Body) == 64<<10) {
			t.Errorf("%d bytes are kept of the body of %s", len(r.Body), r.Key)
		}
	}
}

// faulty is a store that fails as told.
type faulty struct {
	store.Store
	apply func(rating.Batch) error
}

func (f *faulty) ApplyRatings(ctx context.Context, b rating.Batch) ([]rating.Outcome, error) {
	if err := f.apply(b); err != nil {
		return nil, err
	}
	return f.Store.ApplyRatings(ctx, b)
}

// Unavailability delays ratings; it rejects none.
func TestUnavailableStoreLosesNothing(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	failed := make(chan struct{})
	w := newWorld(t, func(s store.Store) store.Store {
		return &faulty{s, func(rating.Batch) error {
			switch n := calls.Add(1); {
			case n == 3:
				close(failed)
				fallthrough
			case n < 3:
				return fmt.Errorf("down: %w", rating.ErrUnavailable)
			}
			return nil
		}}
	})
	c := w.content()
	var receipts []rating.Receipt
	for i := range 10 {
		receipts = append(receipts, w.submit(fmt.Sprintf("u%d", i), c.ID, 5))
	}
	w.work()
	<-failed
	for _, r := range receipts {
		if done := w.await(r.Task); done.State != task.Success || done.Attempts < 2 {
			t.Errorf("a task came to %s after %d attempts", done.State, done.Attempts)
		}
	}
	if rejected := check(w.store.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Limit: 10}))(t); len(rejected) > 0 {
		t.Errorf("unavailability rejected %d messages", len(rejected))
	}
	if s := w.stats(c.ID); s.Count != 10 {
		t.Errorf("%d of 10 are stored", s.Count)
	}
}

// A change that the store can never take is found by halving; its neighbours are stored.
func TestPoisonIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s store.Store) store.Store {
		return &faulty{s, func(b rating.Batch) error {
			for _, c := range b.Changes {
				if c.Rater == "u37" {
					return fmt.Errorf("bad bytes: %w", store.ErrUnstorable)
				}
			}
			return nil
		}}
	})
	c := w.content()
	var receipts []rating.Receipt
	for i := range 100 {
		receipts = append(receipts, w.submit(fmt.Sprintf("u%d", i), c.ID, 3))
	}
	w.work()
	for i, r := range receipts {
		want := task.Success
		if i == 37 {
			want = task.Failure
		}
		if done := w.await(r.Task); done.State != want {
			t.Errorf("u%d: %s, want %s", i, done.State, want)
		}
	}
	if s := w.stats(c.ID); s.Count != 99 {
		t.Errorf("%d stored, want 99", s.Count)
	}
}

func TestTasksAreTheirRaters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	accepted := w.submit("u", c.ID, 4).Task
	if _, err := w.ratings.Task(t.Context(), actor.Actor{User: "other"},
		accepted.ID); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("another one's task: %v", err)
	}
	if _, err := w.ratings.Task(t.Context(), actor.Actor{User: "s", Staff: true}, accepted.ID); err != nil {
		t.Errorf("staff: %v", err)
	}
	if _, err := w.ratings.Task(t.Context(), actor.Actor{User: "u"},
		accepted.ID[:len(accepted.ID)-1]); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("no task's identifier: %v", err)
	}
	w.offset.Store(int64(task.Retention + time.Minute))
	if _, err := w.ratings.Task(t.Context(), actor.Actor{User: "u"}, accepted.ID); !errors.Is(err, rating.ErrExpired) {
		t.Errorf("after its retention: %v", err)
	}
}

func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	for _, bad := range []struct {
		content string
		score   int
		field   string
	}{{c.ID, 0, "score"}, {c.ID, 6, "score"}, {c.ID, -1 << 62, "score"}, {"nothing", 3, "content"}, {"", 3, "content"},
		{"a b", 3, "content"}, {"..", 3, "content"}} {
		_, err := w.ratings.Submit(t.Context(), actor.Actor{User: "u"},
			rating.Submission{Content: bad.content, Score: bad.score})
		var invalid *rating.ValidationError
		if !errors.As(err, &invalid) || invalid.Fields[0].Name != bad.field {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if lag := check(w.queue.Lag(t.Context()))(t); lag != 0 {
		t.Errorf("%d refused submissions are in the queue", lag)
	}
}

// refusing is a queue that takes nothing.
type refusing struct{ err error }

func (r refusing) Publish(context.Context, ...queue.Message) ([]queue.Position, error) {
	return nil, r.err
}

func TestQueueThatDoesNotTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	for _, q := range []struct {
		err     error
		unknown bool
	}{{fmt.Errorf("full: %w", queue.ErrNotAccepted), false}, {context.DeadlineExceeded, true}} {
		s := must(rating.New(w.store, refusing{q.err}, w.contents, w.cfg))
		_, err := s.Submit(t.Context(), actor.Actor{User: "u"}, rating.Submission{Content: c.ID, Score: 3})
		var down *rating.UnavailableError
		if !errors.As(err, &down) || down.Unknown != q.unknown || !errors.Is(err, rating.ErrUnavailable) ||
			!errors.Is(err, q.err) {
			t.Errorf("%v came back as %v", q.err, err)
		}
		if _, _, err := s.Get(t.Context(), actor.Actor{User: "u"},
			rating.Key{Content: c.ID, Rater: "u"}); !errors.Is(err, rating.ErrNotFound) {
			t.Errorf("what was not accepted is readable: %v", err)
		}
	}
}

func TestWithdrawIsForTheRaterAndStaff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.work()
	c := w.content()
	key := rating.Key{Content: c.ID, Rater: "u"}
	w.await(w.submit("u", c.ID, 4).Task)
	if _, err := w.ratings.Withdraw(t.Context(), actor.Actor{User: "other"}, key); !errors.Is(err, rating.ErrForbidden) {
		t.Errorf("another one: %v", err)
	}
	boss := actor.Actor{User: "boss", Staff: true}
	receipt := check(w.ratings.Withdraw(t.Context(), boss, key))(t)
	if receipt.Task.Creator != "boss" {
		t.Errorf("the task is %q's", receipt.Task.Creator)
	}
	if done := w.awaitAs(boss, receipt.Task); done.State != task.Success ||
		done.Result.Outcome != string(rating.Withdrawn) {
		t.Errorf("it came to %+v", done)
	}
	if _, err := w.ratings.Withdraw(t.Context(), actor.Actor{User: "u"}, key); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("a second time: %v", err)
	}
}

// hosts are contents that the module does not own: all of them may be rated, and their history
// opens with the first rating.
type hosts struct{}

func (hosts) Rateable(_ context.Context, ids []string) ([]string, error) { return ids, nil }

func TestHostsContentsOpenWithTheirFirstRating(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	q := memqueue.New(memqueue.Config{})
	w.ratings = must(rating.New(w.store, q, hosts{}, w.cfg))
	worker := must(worker.New(must(worker.NewRecalculator(w.ratings, w.store)), q, hosts{}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = worker.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })

	for i := range 3 { // three days
		w.await(w.submit(fmt.Sprintf("u%d", i), "post-17", 4).Task)
		w.offset.Add(int64(24 * time.Hour))
	}
	var indices []int
	for _, b := range check(w.store.HistoryByContent(t.Context(), "post-17"))(t).Buckets {
		indices = append(indices, b.Index)
	}
	if !slices.Equal(indices, []int{0, 24, 25}) {
		t.Errorf("the ratings count in buckets %v, want 0, 24, 25", indices)
	}
}

// The score follows within moments, without the cron.
func TestWorkerRefreshesScores(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.work()
	c := w.content()
	w.await(w.submit("u", c.ID, 4).Task)
	deadline := time.Now().Add(20 * time.Second)
	for w.stats(c.ID).Score.Value != 4 {
		if time.Now().After(deadline) {
			t.Fatalf("the score is %+v", w.stats(c.ID).Score)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestRecalculateOnRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.work()
	c := w.content()
	w.await(w.submit("u", c.ID, 4).Task)
	if _, err := w.ratings.Recalculate(t.Context(), actor.Actor{User: "u"}, c.ID); !errors.Is(err, rating.ErrForbidden) {
		t.Errorf("a user: %v", err)
	}
	boss := actor.Actor{User: "boss", Staff: true}
	accepted := check(w.ratings.Recalculate(t.Context(), boss, c.ID))(t)
	if done := w.awaitAs(boss, accepted); done.State != task.Success || done.Name != task.Recalculate ||
		done.Result.Content != c.ID || done.Result.Repaired {
		t.Errorf("it came to %+v, %+v", done, done.Result)
	}
}

// slow is a store whose numbers take until they are let go, and that counts who asks for them.
type slow struct {
	store.Store
	asked atomic.Int32
	let   chan struct{}
}

func (s *slow) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	s.asked.Add(1)
	<-s.let
	return s.Store.StatsByContent(ctx, ids)
}

// A crowd that asks for the numbers of one content while the cache has none costs one query.
func TestNumbersAreAskedForOnce(t *testing.T) {
	t.Parallel()
	s := &slow{let: make(chan struct{})}
	w := newWorld(t, func(inner store.Store) store.Store { s.Store = inner; return s })
	c := w.content()
	var crowd sync.WaitGroup
	for range 500 {
		crowd.Go(func() {
			if _, err := w.ratings.Stats(t.Context(), []string{c.ID}); err != nil {
				t.Error(err)
			}
		})
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.ratings.Stats(impatient, []string{c.ID}); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait gets %v", err)
	}
	close(s.let)
	crowd.Wait()
	if n := s.asked.Load(); n > 2 { // the one that did not wait may have been the first, before the crowd came
		t.Errorf("%d queries", n)
	}
}

// failing is a store that panics when it is asked for numbers.
type failing struct{ store.Store }

func (failing) StatsByContent(context.Context, []string) ([]rating.Stats, error) {
	panic("broken adapter")
}

func TestPanicOfTheStoreIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s store.Store) store.Store { return failing{s} })
	if _, err := w.ratings.Stats(t.Context(), []string{"c"}); err == nil {
		t.Error("it is no error")
	}
}

// Who learns of a success from the store, before the worker has told the cache, reads numbers that
// have it.
func TestDerivedSuccessComesWithItsNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	receipt := w.submit("u", c.ID, 4)
	if s := w.stats(c.ID); s.Count != 0 { // the cache has them now
		t.Fatalf("count %d", s.Count)
	}
	var deliveries []queue.Delivery
	ctx, cancel := context.WithCancel(t.Context())
	if err := w.queue.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
		deliveries = batch
		cancel()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	epoch := check(w.store.StreamEpoch(t.Context(), deliveries[0].Stream))(t)
	// what a worker does, up to its commit
	check(w.store.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{{
		Key: rating.Key{Content: c.ID, Rater: "u"}, Version: rating.Version{Epoch: epoch, Offset: deliveries[0].Offset},
		Score: 4, At: receipt.Rating.CreatedAt,
	}}}))(t)
	done := w.task(receipt.Task)
	if done.State != task.Success {
		t.Fatalf("the task is %s", done.State)
	}
	if s := w.stats(c.ID); s.Count != 1 {
		t.Errorf("count %d after the success", s.Count)
	}
	if done.Attempts != 1 || done.StartedAt.Before(done.CreatedAt) || done.DoneAt.Before(done.StartedAt) ||
		done.DoneAt.After(w.now()) || done.Result.Outcome != string(rating.Created) {
		t.Errorf("it is not whole: %+v, %+v", done, done.Result)
	}
}

// What is told of a task is whole also when the cache has forgotten it, or knows of a former
// attempt alone.
func TestForgottenTasksAreWhole(t *testing.T) {
	t.Parallel()
	w := newForgetful(t)
	c, gone := w.content(), w.content()
	receipts := map[string]rating.Receipt{"stored": w.submit("u1", c.ID, 4), "rejected": w.submit("u2", gone.ID, 4)}
	if err := w.contents.Delete(t.Context(), actor.Actor{User: "author"}, gone.ID); err != nil {
		t.Fatal(err)
	}
	w.work()
	for _, r := range receipts {
		w.await(r.Task)
	}
	w.wipe()
	for name, r := range receipts {
		done := w.task(r.Task)
		if done.Attempts != 1 || done.StartedAt.Before(done.CreatedAt) || done.DoneAt.Before(done.StartedAt) ||
			done.DoneAt.After(w.now()) {
			t.Errorf("%s: it is not whole: %+v", name, done)
		}
	}
}

func encodeRate(score int, at time.Time) []byte {
	return event.Event{Op: event.Rate, Score: score, At: at}.Encode()
}
