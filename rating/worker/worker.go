// Package worker stores the ratings that a rating.Service has accepted, and runs the jobs that keep
// the numbers right.
//
// A Worker consumes messages from the queue in batches. It decodes each message, applies the
// changes of a batch to the store in one transaction, and then caches the results of the tasks. A
// message that can never be applied becomes a dead letter. A Recalculator computes the published
// scores, recounts the numbers, and runs the jobs.
//
// # Delivery
//
// The queue delivers at least once. A batch that fails is delivered again, and a worker that is
// believed dead may still write: neither does harm, because applying a change is idempotent (see
// package rating).
//
// # Concurrency
//
// Any number of workers and recalculators, in any number of processes, may share a queue and a
// store.
package worker

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
	"github.com/khodnevis/khodnevis/internal/hook"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
)

// Worker consumes accepted events from the queue and stores what they ask for.
type Worker struct {
	shared
	recalculator *Recalculator
	queue        queue.Consumer
	contents     rating.Contents
	stored       chan struct{} // asks refreshAfter

	mu          sync.Mutex
	deadLetters map[string]int64 // by reason
	foreign     error            // a *ForeignError while the worker is stopped at a message of another installation
}

// New returns a Worker that stores what the service of r accepts. contents says what may be rated,
// as for rating.New. The worker also has r refresh the scores of what it has stored.
func New(r *Recalculator, q queue.Consumer, contents rating.Contents) (*Worker, error) {
	if r == nil || q == nil || contents == nil {
		return nil, errors.New("worker: New needs a recalculator, a queue and contents")
	}
	return &Worker{
		shared: r.shared, recalculator: r, queue: q, contents: contents, stored: make(chan struct{}, 1),
		deadLetters: map[string]int64{task.CodeMalformed: 0, task.CodeInvalidScore: 0, task.CodeNoContent: 0,
			task.CodeUnstorable: 0},
	}, nil
}

// DeadLetterCounts returns how many dead letters this worker has made, by reason. A reason that has
// not occurred has 0. A message that is delivered again after its dead letter was recorded counts
// twice.
func (w *Worker) DeadLetterCounts() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.deadLetters)
}

const (
	// refreshPause is the pause of refreshAfter, so that a burst of ratings costs one refresh a
	// second.
	refreshPause = time.Second
	// maxConsumePause is the longest pause before a consumer that has failed is started again.
	maxConsumePause = 30 * time.Second
)

// Run consumes until ctx is done, finishes the batch in flight and returns nil. If the consumer of
// the queue fails, Run starts it again, with exponential backoff.
func (w *Worker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { w.refreshAfter(ctx) })
	defer wg.Wait()
	failures := 0
	handle := func(ctx context.Context, batch []queue.Delivery) error {
		if err := w.handle(ctx, batch, failures+1); err != nil {
			failures++
			w.cfg.Logger.WarnContext(ctx, "worker: a batch is not stored yet", "messages", len(batch),
				"attempt", failures, "error", err)
			return err
		}
		failures = 0
		return nil
	}
	pauses := backoff.Backoff{First: 100 * time.Millisecond, Max: maxConsumePause}
	for {
		began := w.cfg.Now()
		err := w.queue.Consume(ctx, w.cfg.Batch, handle)
		if ctx.Err() != nil {
			return nil
		}
		if w.cfg.Now().Sub(began) > time.Minute {
			pauses.Reset()
		}
		w.cfg.Logger.WarnContext(ctx, "worker: the consumer of the queue has stopped and is started again", "error", err)
		if pauses.Wait(ctx) != nil {
			return nil
		}
	}
}

// refreshSoon has refreshAfter publish the numbers of all that was stored.
func (w *Worker) refreshSoon() {
	select {
	case w.stored <- struct{}{}:
	default:
	}
}

// refreshAfter publishes numbers when refreshSoon asks for it, at most once every refreshPause.
func (w *Worker) refreshAfter(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.stored:
		}
		if _, err := w.recalculator.RefreshScores(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.WarnContext(ctx, "worker: numbers are not published yet", "error", err)
			w.refreshSoon()
		}
		if backoff.Sleep(ctx, refreshPause) != nil {
			return
		}
	}
}

// handle stores a batch. With an error nothing is known to be stored, and the batch must be
// delivered again.
func (w *Worker) handle(ctx context.Context, batch []queue.Delivery, attempt int) error {
	began := w.time()
	if err := w.checkForeign(ctx, batch); err != nil {
		return err
	}
	work := make([]*message, len(batch))
	for i, d := range batch {
		work[i] = w.decode(d)
	}
	changes, err := w.store(ctx, work)
	if err != nil {
		w.recordRetry(ctx, work, attempt, began)
		return err
	}
	w.countDeadLetters(work)
	w.recordResults(ctx, work, changes, attempt, began)
	w.afterApply(ctx, changes)
	return nil
}

// afterApply calls the hook AfterApply with the changes of a committed batch, sorted by key.
func (w *Worker) afterApply(ctx context.Context, changes []*message) {
	f := w.cfg.Hooks.AfterApply
	if f == nil {
		return
	}
	applied := make([]rating.Rating, 0, len(changes))
	for _, m := range changes {
		if m.applied() {
			applied = append(applied, m.stored)
		}
	}
	if len(applied) > 0 {
		hook.After(ctx, w.cfg.Logger, "rating.AfterApply", func(ctx context.Context) error { return f(ctx, applied) })
	}
}
