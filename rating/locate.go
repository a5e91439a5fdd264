package rating

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/logthrottle"
	"github.com/khodnevis/khodnevis/queue"
)

// ReasonExpired is the code of a task whose message the queue deleted before a worker had stored
// it.
const ReasonExpired = "expired_unread"

var expiredUnread = &TaskError{ReasonExpired, "the queue deleted the message before a worker had stored it"}

// keptFor is how long every queue is trusted to keep a message. The queue is not asked about a task
// that the cache knows and that is younger.
const keptFor = time.Minute

const (
	locateTimeout = 500 * time.Millisecond // for the queue to say what became of a message
	locatePause   = time.Second            // between a question that got no answer and the next one
)

// locator asks the queue what became of messages.
type locator struct {
	queue queue.Locator // nil: the queue cannot tell
	now   func() time.Time
	log   *slog.Logger
	mute  logthrottle.Log

	mu    sync.Mutex
	again time.Time // when the queue may be asked again
}

func newLocator(q queue.Publisher, cfg Config) *locator {
	l, _ := q.(queue.Locator)
	return &locator{queue: l, now: cfg.Now, log: cfg.Logger}
}

// standing returns queue.Unknown if the queue does not answer.
func (l *locator) standing(ctx context.Context, key string, at queue.Position) queue.Standing {
	if l.queue == nil {
		return queue.Unknown
	}
	l.mu.Lock()
	muted := l.now().Before(l.again)
	l.mu.Unlock()
	if muted {
		return queue.Unknown
	}
	asked, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	standing, err := l.queue.Locate(asked, key, at)
	if err == nil {
		return standing
	}
	if ctx.Err() == nil {
		l.mute.Warn(ctx, l.log, l.now(), "rating: the queue does not tell what became of a message", slog.Any("error", err))
		l.mu.Lock()
		l.again = l.now().Add(locatePause)
		l.mu.Unlock()
	}
	return queue.Unknown
}

// locate corrects the state of a task that is not done by what has become of its message.
// ErrNotFound: nothing was published where the ticket says, and so it is made up; unless known, as
// the cache knows tasks that were accepted.
func (s *Service) locate(ctx context.Context, t ticket, derived record, known bool) (record, error) {
	switch s.locator.standing(ctx, t.messageKey(), t.Position) {
	case queue.Unpublished:
		if !known {
			return record{}, ErrNotFound
		}
	case queue.Deleted:
		if t.Op == opRecalculate { // it may have been done: its result is kept by the cache alone
			return derived, nil
		}
		// A worker may have stored it between the look at the store and the one at the queue.
		again, err := s.derive(ctx, t)
		if err != nil || again.State.Done() {
			return again, err
		}
		epoch, err := s.epochs.find(ctx, t.Position.Stream)
		if err != nil {
			return record{}, err
		}
		s.pending.forget(ctx, t.Key, Version{epoch, t.Position.Offset})
		return record{State: Failure, Error: expiredUnread}, nil
	}
	return derived, nil
}
