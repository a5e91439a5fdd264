package rating

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/installation"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Worker takes accepted events from the queue and stores what they ask for. Any number of workers,
// in any number of processes, may share a queue and a store.
type Worker struct {
	cfg          Config
	store        Store
	queue        queue.Consumer
	contents     Contents
	identity     *installation.Identity
	epochs       *epochs
	numbers      numbers
	recalculator *Recalculator
	mu           sync.Mutex
	rejected     map[string]int64 // how many messages, by reason
	skipped      logthrottle.Log  // warns of foreign messages that were skipped
	foreign      error            // a *ForeignError while the worker stands before a message of another installation
}

// NewWorker returns a Worker. contents and cfg are those of the Service. recalculator folds the
// scores of what the worker stores soon after; nil leaves that to the cron.
func NewWorker(store Store, q queue.Consumer, contents Contents, recalculator *Recalculator, cfg Config) (*Worker, error) {
	if store == nil || q == nil || contents == nil {
		return nil, errors.New("rating: NewWorker needs a store, a queue and contents")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.orDefault()
	return &Worker{
		cfg: cfg, store: store, queue: q, contents: contents, recalculator: recalculator,
		identity: installation.New(store.Installation),
		epochs:   newEpochs(store),
		numbers:  newNumbers(store, cfg),
		rejected: map[string]int64{ReasonMalformed: 0, ReasonScale: 0, ReasonNoContent: 0, ReasonUnstorable: 0},
	}, nil
}

// DeadLetterCounts returns how many messages this worker has rejected since it was made, by reason;
// a reason that never was is there with 0. A message whose rejection was recorded twice, because
// the queue delivered it again, is counted twice.
func (w *Worker) DeadLetterCounts() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.rejected)
}

func (w *Worker) countRejections(work []*handled) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range work {
		if h.rejected != nil {
			w.rejected[h.rejected.Reason]++
		}
	}
}

// refreshPause is the least time between two folds that a worker causes, so that a stream of
// ratings costs one a second.
const refreshPause = time.Second

// Run consumes until ctx is done, finishes what it holds and returns nil. When the queue's consumer
// gives up, it is called again.
func (w *Worker) Run(ctx context.Context) error {
	stored := make(chan struct{}, 1)
	var wg sync.WaitGroup
	if w.recalculator != nil {
		wg.Go(func() { w.fold(ctx, stored) })
	}
	defer wg.Wait()
	failures := 0
	handle := func(ctx context.Context, batch []queue.Delivery) error {
		if err := w.handle(ctx, batch, failures+1); err != nil {
			failures++
			w.cfg.Logger.WarnContext(ctx, "rating: a batch is not stored yet", "messages", len(batch), "attempt", failures, "error", err)
			return err
		}
		failures = 0
		select {
		case stored <- struct{}{}:
		default:
		}
		return nil
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		began := w.cfg.Now()
		err := w.queue.Consume(ctx, w.cfg.Batch, handle)
		if ctx.Err() != nil {
			return nil
		}
		if w.cfg.Now().Sub(began) > time.Minute {
			pause = 100 * time.Millisecond
		}
		w.cfg.Logger.WarnContext(ctx, "rating: the queue's consumer stopped, starting it again", "pause", pause, "error", err)
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// fold folds scores after batches were stored, at most once every refreshPause.
func (w *Worker) fold(ctx context.Context, stored <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-stored:
		}
		if _, err := w.recalculator.Refresh(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.WarnContext(ctx, "rating: scores are not folded yet", "error", err)
		}
		if !sleep(ctx, refreshPause) {
			return
		}
	}
}

// sleep waits for d and reports whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// handled is a message on its way through a batch.
type handled struct {
	queue.Delivery
	event  event
	key    Key
	change Change
	// What became of it: exactly one of them is set in the end.
	outcome  Result
	stored   Rating // as it is after the change
	rejected *DeadLetter
	repaired bool
}

func (h *handled) reject(reason, detail string, at time.Time) {
	body := h.Body[:min(len(h.Body), queue.MaxBody)]
	h.rejected = &DeadLetter{Position: h.Position, Key: h.Key, Body: body, Reason: reason, Detail: detail, At: at}
}

// Reasons of dead letters. They are also the codes of failed tasks.
const (
	ReasonMalformed  = "malformed"      // the message is not one of this module's, of a newer release, or damaged
	ReasonScale      = "invalid_score"  // the score lies outside the scale
	ReasonNoContent  = "does_not_exist" // the content is deleted
	ReasonUnstorable = "unstorable"     // the store will never take it
)

// contentGone is the error of tasks whose content is deleted.
var contentGone = &TaskError{ReasonNoContent, "the content does not exist"}

// handle stores a batch. An error means that nothing is known to be stored and the batch must come
// again.
func (w *Worker) handle(ctx context.Context, batch []queue.Delivery, attempt int) error {
	began := w.cfg.time()
	batch, err := w.own(ctx, batch)
	if err != nil {
		return err
	}
	work := make([]*handled, len(batch))
	for i, d := range batch {
		work[i] = w.decode(d)
	}
	if err := w.locate(ctx, work); err != nil {
		w.retrying(ctx, work, attempt, began)
		return err
	}
	// What is handed over is what is stored: a score that came before in the same batch must not be
	// superseded by its erasure.
	changes, handed := newest(work, false), newest(work, true)
	err = w.apply(ctx, changes, rejections(work))
	if err == nil {
		err = w.apply(ctx, handed, nil)
	}
	if err != nil {
		w.retrying(ctx, work, attempt, began)
		return err
	}
	if err := w.recount(ctx, work); err != nil {
		w.retrying(ctx, work, attempt, began)
		return err
	}
	w.countRejections(work)
	w.publish(ctx, work, changes, attempt, began)
	w.afterApply(ctx, changes)
	return nil
}

func (w *Worker) decode(d queue.Delivery) *handled {
	h := &handled{Delivery: d}
	if d.Damaged {
		w.cfg.Logger.Error("rating: a message is damaged", "key", d.Key, "stream", d.Stream, "offset", d.Offset)
		h.reject(ReasonMalformed, "the message is damaged", w.cfg.time())
		return h
	}
	e, err := decodeEvent(d.Body)
	if err != nil {
		w.cfg.Logger.Error("rating: a message is malformed", "key", d.Key, "stream", d.Stream, "offset", d.Offset, "error", err)
		h.reject(ReasonMalformed, "the message is not one that this release knows", w.cfg.time())
		return h
	}
	h.event = e
	if e.Op == opRecalculate {
		h.key = Key{Content: d.Key}
		if !id.Valid(d.Key) {
			h.reject(ReasonMalformed, "the key is not a content's identifier", w.cfg.time())
		}
		return h
	}
	key, ok := ParseKey(d.Key)
	if !ok {
		h.reject(ReasonMalformed, "the key is not a rating's identifier", w.cfg.time())
		return h
	}
	h.key = key
	if e.Op == opRate && !w.cfg.Scale.Contains(e.Score) {
		h.reject(ReasonScale, fmt.Sprintf("the score %d lies outside %d to %d", e.Score, w.cfg.Scale.Min, w.cfg.Scale.Max), w.cfg.time())
	}
	return h
}

// locate finds the version and the bucket of every change, and rejects those of contents that are
// gone.
func (w *Worker) locate(ctx context.Context, work []*handled) error {
	var ids []string
	seen := map[string]bool{}
	for _, h := range work {
		if h.rejected == nil && h.event.Op == opRate && !seen[h.key.Content] {
			seen[h.key.Content] = true
			ids = append(ids, h.key.Content)
		}
	}
	opened := map[string]time.Time{}
	if len(ids) > 0 {
		var err error
		if opened, err = w.contents.HistoryStarts(ctx, ids); err != nil {
			return fmt.Errorf("rating: look up %d contents: %w", len(ids), err)
		}
	}
	var openings []HistoryStart
	for _, h := range work {
		if h.rejected != nil || h.event.Op == opRecalculate {
			continue
		}
		epoch, err := w.epochs.of(ctx, h.Stream)
		if err != nil {
			return err
		}
		h.change = Change{Key: h.key, Version: Version{epoch, h.Offset}, Withdraw: h.event.Op == opWithdraw, ReassignTo: h.event.ReassignTo, At: h.event.At}
		if planted.WallClock { // in milliseconds since 2001, which is less than 2^40
			h.change.Version.Offset = h.event.At.UnixMilli() - 1e12
		}
		if h.change.Withdraw {
			continue
		}
		at, ok := opened[h.key.Content]
		if !ok {
			h.reject(contentGone.Code, contentGone.Detail, w.cfg.time())
			continue
		}
		if at.IsZero() {
			openings = append(openings, HistoryStart{Content: h.key.Content, At: h.event.At})
		}
		h.change.Score = h.event.Score
	}
	if err := w.open(ctx, openings, opened); err != nil {
		return err
	}
	for _, h := range work {
		if h.rejected == nil && h.event.Op == opRate {
			h.change.Bucket = score.BucketAt(opened[h.key.Content], h.event.At)
		}
	}
	return nil
}

// open settles when the histories of contents opened that open with their first rating.
func (w *Worker) open(ctx context.Context, openings []HistoryStart, opened map[string]time.Time) error {
	if len(openings) == 0 {
		return nil
	}
	slices.SortFunc(openings, func(a, b HistoryStart) int {
		if c := (Key{Content: a.Content}).Compare(Key{Content: b.Content}); c != 0 {
			return c
		}
		return a.At.Compare(b.At)
	})
	openings = slices.CompactFunc(openings, func(a, b HistoryStart) bool { return a.Content == b.Content })
	settled, err := w.store.StartHistories(ctx, openings)
	if err != nil {
		return fmt.Errorf("rating: open the histories of %d contents: %w", len(openings), err)
	}
	for _, o := range settled {
		opened[o.Content] = o.At
	}
	return nil
}

// newest returns, for each key, the change of the highest version, sorted by key; the others are
// superseded. It looks at those changes alone that hand over, or that do not.
func newest(work []*handled, reassign bool) []*handled {
	best := map[Key]*handled{}
	for _, h := range work {
		if h.rejected != nil || h.event.Op == opRecalculate || reassign != (h.event.ReassignTo != "") {
			continue
		}
		other, ok := best[h.key]
		switch {
		case !ok:
			best[h.key] = h
		case h.change.Version.Compare(other.change.Version) > 0:
			other.outcome = Superseded
			best[h.key] = h
		default:
			h.outcome = Superseded
		}
	}
	changes := make([]*handled, 0, len(best))
	for _, h := range best {
		changes = append(changes, h)
	}
	slices.SortFunc(changes, func(a, b *handled) int { return a.key.Compare(b.key) })
	return changes
}

func rejections(work []*handled) []DeadLetter {
	var out []DeadLetter
	for _, h := range work {
		if h.rejected != nil {
			out = append(out, *h.rejected)
		}
	}
	return out
}

// apply stores changes and rejections in one transaction. If the store can never take the batch, it
// is halved until the change that is to blame is found; that one is rejected.
func (w *Worker) apply(ctx context.Context, changes []*handled, rejected []DeadLetter) error {
	if len(changes) == 0 && len(rejected) == 0 {
		return nil
	}
	batch := Batch{Changes: make([]Change, len(changes)), DeadLetters: rejected}
	for i, h := range changes {
		batch.Changes[i] = h.change
	}
	outcomes, err := w.store.ApplyRatings(ctx, batch)
	switch {
	case err == nil:
	case !errors.Is(err, ErrUnstorable):
		return fmt.Errorf("rating: apply %d changes: %w", len(changes), err)
	case len(changes) == 0:
		return fmt.Errorf("rating: record %d dead letters: %w", len(rejected), err)
	case len(changes) == 1:
		changes[0].reject(ReasonUnstorable, "the store cannot take it", w.cfg.time())
		w.cfg.Logger.ErrorContext(ctx, "rating: the store cannot take a change", "rating", changes[0].key.String(), "error", err)
		return w.apply(ctx, nil, append(rejected, *changes[0].rejected))
	default:
		half := len(changes) / 2
		if err := w.apply(ctx, changes[:half], rejected); err != nil {
			return err
		}
		return w.apply(ctx, changes[half:], nil)
	}
	if len(outcomes) != len(changes) {
		return fmt.Errorf("rating: %d outcomes of %d changes", len(outcomes), len(changes))
	}
	var gone []DeadLetter
	for i, h := range changes {
		if outcomes[i].Refused {
			h.reject(contentGone.Code, contentGone.Detail, w.cfg.time())
			gone = append(gone, *h.rejected)
		} else {
			h.outcome, h.stored = outcomes[i].Result, outcomes[i].Rating
		}
	}
	return w.apply(ctx, nil, gone)
}

// recount does the recalculations that staff asked for. They come after the changes of the batch,
// and may be done twice.
func (w *Worker) recount(ctx context.Context, work []*handled) error {
	for _, h := range work {
		if h.rejected != nil || h.event.Op != opRecalculate {
			continue
		}
		ids := []string{h.key.Content}
		drift, err := w.store.Recount(ctx, ids)
		if err != nil {
			return fmt.Errorf("rating: recount %s: %w", h.key.Content, err)
		}
		h.repaired = len(drift) > 0
		if err := w.store.MarkChanged(ctx, ids); err != nil {
			return fmt.Errorf("rating: mark %s: %w", h.key.Content, err)
		}
		if w.recalculator != nil {
			if _, err := w.recalculator.Refresh(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish tells the cache what was stored: fresh numbers first, so that nobody who learns of a
// task's success reads older ones.
func (w *Worker) publish(ctx context.Context, work, changes []*handled, attempt int, began time.Time) {
	if w.cfg.Cache == nil {
		return
	}
	var ids []string
	for _, h := range changes { // sorted by key
		if h.rejected == nil && h.outcome != Superseded && (len(ids) == 0 || ids[len(ids)-1] != h.key.Content) {
			ids = append(ids, h.key.Content)
		}
	}
	if len(ids) > 0 {
		read := w.cfg.Now()
		if stats, err := w.store.StatsByContent(ctx, ids); err == nil {
			w.numbers.put(ctx, stats, read)
		} else {
			w.cfg.Logger.WarnContext(ctx, "rating: numbers are stored, but the cache has older ones", "contents", len(ids), "error", err)
		}
	}
	done := w.cfg.time()
	items := make([]cache.Item, 0, len(work))
	for _, h := range work {
		r := record{State: Success, Attempts: attempt, Started: began.UnixMicro(), Done: done.UnixMicro(), Outcome: h.outcome, Repaired: h.repaired}
		if h.rejected != nil {
			r.State, r.Outcome, r.Error = Failure, "", &TaskError{h.rejected.Reason, h.rejected.Detail}
		}
		if taskID, ok := h.taskID(); ok {
			items = append(items, r.item(taskID))
		}
	}
	remember(ctx, w.cfg.Cache, w.cfg.warn, items)
}

// retrying marks the tasks of a batch that could not be stored yet.
func (w *Worker) retrying(ctx context.Context, work []*handled, attempt int, began time.Time) {
	items := make([]cache.Item, 0, len(work))
	r := record{State: Retry, Attempts: attempt, Started: began.UnixMicro(), Error: &TaskError{"unavailable", "The store does not answer; the worker tries again."}}
	for _, h := range work {
		if taskID, ok := h.taskID(); ok {
			items = append(items, r.item(taskID))
		}
	}
	remember(ctx, w.cfg.Cache, w.cfg.warn, items)
}

// taskID returns the identifier of the message's task, the same that its publisher made. A message
// that is none of this module's has none.
func (h *handled) taskID() (string, bool) {
	if h.event.Op == "" || h.key.Content == "" {
		return "", false
	}
	by := h.event.By
	if h.event.Op == opRate {
		by = h.key.Rater
	}
	return ticket{Op: h.event.Op, Position: h.Position, At: h.event.At, Key: h.key, By: by}.id(), true
}
