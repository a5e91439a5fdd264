package rating

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Recalculator keeps the published scores up to date and recounts the numbers. Any number of them, in any number of processes, may share a store.
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

// chunk is how many contents one transaction of a recalculation takes at the most.
const chunk = 500

// Refresh folds the scores of all contents that have changed since their last fold and returns how many.
func (r *Recalculator) Refresh(ctx context.Context) (int, error) {
	total, limit := 0, min(chunk, r.cfg.Batch)
	for {
		stats, err := r.store.RefreshScores(ctx, limit, func(h History) Score { return r.cfg.Policy.Fold(r.cfg.Scale, h) })
		if err != nil {
			return total, fmt.Errorf("rating: refresh scores: %w", err)
		}
		r.numbers.put(ctx, stats)
		total += len(stats)
		if len(stats) < limit {
			return total, nil
		}
	}
}

// Recount recounts the numbers of every content from its ratings, repairs what differs and reports it to drift, if that is not
// nil. It returns how many contents it looked at. Ratings may be stored meanwhile.
func (r *Recalculator) Recount(ctx context.Context, drift func(Drift)) (int, error) {
	total, after := 0, ""
	for {
		ids, err := r.store.RatedContents(ctx, after, chunk)
		if err != nil {
			return total, fmt.Errorf("rating: contents after %q: %w", after, err)
		}
		if len(ids) == 0 {
			return total, nil
		}
		found, err := r.store.Recount(ctx, ids)
		if err != nil {
			return total, fmt.Errorf("rating: recount %d contents after %q: %w", len(ids), after, err)
		}
		for _, d := range found {
			r.cfg.Logger.ErrorContext(ctx, "rating: numbers had drifted and were repaired", "content", d.Content,
				"count", d.Was.Count, "recounted", d.Is.Count, "sum", d.Was.Sum, "resummed", d.Is.Sum)
			if drift != nil {
				drift(d)
			}
		}
		total += len(ids)
		after = ids[len(ids)-1]
	}
}

// Schedule says when a job is due. Next returns the first time after t.
type Schedule interface{ Next(t time.Time) time.Time }

// Every returns a schedule that is due at every whole multiple of d, counted from the zero time, so that all processes agree.
// d is at least a second.
func Every(d time.Duration) Schedule { return every(max(d, time.Second)) }

type every time.Duration

func (e every) Next(t time.Time) time.Time {
	d := time.Duration(e)
	return t.UTC().Truncate(d).Add(d)
}

// The jobs. Their names are what processes agree on when they share the work.
const (
	JobRefresh = "ratings.refresh" // folds the scores of what has changed
	JobRecount = "ratings.recount" // recounts everything
	JobSweep   = "ratings.sweep"   // removes what was withdrawn or rejected long ago
	JobForget  = "ratings.forget"  // withdraws what those who left have given; see Service.Run
)

// lease is how long a process that claimed a tick is waited for when it does not come back.
const lease = 10 * time.Minute

// SweepAfter is how long withdrawn ratings, rejected messages and departures are kept: twice the week that a queue should keep
// messages, so that no replay can bring back what was withdrawn.
const SweepAfter = 14 * 24 * time.Hour

// Run does job whenever schedule says so, until ctx is done, and returns nil. Of all processes that run the same job on one
// store, one does each tick. An unknown job is an error.
func (r *Recalculator) Run(ctx context.Context, job string, schedule Schedule) error {
	do, ok := map[string]func(context.Context) (int, error){
		JobRefresh: r.Refresh,
		JobRecount: func(ctx context.Context) (int, error) { return r.Recount(ctx, nil) },
		JobSweep:   r.sweep,
	}[job]
	if !ok {
		return fmt.Errorf("rating: no job %q", job)
	}
	return runJob(ctx, r.cfg, r.store, job, schedule, do)
}

// runJob does job whenever schedule says so and this process claims the tick, until ctx is done.
func runJob(ctx context.Context, cfg Config, store Store, job string, schedule Schedule, do func(context.Context) (int, error)) error {
	for {
		at := schedule.Next(cfg.Now())
		if at.IsZero() {
			return fmt.Errorf("rating: the schedule of job %s is never due", job)
		}
		if !sleep(ctx, at.Sub(cfg.Now())) {
			return nil
		}
		tick(ctx, cfg, store, job, at, do)
	}
}

// tick does job if this process claims the tick. What goes wrong is logged; the next tick tries again.
func tick(ctx context.Context, cfg Config, store Store, job string, at time.Time, do func(context.Context) (int, error)) {
	claimed, err := store.ClaimTick(ctx, job, at, lease)
	if err != nil {
		if ctx.Err() == nil {
			cfg.Logger.WarnContext(ctx, "rating: tick not claimed", "job", job, "at", at, "error", err)
		}
		return
	}
	if !claimed {
		return
	}
	began := cfg.Now()
	n, err := do(ctx)
	if err != nil && ctx.Err() == nil {
		cfg.Logger.ErrorContext(ctx, "rating: job failed", "job", job, "at", at, "error", err)
	} else if n > 0 {
		cfg.Logger.InfoContext(ctx, "rating: job done", "job", job, "at", at, "done", n, "took", cfg.Now().Sub(began))
	}
	if err := store.ReleaseTick(context.WithoutCancel(ctx), job, at); err != nil {
		cfg.Logger.WarnContext(ctx, "rating: tick not released", "job", job, "at", at, "error", err)
	}
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
