package rating

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

// Recalculator keeps the published scores up to date and recounts the numbers. Any number of them,
// in any number of processes, may share a store.
type Recalculator struct {
	cfg     Config
	store   Store
	numbers numbers
}

// NewRecalculator returns a Recalculator. cfg is that of the Service.
func NewRecalculator(store Store, cfg Config) (*Recalculator, error) {
	if store == nil {
		return nil, errors.New("rating: NewRecalculator needs a store")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.orDefault()
	return &Recalculator{cfg: cfg, store: store, numbers: newNumbers(store, cfg)}, nil
}

// compute computes the published score of a content.
func (r *Recalculator) compute(h History) score.Score {
	return r.cfg.Policy.Compute(r.cfg.Scale, h.Buckets, h.Rulings())
}

// chunk is how many contents one transaction of a recalculation takes at the most.
const chunk = 500

// Refresh folds the scores of all contents that have changed since their last fold and returns how
// many.
func (r *Recalculator) Refresh(ctx context.Context) (int, error) {
	total, limit := 0, min(chunk, r.cfg.Batch)
	for {
		began := r.cfg.Now()
		stats, err := r.store.RefreshScores(ctx, limit, r.compute)
		if err != nil {
			return total, fmt.Errorf("rating: refresh scores: %w", err)
		}
		r.numbers.put(ctx, stats, began)
		total += len(stats)
		if len(stats) < limit {
			return total, nil
		}
	}
}

// Recount recounts the numbers of every content from its ratings, repairs what differs and reports
// it to drift, if that is not nil. It returns how many contents it looked at. Ratings may be stored
// meanwhile. A store that is an Auditor says which contents to recount.
func (r *Recalculator) Recount(ctx context.Context, drift func(Drift)) (int, error) {
	if auditor, ok := r.store.(Auditor); ok {
		n, suspects, err := auditor.Audit(ctx)
		if err == nil {
			for ids := range slices.Chunk(suspects, chunk) {
				if err := r.recount(ctx, ids, drift); err != nil {
					return n, err
				}
			}
			return n, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("rating: audit: %w", err)
		}
		r.cfg.Logger.WarnContext(ctx, "rating: the audit failed, recounting content by content", "error", err)
	}
	return r.walk(ctx, func(ids []string) error { return r.recount(ctx, ids, drift) })
}

// walk hands every content that has ratings or numbers to do, in pieces.
func (r *Recalculator) walk(ctx context.Context, do func(ids []string) error) (int, error) {
	total, after := 0, ""
	for {
		ids, err := r.store.RatedContents(ctx, after, chunk)
		if err != nil {
			return total, fmt.Errorf("rating: contents after %q: %w", after, err)
		}
		if len(ids) == 0 {
			return total, nil
		}
		if err := do(ids); err != nil {
			return total, err
		}
		total += len(ids)
		after = ids[len(ids)-1]
	}
}

func (r *Recalculator) recount(ctx context.Context, ids []string, drift func(Drift)) error {
	found, err := r.store.Recount(ctx, ids)
	if err != nil {
		return fmt.Errorf("rating: recount %d contents from %q: %w", len(ids), ids[0], err)
	}
	for _, d := range found {
		r.report(ctx, d, drift)
	}
	return nil
}

func (r *Recalculator) report(ctx context.Context, d Drift, drift func(Drift)) {
	r.cfg.Logger.ErrorContext(ctx, "rating: numbers had drifted and were repaired", "content", d.Content, "first", d.First(),
		"count", d.Was.Count, "recounted", d.Is.Count, "sum", d.Was.Sum, "resummed", d.Is.Sum)
	if drift != nil {
		drift(d)
	}
}

// Rebuild recounts contents like Recount and folds all their scores anew, those included whose
// ratings have not changed, as a change of the ScorePolicy asks for. No ids: every content.
func (r *Recalculator) Rebuild(ctx context.Context, ids []string, drift func(Drift)) (int, error) {
	rebuild := func(ids []string) error {
		if err := r.recount(ctx, ids, drift); err != nil {
			return err
		}
		if err := r.store.MarkChanged(ctx, ids); err != nil {
			return fmt.Errorf("rating: mark %d contents from %q: %w", len(ids), ids[0], err)
		}
		_, err := r.Refresh(ctx)
		return err
	}
	if len(ids) > 0 {
		return len(ids), rebuild(ids)
	}
	return r.walk(ctx, rebuild)
}

// Verify recounts like Recount, and also looks whether each published score is what a fold gives,
// to the bit. A score that is not is folded anew and reported as a Drift whose numbers differ in
// nothing else.
func (r *Recalculator) Verify(ctx context.Context, drift func(Drift)) (int, error) {
	return r.walk(ctx, func(ids []string) error {
		if err := r.recount(ctx, ids, drift); err != nil {
			return err
		}
		if _, err := r.Refresh(ctx); err != nil {
			return err
		}
		for _, id := range ids {
			d, err := r.wrongScore(ctx, id)
			if err != nil {
				return fmt.Errorf("rating: verify %s: %w", id, err)
			}
			if d == nil {
				continue
			}
			r.report(ctx, *d, drift)
			if err := r.store.MarkChanged(ctx, []string{id}); err != nil {
				return fmt.Errorf("rating: mark %s: %w", id, err)
			}
		}
		_, err := r.Refresh(ctx)
		return err
	})
}

// wrongScore returns how the published score of a content differs from what its history gives, or
// nil. Where ratings keep coming in, it takes a moment at which the two belong together.
func (r *Recalculator) wrongScore(ctx context.Context, id string) (*Drift, error) {
	var d *Drift
	for range 10 {
		before, err := r.store.StatsByContent(ctx, []string{id})
		if err != nil || len(before) == 0 {
			return nil, err
		}
		h, err := r.store.HistoryByContent(ctx, id)
		if err != nil {
			return nil, err
		}
		is := before[0]
		if is.Score = r.compute(h); is.Score == before[0].Score {
			return nil, nil
		}
		d = &Drift{Content: id, Was: before[0], Is: is, WasBuckets: h.Buckets, IsBuckets: h.Buckets}
		if _, err := r.Refresh(ctx); err != nil {
			return nil, err
		}
		after, err := r.store.StatsByContent(ctx, []string{id})
		if err != nil {
			return nil, err
		}
		if len(after) == 1 && after[0].Revision == before[0].Revision { // nothing waited to be folded
			return d, nil
		}
	}
	return d, nil
}

// Schedule says when a job is due. Next returns the first time after t.
type Schedule interface{ Next(t time.Time) time.Time }

// Every returns a schedule that is due at every whole multiple of d, counted from the zero time, so
// that all processes agree. d is at least a second.
func Every(d time.Duration) Schedule { return every(max(d, time.Second)) }

type every time.Duration

func (e every) Next(t time.Time) time.Time {
	d := time.Duration(e)
	return t.UTC().Truncate(d).Add(d)
}

// The jobs. Their names are what processes agree on when they share the work, and those of their
// tasks; see RunID.
const (
	JobRefresh = TaskRecalculate   // folds the scores of what has changed
	JobRecount = "ratings.recount" // recounts everything
	JobSweep   = "ratings.sweep"   // removes what was withdrawn or rejected long ago
	JobErase   = "ratings.forget"  // withdraws what those who left have given; see Service.Run
)

// longestLease is how long a process that claimed a tick is waited for at the most when it does not
// come back.
const longestLease = 10 * time.Minute

// leaseOf ends a lease before the next tick, so that a process that was killed holds up nobody. A
// job that takes longer may run beside the next tick's, and shares its work.
func leaseOf(schedule Schedule, at time.Time) time.Duration {
	next := schedule.Next(at)
	if next.IsZero() {
		return longestLease
	}
	return min(longestLease, next.Sub(at)*9/10)
}

// SweepAfter is how long withdrawn ratings, dead letters and erasures are kept: twice the week that
// a queue should keep messages, so that no replay can bring back what was withdrawn.
const SweepAfter = 14 * 24 * time.Hour

// Run does job whenever schedule says so, until ctx is done, and returns nil. Of all processes that
// run the same job on one store, one does each tick. An unknown job is an error.
func (r *Recalculator) Run(ctx context.Context, job string, schedule Schedule) error {
	do, ok := map[string]func(context.Context) (TaskResult, error){
		JobRefresh: func(ctx context.Context) (done TaskResult, err error) {
			done.Contents, err = r.Refresh(ctx)
			return done, err
		},
		JobRecount: func(ctx context.Context) (done TaskResult, err error) {
			done.Contents, err = r.Recount(ctx, func(Drift) { done.Drifted++ })
			return done, err
		},
		JobSweep: func(ctx context.Context) (done TaskResult, err error) {
			done.Removed, err = r.sweep(ctx)
			return done, err
		},
	}[job]
	if !ok {
		return fmt.Errorf("rating: no job %q", job)
	}
	return runJob(ctx, r.cfg, r.store, job, schedule, do)
}

func (r *Recalculator) sweep(ctx context.Context) (int, error) {
	const limit = 1000
	total := 0
	for {
		n, err := r.store.SweepRatings(ctx, r.cfg.time().Add(-SweepAfter), limit)
		total += n
		if err != nil {
			return total, fmt.Errorf("rating: sweep: %w", err)
		}
		if n < limit {
			return total, nil
		}
	}
}
