package rating_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
	"github.com/khodnevis/khodnevis/store"
)

// Runs of the cron are tasks that staff may read, by the job and the time that they were due.
func TestRunsAreTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	check(w.store.ApplyRatings(t.Context(),
		rating.Batch{Changes: []rating.Change{{Key: rating.Key{Content: c.ID, Rater: "u"},
			Version: rating.Version{Epoch: 1, Offset: 1}, Score: 4, At: w.now()}}}))(t)
	recalculator := check(worker.NewRecalculator(w.ratings, w.store))(t)
	staff, user := actor.Actor{User: "s", Staff: true}, actor.Actor{User: "u"}
	if _, err := w.ratings.Task(t.Context(), staff, task.Recalculate+"@latest"); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("before the first run: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, job := range []string{task.Recalculate, task.Recount, task.Sweep} {
		wg.Go(func() {
			if err := recalculator.Run(ctx, job, worker.Every(time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { stop(); wg.Wait() })
	for _, job := range []string{task.Recalculate, task.Recount, task.Sweep} {
		wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var done task.Task
		for { // until the first one is done
			var err error
			if done, err = w.ratings.Task(wait, staff, job+"@latest"); err == nil && done.State.Done() {
				break
			}
			select {
			case <-wait.Done():
				t.Fatalf("%s: %+v, %v", job, done, err)
			case <-time.After(5 * time.Millisecond):
			}
		}
		cancel()
		if done.Name != job || done.State != task.Success || done.Result == nil ||
			done.ID != task.RunID(job, done.CreatedAt) || done.StartedAt.IsZero() || done.DoneAt.IsZero() {
			t.Errorf("%s came to %+v", job, done)
		}
		if job == task.Recount && (done.Result.Contents != 1 || done.Result.Drifted != 0) {
			t.Errorf("the recount came to %+v", done.Result)
		}
		if again := check(w.ratings.Task(t.Context(), staff, done.ID))(t); again.ID != done.ID ||
			again.State != task.Success {
			t.Errorf("by its own identifier it is %+v", again)
		}
		for _, id := range []string{done.ID, job + "@latest"} {
			if _, err := w.ratings.Task(t.Context(), user, id); !errors.Is(err, rating.ErrNotFound) {
				t.Errorf("a user reads %s: %v", id, err)
			}
		}
	}
	now := w.now()
	for id, want := range map[string]error{
		task.RunID(task.Recount, now.Add(time.Hour)):                     rating.ErrNotFound,
		task.RunID(task.Recount, now.Add(-task.Retention-2*time.Second)): rating.ErrExpired,
		"ratings.nothing@latest":                                         rating.ErrNotFound,
		"ratings.recount@":                                               rating.ErrNotFound,
		"ratings.recount@2026":                                           rating.ErrNotFound,
	} {
		if _, err := w.ratings.Task(t.Context(), staff, id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
}

// unfit is a store whose recount fails.
type unfit struct{ store.Store }

func (unfit) RatedContents(context.Context, string, int) ([]string, error) {
	return nil, errors.New("no")
}

func TestFailedRunsSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s store.Store) store.Store { return unfit{s} })
	recalculator := check(worker.NewRecalculator(w.ratings, w.store))(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = recalculator.Run(ctx, task.Recount, worker.Every(time.Second)) })
	t.Cleanup(func() { stop(); wg.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; {
		accepted, err := w.ratings.Task(t.Context(), actor.Actor{User: "s", Staff: true}, task.Recount+"@latest")
		if err == nil && accepted.State == task.Failure && accepted.Error != nil && accepted.Error.Code == "failed" &&
			accepted.Result == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", accepted, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// drifting is a store that says of its content what it is told.
type drifting struct {
	store.Store
	mu     sync.Mutex
	stats  func(rating.Stats) rating.Stats
	drifts []rating.Drift
	marked int
}

func (d *drifting) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := d.Store.StatsByContent(ctx, ids)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range found {
		if d.stats != nil {
			found[i] = d.stats(s)
		}
	}
	return found, err
}

func (d *drifting) Recount(context.Context, []string) ([]rating.Drift, error) {
	return d.drifts, nil
}

func (d *drifting) MarkChanged(ctx context.Context, ids []string) error {
	d.mu.Lock()
	d.marked += len(ids)
	d.mu.Unlock()
	return d.Store.MarkChanged(ctx, ids)
}

// auditing is a store that says which contents have wrong numbers, and notes which are recounted.
type auditing struct {
	store.Store
	suspects  []string
	fails     error
	recounted []string
}

func (a *auditing) Audit(context.Context) (int, []string, error) { return 7, a.suspects, a.fails }

func (a *auditing) Recount(_ context.Context, ids []string) ([]rating.Drift, error) {
	a.recounted = append(a.recounted, ids...)
	return []rating.Drift{{Content: ids[0]}}, nil
}

// A recount asks a store that can tell at once where to look, and looks everywhere if it cannot
// after all.
func TestRecountAsksTheAuditor(t *testing.T) {
	t.Parallel()
	a := &auditing{}
	w := newWorld(t, func(s store.Store) store.Store { a.Store = s; return a })
	c := w.content()
	check(w.store.ApplyRatings(t.Context(),
		rating.Batch{Changes: []rating.Change{{Key: rating.Key{Content: c.ID, Rater: "r"},
			Version: rating.Version{Epoch: 1}, Score: 4, At: w.now()}}}))(t)
	recalculator := check(worker.NewRecalculator(w.ratings, w.store))(t)
	for i := range 1200 {
		a.suspects = append(a.suspects, fmt.Sprintf("c%04d", i))
	}
	drifts := 0
	if n := check(recalculator.Recount(t.Context(), func(rating.Drift) {
		drifts++
	}))(t); n != 7 || drifts != 3 || !slices.Equal(a.recounted, a.suspects) {
		t.Errorf("%d contents were looked at, %d recounted, in %d pieces; want 7, 1200, 3", n, len(a.recounted), drifts)
	}
	a.suspects, a.recounted = nil, nil
	if n := check(recalculator.Recount(t.Context(), nil))(t); n != 7 || len(a.recounted) != 0 {
		t.Errorf("without suspects %d contents were looked at and %v recounted", n, a.recounted)
	}
	a.fails = errors.New("no time")
	if n := check(recalculator.Recount(t.Context(), nil))(t); n != 1 || !slices.Equal(a.recounted, []string{c.ID}) {
		t.Errorf("after the audit failed %d contents were looked at and %v recounted", n, a.recounted)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a.recounted = nil
	if _, err := recalculator.Recount(ended, nil); !errors.Is(err, a.fails) || len(a.recounted) != 0 {
		t.Errorf("after the end: %v, recounted %v", err, a.recounted)
	}
}

// Verify finds buckets that are not those of the rows, and published numbers that are not those of
// the buckets.
func TestVerify(t *testing.T) {
	t.Parallel()
	d := &drifting{}
	w := newWorld(t, func(s store.Store) store.Store { d.Store = s; return d })
	c := w.content()
	for i := range 3 {
		check(w.store.ApplyRatings(t.Context(),
			rating.Batch{Changes: []rating.Change{{Key: rating.Key{Content: c.ID, Rater: fmt.Sprint(i)},
				Version: rating.Version{Epoch: 1, Offset: int64(i)}, Score: 4, At: w.now()}}}))(t)
	}
	recalculator := check(worker.NewRecalculator(w.ratings, w.store))(t)
	verify := func() (first []string) {
		t.Helper()
		if n := check(recalculator.Verify(t.Context(), func(d rating.Drift) {
			first = append(first, d.First())
		}))(t); n != 1 {
			t.Errorf("%d contents verified, want 1", n)
		}
		return first
	}
	if got := verify(); len(got) > 0 || d.marked > 0 {
		t.Errorf("right numbers have the drift %v, and %d are marked", got, d.marked)
	}
	d.stats = func(s rating.Stats) rating.Stats { s.Score.Value += 1e-15 * 4; return s }
	if got := verify(); len(got) != 1 || got[0] != "score: 4.000000000000004, computed 4" || d.marked != 1 {
		t.Errorf("a score that is off by a bit has the drift %v, and %d are marked", got, d.marked)
	}
	d.stats = func(s rating.Stats) rating.Stats { s.Count = 2; return s }
	if got := verify(); len(got) != 1 || got[0] != "count: 2, recounted 3" || d.marked != 2 {
		t.Errorf("a count that is wrong has the drift %v, and %d are marked", got, d.marked)
	}
	d.stats = nil
	d.drifts = []rating.Drift{{Content: c.ID, IsBuckets: bucketsOf(map[score.Cell]int64{{Bucket: 2, Score: 4}: 3})}}
	if got := verify(); len(got) != 1 || got[0] != "bucket 2: 0 ratings of 4, recounted 3" {
		t.Errorf("the drift is %v", got)
	}
}

func bucketsOf(counts map[score.Cell]int64) []score.Bucket { return rating.Tally(counts).Buckets() }

func TestDriftNamesTheFirstNumberThatIsWrong(t *testing.T) {
	t.Parallel()
	one := bucketsOf(map[score.Cell]int64{{Bucket: 1, Score: 1}: 1, {Bucket: 3, Score: 3}: 1})
	for want, d := range map[string]rating.Drift{
		"count: 1, recounted 2": {WasBuckets: one, IsBuckets: one,
			Was: rating.Stats{Count: 1}, Is: rating.Stats{Count: 2}},
		"score: 1, computed 2": {
			Was: rating.Stats{Score: score.Score{Value: 1}}, Is: rating.Stats{Score: score.Score{Value: 2}}},
		"bucket 3: 1 ratings of 3, recounted 2": {WasBuckets: one,
			IsBuckets: bucketsOf(map[score.Cell]int64{{Bucket: 1, Score: 1}: 1, {Bucket: 3, Score: 3}: 2})},
		"bucket 1: 1 ratings of 1, recounted 0": {WasBuckets: one, IsBuckets: one[1:]},
	} {
		if got := d.First(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Recalculate also computes what has not changed, with the constants of now.
func TestRecalculateComputesEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	contents := []string{w.content().ID, w.content().ID}
	var changes []rating.Change
	for i := range 200 { // five a day for twenty days, then a hundred ones
		score, day := 3+i%3, i/5
		if i >= 100 {
			score, day = 1, 20
		}
		for _, id := range contents {
			changes = append(changes,
				rating.Change{Key: rating.Key{Content: id, Rater: fmt.Sprint(i)},
					Version: rating.Version{Epoch: 1, Offset: int64(i)}, Score: score, At: w.now().AddDate(0, 0, day)})
		}
	}
	check(w.store.ApplyRatings(t.Context(), rating.Batch{Changes: changes}))(t)
	before := check(worker.NewRecalculator(w.ratings, w.store))(t)
	check(before.RefreshScores(t.Context()))(t)
	w.cfg.Policy = score.Policy{Trust: 0.5}
	after := check(worker.NewRecalculator(must(rating.New(w.store, w.queue, w.contents, w.cfg)), w.store))(t)
	score := func(id string) score.Score {
		return check(w.store.StatsByContent(t.Context(), []string{id}))(t)[0].Score
	}
	old := score(contents[0])
	check(after.RefreshScores(t.Context()))(t)
	if score(contents[0]) != old {
		t.Error("a fold takes up what has not changed")
	}
	if n := check(after.Recalculate(t.Context(), contents[:1], nil))(t); n != 1 || score(contents[0]) == old ||
		score(contents[1]) != old {
		t.Errorf("the rebuild of one content took %d, and the scores are %+v and %+v", n, score(contents[0]),
			score(contents[1]))
	}
	if n := check(after.Recalculate(t.Context(), nil, nil))(t); n != 2 || score(contents[1]) != score(contents[0]) {
		t.Errorf("the rebuild of all took %d, and the scores are %+v and %+v", n, score(contents[0]), score(contents[1]))
	}
}
