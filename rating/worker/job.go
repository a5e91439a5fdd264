package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
)

// SweepAfter is how long tombstones, dead letters and erasures are kept: twice the week that a
// queue should keep messages, so that no replay brings a withdrawn rating back.
const SweepAfter = 14 * 24 * time.Hour

const (
	// erasureEvery is the pause between two runs of task.Erase. A run resumes the erasures of the
	// last recentErasures; the first run of an hour resumes all that are on record.
	erasureEvery   = 30 * time.Second
	recentErasures = time.Hour
	// sweepLimit is how many rows one transaction of task.Sweep removes at the most.
	sweepLimit = 1000
	// maxLease bounds the lease of a run.
	maxLease = 10 * time.Minute
)

// Run runs a job whenever schedule says so, until ctx is done, and returns nil. The job is one of
// task.Recalculate, task.Recount and task.Sweep; any other is an error. Of all processes that run
// the same job on one store, one has the lease of each run.
func (r *Recalculator) Run(ctx context.Context, job string, schedule Schedule) error {
	do, ok := map[string]func(context.Context) (task.Result, error){
		task.Recalculate: func(ctx context.Context) (done task.Result, err error) {
			done.Contents, err = r.RefreshScores(ctx)
			return done, err
		},
		task.Recount: func(ctx context.Context) (done task.Result, err error) {
			done.Contents, err = r.Recount(ctx, func(rating.Drift) { done.Drifted++ })
			return done, err
		},
		task.Sweep: func(ctx context.Context) (done task.Result, err error) {
			done.Removed, err = r.sweep(ctx)
			return done, err
		},
	}[job]
	if !ok {
		return fmt.Errorf("worker: no job %q", job)
	}
	return r.runJob(ctx, job, schedule, do)
}

// RunErasures resumes erasures every 30 s, as a job like those of Run: it withdraws ratings that
// were accepted and not yet stored when their rater was erased.
func (r *Recalculator) RunErasures(ctx context.Context) error {
	return r.runJob(ctx, task.Erase, Every(erasureEvery), func(ctx context.Context) (done task.Result, err error) {
		now := r.time()
		since := now.Add(-recentErasures)
		if now.Sub(now.Truncate(recentErasures)) < erasureEvery {
			since = time.Time{}
		}
		done.Withdrawn, err = r.ratings.ResumeErasures(ctx, since)
		return done, err
	})
}

func (r *Recalculator) sweep(ctx context.Context) (total int, _ error) {
	for {
		n, err := r.db.SweepRatings(ctx, r.time().Add(-SweepAfter), sweepLimit)
		total += n
		if err != nil {
			return total, fmt.Errorf("worker: sweep: %w", err)
		}
		if n < sweepLimit {
			return total, nil
		}
	}
}

func (r *Recalculator) runJob(
	ctx context.Context, job string, schedule Schedule, do func(context.Context) (task.Result, error),
) error {
	for {
		at := schedule.Next(r.cfg.Now())
		if at.IsZero() {
			return fmt.Errorf("worker: the schedule of job %s is never due", job)
		}
		if backoff.Sleep(ctx, at.Sub(r.cfg.Now())) != nil {
			return nil
		}
		r.runOnce(ctx, job, at, leaseOf(schedule, at), do)
	}
}

// leaseOf returns a lease that ends before the next run, so that a process that was killed delays
// no later run. A run that takes longer may overlap the next run, and shares its work.
func leaseOf(schedule Schedule, at time.Time) time.Duration {
	next := schedule.Next(at)
	if next.IsZero() {
		return maxLease
	}
	return min(maxLease, next.Sub(at)*9/10)
}

// runOnce runs a job if this process gets the lease of the run. Failures are logged; the next run
// tries again.
func (r *Recalculator) runOnce(
	ctx context.Context, job string, at time.Time, lease time.Duration, do func(context.Context) (task.Result, error),
) {
	claimed, err := r.db.ClaimLease(ctx, job, at, lease)
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.WarnContext(ctx, "worker: lease not claimed", "job", job, "at", at, "error", err)
		}
		return
	}
	if !claimed {
		return
	}
	run := task.Task{ID: task.RunID(job, at), State: task.Started, Attempts: 1, StartedAt: r.time()}
	r.ratings.RecordTasks(ctx, []task.Task{run})
	done, err := do(ctx)
	run.State, run.DoneAt = task.Failure, r.time()
	switch {
	case err != nil && ctx.Err() != nil:
		run.Error = &task.Error{Code: "stopped", Detail: "The process was told to stop; the next run goes on."}
	case err != nil:
		r.cfg.Logger.ErrorContext(ctx, "worker: job failed", "job", job, "at", at, "error", err)
		run.Error = &task.Error{Code: "failed",
			Detail: "The run failed; the next one tries again. The server's log says why."}
	default:
		run.State, run.Result = task.Success, &done
		if done != (task.Result{}) {
			r.cfg.Logger.InfoContext(ctx, "worker: job done", "job", job, "at", at, "contents", done.Contents,
				"drifted", done.Drifted, "removed", done.Removed, "withdrawn", done.Withdrawn,
				"took", run.DoneAt.Sub(run.StartedAt))
		}
	}
	ctx = context.WithoutCancel(ctx)
	r.ratings.RecordTasks(ctx, []task.Task{run})
	if err := r.db.ReleaseLease(ctx, job, at); err != nil {
		r.cfg.Logger.WarnContext(ctx, "worker: lease not released", "job", job, "at", at, "error", err)
	}
}
