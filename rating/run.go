package rating

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
)

const (
	runLayout = "20060102T150405Z"
	latestRun = "latest"
)

// RunID returns the identifier of the task that a run of a job is: the job, "@" and when it was
// due, such as "ratings.recount@20261123T030000Z". In place of the time, "latest" stands for the
// last run that began. Staff may ask for these tasks. They are kept by the cache alone: what it has
// forgotten, or never had, is ErrNotFound.
func RunID(job string, at time.Time) string { return job + "@" + at.UTC().Format(runLayout) }

// parseRun is the inverse of RunID. It reports a zero time for the latest run.
func parseRun(s string) (job string, at time.Time, ok bool) {
	job, when, ok := strings.Cut(s, "@")
	if !ok || job != JobRefresh && job != JobRecount && job != JobSweep && job != JobErase {
		return "", time.Time{}, false
	}
	if when == latestRun {
		return job, time.Time{}, true
	}
	at, err := time.Parse(runLayout, when)
	return job, at, err == nil && RunID(job, at) == s
}

// recordRun keeps what is known of a run, and which one is the latest.
func recordRun(ctx context.Context, cfg Config, job string, at time.Time, run record) {
	id := RunID(job, at)
	remember(ctx, cfg.Cache, cfg.warn, []cache.Item{run.item(id),
		{Key: latestKey(job), Value: []byte(strconv.FormatInt(at.Unix(), 10)), Version: at.Unix(), TTL: Retention}})
}

func latestKey(job string) string { return "run:" + job }

// run returns the task of a run.
func (s *Service) run(ctx context.Context, actor actor.Actor, job string, at time.Time) (Task, error) {
	if !actor.Staff {
		return Task{}, ErrNotFound
	}
	if at.IsZero() {
		seconds, ok := recall[int64](ctx, s.cfg.Cache, s.cfg.warn, latestKey(job))
		if !ok {
			return Task{}, ErrNotFound
		}
		at = time.Unix(seconds, 0).UTC()
	}
	task := Task{ID: RunID(job, at), Name: job, CreatedAt: at, ExpiresAt: at.Add(Retention)}
	if s.cfg.time().After(task.ExpiresAt) {
		return Task{}, ErrExpired
	}
	known, ok := s.recall(ctx, task.ID)
	if !ok {
		return Task{}, ErrNotFound
	}
	return known.complete(task, Key{}), nil
}

// runJob does job whenever schedule says so and this process claims the tick, until ctx is done.
func runJob(ctx context.Context, cfg Config, store Store, job string, schedule Schedule, do func(context.Context) (TaskResult, error)) error {
	for {
		at := schedule.Next(cfg.Now())
		if at.IsZero() {
			return fmt.Errorf("rating: the schedule of job %s is never due", job)
		}
		if !sleep(ctx, at.Sub(cfg.Now())) {
			return nil
		}
		tick(ctx, cfg, store, job, at, leaseOf(schedule, at), do)
	}
}

// tick does job if this process claims the tick. What goes wrong is logged; the next tick tries
// again.
func tick(ctx context.Context, cfg Config, store Store, job string, at time.Time, lease time.Duration, do func(context.Context) (TaskResult, error)) {
	claimed, err := store.ClaimLease(ctx, job, at, lease)
	if err != nil {
		if ctx.Err() == nil {
			cfg.Logger.WarnContext(ctx, "rating: tick not claimed", "job", job, "at", at, "error", err)
		}
		return
	}
	if !claimed {
		return
	}
	began := cfg.time()
	run := record{State: Started, Attempts: 1, Started: began.UnixMicro()}
	recordRun(ctx, cfg, job, at, run)
	done, err := do(ctx)
	run.State, run.Done, run.Run = Success, cfg.time().UnixMicro(), &done
	switch {
	case err != nil && ctx.Err() != nil:
		run.State, run.Run, run.Error = Failure, nil, &TaskError{"stopped", "The process was told to stop; the next run goes on."}
	case err != nil:
		cfg.Logger.ErrorContext(ctx, "rating: job failed", "job", job, "at", at, "error", err)
		run.State, run.Run, run.Error = Failure, nil, &TaskError{"failed", "The run failed; the next one tries again. The server's log says why."}
	case done != (TaskResult{}):
		cfg.Logger.InfoContext(ctx, "rating: job done", "job", job, "at", at, "contents", done.Contents, "drifted", done.Drifted, "removed", done.Removed, "withdrawn", done.Withdrawn,
			"took", cfg.time().Sub(began))
	}
	recordRun(context.WithoutCancel(ctx), cfg, job, at, run)
	if err := store.ReleaseLease(context.WithoutCancel(ctx), job, at); err != nil {
		cfg.Logger.WarnContext(ctx, "rating: tick not released", "job", job, "at", at, "error", err)
	}
}
