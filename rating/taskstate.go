package rating

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
)

// maxClockSkew is how far the clock of the process that accepted a task may be ahead of the clock
// of the process that is asked for it. A task from later than that was never accepted.
const maxClockSkew = time.Minute

// Task returns the state of a task. The user who asked for it may read it, if it is about a rating
// of that user, and so may staff. ErrNotFound: the actor may not read it, or it does not exist.
// ErrExpired: it is older than task.Retention.
func (s *Service) Task(ctx context.Context, actor actor.Actor, taskID string) (task.Task, error) {
	t, _, err := s.readTask(ctx, actor, taskID)
	return t, err
}

// readTask is Task that also reports whether the cache knows the task: if so, its identifier is not
// forged.
func (s *Service) readTask(
	ctx context.Context, actor actor.Actor, taskID string,
) (t task.Task, known bool, err error) {
	if job, at, ok := task.ParseRunID(taskID); ok {
		t, err = s.readRun(ctx, actor, job, at)
		return t, err == nil, err
	}
	ticket, ok := taskid.Parse(taskID)
	now := s.cfg.time()
	if !ok || !mayReadTask(actor, ticket) || ticket.At.After(now.Add(maxClockSkew)) {
		return task.Task{}, false, ErrNotFound
	}
	key := Key{Content: ticket.Content, Rater: ticket.Rater}
	t = ticket.Task()
	if now.After(t.ExpiresAt) {
		return task.Task{}, false, ErrExpired
	}
	cached, known := s.tasks.get(ctx, t.ID)
	if known && cached.State.Done() {
		return cached.complete(t, key), known, nil
	}
	derived, err := s.deriveTask(ctx, ticket)
	if err == nil && !derived.State.Done() && !(known && now.Sub(ticket.At) < minRetention) {
		derived, err = s.findLostMessage(ctx, ticket, derived, known)
	}
	// Without the store, and for a stream that the store does not know yet, the cache has the only
	// answer.
	unavailable := errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded)
	if known && (unavailable || err == nil && !derived.State.Done()) {
		return cached.complete(t, key), known, nil
	}
	if err != nil {
		return task.Task{}, known, err
	}
	if !derived.State.Done() {
		return derived.complete(t, key), known, nil
	}
	done := now
	if derived.State == task.Success { // stored, but the worker may not have published the numbers yet
		if err := s.Publish(ctx, []string{key.Content}); err != nil {
			return task.Task{}, known, err
		}
		stats, err := s.stats.load(ctx, []string{key.Content})
		if err != nil {
			return task.Task{}, known, err
		}
		if changed := stats[0].AsOf; changed.Before(now) {
			done = changed
		}
	}
	return derived.withAttempts(cached, ticket.At, done).complete(t, key), known, nil
}

// deriveTask returns the state of a task that follows from what is stored. It writes nothing, since
// the ticket may be forged. ErrNotFound: the stream is unknown. Submit and workers make streams
// known; before that, the cache knows the task.
func (s *Service) deriveTask(ctx context.Context, t taskid.Ticket) (taskRecord, error) {
	letters, err := s.store.ListDeadLetters(ctx, DeadLetterQuery{Position: t.Position, Key: t.MessageKey(), Limit: 1})
	if err != nil {
		return taskRecord{}, fmt.Errorf("rating: task of %s: %w", t.MessageKey(), err)
	}
	if len(letters) > 0 {
		failed := task.Error{Code: letters[0].Reason, Detail: letters[0].Detail}
		return taskRecord{State: task.Failure, Done: letters[0].At.UnixMicro(), Error: &failed}, nil
	}
	if t.Op == event.Recalculate { // only the cache keeps its result
		return taskRecord{State: task.Pending}, nil
	}
	epoch, err := s.epochs.find(ctx, t.Position.Stream)
	if err != nil {
		return taskRecord{}, err
	}
	found, err := s.store.RatingsByKey(ctx, []Key{{Content: t.Content, Rater: t.Rater}})
	if err != nil {
		return taskRecord{}, fmt.Errorf("rating: task of %s: %w", t.MessageKey(), err)
	}
	if len(found) == 0 {
		// The ratings of a deleted content are deleted, and those that wait will be refused.
		switch err := s.Exists(ctx, t.Content); {
		case errors.Is(err, ErrNotFound):
			return taskRecord{State: task.Failure, Error: &task.Error{Code: task.CodeNoContent, Detail: event.NoContent}}, nil
		case err != nil:
			return taskRecord{}, err
		}
		return taskRecord{State: task.Pending}, nil
	}
	switch found[0].Version.Compare(Version{epoch, t.Position.Offset}) {
	case -1:
		return taskRecord{State: task.Pending}, nil
	case 0:
		return taskRecord{State: task.Success, Outcome: string(found[0].Result)}, nil
	}
	return taskRecord{State: task.Success, Outcome: string(Superseded)}, nil
}

// readRun returns the task of a run of a job. A zero time means the latest run.
func (s *Service) readRun(ctx context.Context, actor actor.Actor, job string, at time.Time) (task.Task, error) {
	if !actor.Staff {
		return task.Task{}, ErrNotFound
	}
	if at.IsZero() {
		seconds, ok := s.tasks.runs.values(ctx, job)[job]
		if !ok {
			return task.Task{}, ErrNotFound
		}
		at = time.Unix(seconds, 0).UTC()
	}
	run := task.Task{ID: task.RunID(job, at), Name: job, CreatedAt: at, ExpiresAt: at.Add(task.Retention)}
	if s.cfg.time().After(run.ExpiresAt) {
		return task.Task{}, ErrExpired
	}
	cached, ok := s.tasks.get(ctx, run.ID)
	if !ok {
		return task.Task{}, ErrNotFound
	}
	return cached.complete(run, Key{}), nil
}
