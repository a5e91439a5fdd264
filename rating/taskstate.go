package rating

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/deadline"
)

// Task returns the state of a task, to its creator, if it is about a rating of the creator's own,
// and to staff. ErrNotFound: there is no such task, or it is another one's, or about what only
// staff may ask for. ErrExpired: it is older than Retention.
func (s *Service) Task(ctx context.Context, actor actor.Actor, taskID string) (Task, error) {
	task, _, err := s.look(ctx, actor, taskID)
	return task, err
}

// look is Task, and reports whether the cache knows the task: if it does, the task is not made up.
func (s *Service) look(ctx context.Context, actor actor.Actor, taskID string) (task Task, known bool, err error) {
	if job, at, ok := parseRun(taskID); ok {
		task, err = s.run(ctx, actor, job, at)
		return task, err == nil, err
	}
	t, ok := parseTicket(taskID)
	now := s.cfg.time()
	if !ok || !t.readableBy(actor) || t.At.After(now.Add(ahead)) {
		return Task{}, false, ErrNotFound
	}
	task = t.task()
	if now.After(task.ExpiresAt) {
		return Task{}, false, ErrExpired
	}
	remembered, known := s.recall(ctx, task.ID)
	if known && remembered.State.Done() {
		return remembered.complete(task, t.Key), known, nil
	}
	derived, err := s.derive(ctx, t)
	if err == nil && !derived.State.Done() && !(known && now.Sub(t.At) < keptFor) {
		derived, err = s.locate(ctx, t, derived, known)
	}
	// Without the store, and of a stream that it does not know yet, what is remembered is all that
	// is known.
	silent := errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
	if known && (silent || err == nil && !derived.State.Done()) {
		return remembered.complete(task, t.Key), known, nil
	}
	if err != nil {
		return Task{}, known, err
	}
	if !derived.State.Done() {
		return derived.complete(task, t.Key), known, nil
	}
	done := now
	if derived.State == Success { // the worker has committed, and may not have come to refreshing the numbers
		stats, err := s.numbers.ask(ctx, []string{t.Key.Content})
		if err != nil {
			return Task{}, known, err
		}
		if changed := stats[0].AsOf; changed.Before(now) {
			done = changed
		}
	}
	return derived.after(remembered, t.At, done).complete(task, t.Key), known, nil
}

// recall asks the cache for what is known of a task.
func (s *Service) recall(ctx context.Context, taskID string) (record, bool) {
	return recall[record](ctx, s.cfg.Cache, s.cfg.warn, taskKey(taskID))
}

// derive tells the state of a task from what is stored, and writes nothing, since the ticket may be
// made up. ErrNotFound: its stream is unknown. Who accepts a rating, and the worker, make streams
// known; before either has come to it, the cache knows the task.
func (s *Service) derive(ctx context.Context, t ticket) (record, error) {
	rejected, err := s.store.ListDeadLetters(ctx, DeadLetterQuery{Position: t.Position, Key: t.messageKey(), Limit: 1})
	if err != nil {
		return record{}, fmt.Errorf("rating: task of %s: %w", t.Key, err)
	}
	if len(rejected) > 0 {
		return record{State: Failure, Done: rejected[0].At.UnixMicro(), Error: &TaskError{rejected[0].Reason, rejected[0].Detail}}, nil
	}
	if t.Op == opRecalculate { // its result is kept by the cache alone
		return record{State: Pending}, nil
	}
	epoch, err := s.epochs.find(ctx, t.Position.Stream)
	if err != nil {
		return record{}, err
	}
	found, err := s.store.RatingsByKey(ctx, []Key{t.Key})
	if err != nil {
		return record{}, fmt.Errorf("rating: task of %s: %w", t.Key, err)
	}
	if len(found) == 0 {
		// What was stored goes with its content, and what was not will be refused.
		switch err := s.Exists(ctx, t.Key.Content); {
		case errors.Is(err, ErrNotFound):
			return record{State: Failure, Error: contentGone}, nil
		case err != nil:
			return record{}, err
		}
		return record{State: Pending}, nil
	}
	switch found[0].Version.Compare(Version{epoch, t.Position.Offset}) {
	case -1:
		return record{State: Pending}, nil
	case 0:
		return record{State: Success, Outcome: found[0].Result}, nil
	}
	return record{State: Success, Outcome: Superseded}, nil
}

// messageKey is the key of the message that the ticket is for.
func (t ticket) messageKey() string {
	if t.Op == opRecalculate {
		return t.Key.Content
	}
	return t.Key.String()
}

// askTimeout bounds one question to the store that is asked again, or shared by several callers,
// beside the deadlines of the callers.
const askTimeout = 1500 * time.Millisecond

// lookWithin is look for a caller who waits until ctx is done. The cancellation of ctx ends the
// wait and not the look; its deadline ends both.
func (s *Service) lookWithin(ctx context.Context, actor actor.Actor, taskID string) (task Task, known bool, err error) {
	kept, release := deadline.Keep(ctx)
	defer release()
	kept, cancel := context.WithTimeout(kept, askTimeout)
	defer cancel()
	return s.look(kept, actor, taskID)
}

// over reports whether ctx is done. Its deadline may have passed a moment before it is told so.
func over(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}

// Wait returns the task as soon as it is done. When ctx is done before that, it returns the task as
// it was at the last look, at most a quarter of a second ago if the store answers; at once if too
// many callers wait already. Errors are those of Task. The identifier may be made up: tasks that
// the cache does not know have few places to wait, see Config.Waiters.
func (s *Service) Wait(ctx context.Context, actor actor.Actor, taskID string) (Task, error) {
	return s.wait(ctx, actor, taskID, false)
}

// WaitAccepted is Wait for a task that Submit, Withdraw or Recalculate has just returned to the
// caller: it waits in its place also while the cache does not answer.
func (s *Service) WaitAccepted(ctx context.Context, actor actor.Actor, taskID string) (Task, error) {
	return s.wait(ctx, actor, taskID, true)
}

// unknownShare is the part of Config.Waiters that may wait beside them for tasks that may be made
// up.
const unknownShare = 8

func (s *Service) wait(ctx context.Context, actor actor.Actor, taskID string, accepted bool) (Task, error) {
	task, known, err := s.lookWithin(ctx, actor, taskID)
	if err != nil || task.State.Done() {
		return task, err
	}
	places := s.strangers
	if known || accepted {
		places = s.waiters
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		return task, nil
	}
	// The cache is asked often, since it answers in microseconds; the store, which knows even when
	// the cache does not, rarely.
	pause, asked := time.Millisecond, s.cfg.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return task, nil
		case <-timer.C:
		}
		done, known := s.recall(ctx, taskID)
		if known = known && done.State.Done(); known || s.cfg.Now().Sub(asked) > 250*time.Millisecond {
			seen, _, err := s.lookWithin(ctx, actor, taskID)
			switch {
			case err != nil && over(ctx):
				return task, nil
			case err != nil || seen.State.Done():
				return seen, err
			}
			task, asked = seen, s.cfg.Now()
		}
		pause = min(2*pause, 50*time.Millisecond)
		timer.Reset(pause)
	}
}
