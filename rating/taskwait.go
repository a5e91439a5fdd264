package rating

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/rating/task"
)

const (
	// unknownShare is the divisor of Config.Waiters that gives the slots for tasks that the cache
	// does not know.
	unknownShare = 8
	// storeEvery is the pause between two reads of a task from the store while a caller waits for
	// it.
	storeEvery = 250 * time.Millisecond
)

// Wait returns the task as soon as it is done. When ctx is done before that, it returns the task as
// last read, at most a quarter of a second ago if the store answers; if too many callers wait, it
// returns the task at once. Errors are those of Task. The identifier may be forged: few callers may
// wait for tasks that the cache does not know, see Config.Waiters.
func (s *Service) Wait(ctx context.Context, actor actor.Actor, taskID string) (task.Task, error) {
	return s.wait(ctx, actor, taskID, false)
}

// WaitAccepted is Wait for a task that Submit, Withdraw or Recalculate has just returned. It counts
// as known, also while the cache does not answer.
func (s *Service) WaitAccepted(ctx context.Context, actor actor.Actor, taskID string) (task.Task, error) {
	return s.wait(ctx, actor, taskID, true)
}

// Waiting returns how many calls of Wait and WaitAccepted wait at the moment.
func (s *Service) Waiting() int { return len(s.waiters) + len(s.unknownWaiters) }

func (s *Service) wait(ctx context.Context, actor actor.Actor, taskID string, accepted bool) (task.Task, error) {
	t, known, err := s.readTaskFor(ctx, actor, taskID)
	if err != nil || t.State.Done() {
		return t, err
	}
	slots := s.unknownWaiters
	if known || accepted {
		slots = s.waiters
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		return t, nil
	}
	// The cache answers in microseconds, so it is read often; the store, which knows the task even
	// if the cache does not, is read rarely.
	pause, read := time.Millisecond, s.cfg.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return t, nil
		case <-timer.C:
		}
		cached, known := s.tasks.get(ctx, taskID)
		if known && cached.State.Done() || s.cfg.Now().Sub(read) > storeEvery {
			next, _, err := s.readTaskFor(ctx, actor, taskID)
			switch {
			case err != nil && expired(ctx):
				return t, nil
			case err != nil || next.State.Done():
				return next, err
			}
			t, read = next, s.cfg.Now()
		}
		pause = min(2*pause, 50*time.Millisecond)
		timer.Reset(pause)
	}
}

// readTaskFor is readTask for a caller who waits until ctx is done. Canceling ctx ends the wait,
// but not the read in flight; the deadline of ctx ends both.
func (s *Service) readTaskFor(
	ctx context.Context, actor actor.Actor, taskID string,
) (t task.Task, known bool, err error) {
	kept, release := deadline.Keep(ctx)
	defer release()
	kept, cancel := context.WithTimeout(kept, storeTimeout)
	defer cancel()
	return s.readTask(kept, actor, taskID)
}

// expired reports whether ctx is done. Its deadline may pass a moment before its channel is closed.
func expired(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(end)
}
