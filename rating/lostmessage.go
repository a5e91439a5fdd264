package rating

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/logthrottle"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
)

// minRetention is how long every queue keeps a message. The queue is not asked about a task that is
// younger and in the cache.
const minRetention = time.Minute

const (
	locateTimeout = 500 * time.Millisecond // of one call of queue.Locator
	locatePause   = time.Second            // after a call that failed
)

// lostMessages asks the queue what became of messages.
type lostMessages struct {
	queue    queue.Locator // nil: the queue does not report it
	now      func() time.Time
	log      *slog.Logger
	failures logthrottle.Log

	mu    sync.Mutex
	again time.Time // when the queue may be asked again
}

func newLostMessages(q queue.Publisher, cfg Config) *lostMessages {
	l, _ := q.(queue.Locator)
	return &lostMessages{queue: l, now: cfg.Now, log: cfg.Logger}
}

// standing returns queue.Unknown if the queue does not answer.
func (l *lostMessages) standing(ctx context.Context, key string, at queue.Position) queue.Standing {
	if l.queue == nil {
		return queue.Unknown
	}
	l.mu.Lock()
	paused := l.now().Before(l.again)
	l.mu.Unlock()
	if paused {
		return queue.Unknown
	}
	located, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	standing, err := l.queue.Locate(located, key, at)
	if err == nil {
		return standing
	}
	if ctx.Err() == nil {
		l.failures.Warn(ctx, l.log, l.now(), "rating: the queue does not report what became of a message",
			slog.Any("error", err))
		l.mu.Lock()
		l.again = l.now().Add(locatePause)
		l.mu.Unlock()
	}
	return queue.Unknown
}

// findLostMessage corrects the state of a task that is not done: its message may have been deleted,
// or never have been published. ErrNotFound: nothing was published at the position of the ticket,
// so the ticket is forged. If known, the cache has the task, and the ticket is not forged.
func (s *Service) findLostMessage(
	ctx context.Context, t taskid.Ticket, derived taskRecord, known bool,
) (taskRecord, error) {
	switch s.lost.standing(ctx, t.MessageKey(), t.Position) {
	case queue.Unpublished:
		if !known {
			return taskRecord{}, ErrNotFound
		}
	case queue.Deleted:
		if t.Op == event.Recalculate { // it may be done: only the cache keeps its result
			return derived, nil
		}
		// A worker may have stored the rating between the read of the store and that of the queue.
		again, err := s.deriveTask(ctx, t)
		if err != nil || again.State.Done() {
			return again, err
		}
		epoch, err := s.epochs.find(ctx, t.Position.Stream)
		if err != nil {
			return taskRecord{}, err
		}
		s.pending.forget(ctx, Key{Content: t.Content, Rater: t.Rater}, Version{epoch, t.Position.Offset})
		lost := task.Error{Code: task.CodeExpired, Detail: "the queue deleted the message before a worker had stored it"}
		return taskRecord{State: task.Failure, Error: &lost}, nil
	}
	return derived, nil
}
