package rating

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/logthrottle"
	"github.com/khodnevis/khodnevis/queue"
)

// Backlog is what the queue has accepted and no worker has stored yet.
type Backlog struct {
	// Messages is how many messages wait; -1: the queue does not report it.
	Messages int64
	// Oldest is how long the oldest of them has waited, 0 if there is none; -1: the queue does not
	// report it.
	Oldest time.Duration
}

// Backlog asks the queue what waits. The numbers may be a moment old. With an error of the queue it
// returns what the queue did answer.
func (s *Service) Backlog(ctx context.Context) (Backlog, error) {
	b := Backlog{-1, -1}
	var errs []error
	if q, ok := s.queue.(queue.Lagger); ok {
		if n, err := q.Lag(ctx); err == nil {
			b.Messages = n
		} else {
			errs = append(errs, err)
		}
	}
	if q, ok := s.queue.(queue.Ager); ok {
		if oldest, _, err := q.Age(ctx); err == nil {
			b.Oldest = oldest
		} else {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return b, fmt.Errorf("rating: backlog: %w", err)
	}
	return b, nil
}

const (
	// backlogWarning is how long an accepted message may wait before a Service that is used logs a
	// warning.
	backlogWarning = time.Minute
	backlogEvery   = 10 * time.Second // between two checks of the age of the backlog
	backlogTimeout = 5 * time.Second  // of a check
)

// backlogGuard applies backpressure: if the queue deletes old messages, stored or not, the Service
// accepts nothing more once a message has waited for half of its retention. A check of the age of
// the backlog starts when a submission asks for it, and runs beside the submission.
type backlogGuard struct {
	queue    queue.Ager // nil: the queue does not report it
	now      func() time.Time
	log      *slog.Logger
	failures logthrottle.Log

	mu       sync.Mutex
	checking bool
	checked  time.Time
	late     bool  // a warning was logged
	refuse   error // why nothing is accepted; nil: submissions are accepted
}

func newBacklogGuard(q queue.Publisher, cfg Config) *backlogGuard {
	ager, _ := q.(queue.Ager)
	return &backlogGuard{queue: ager, now: cfg.Now, log: cfg.Logger}
}

// err returns why nothing is accepted at the moment, as of the last check. It never waits.
func (g *backlogGuard) err(ctx context.Context) error {
	if g.queue == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if since := now.Sub(g.checked); !g.checking && (since >= backlogEvery || since < 0) {
		g.checking, g.checked = true, now
		go g.check(context.WithoutCancel(ctx))
	}
	return g.refuse
}

// check asks the queue for the age of the backlog. If the queue does not answer, the result of the
// last check stays.
func (g *backlogGuard) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
	defer cancel()
	oldest, retention, err := g.queue.Age(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checking = false
	if err != nil {
		g.failures.Warn(ctx, g.log, g.now(), "rating: the queue does not report how long messages wait",
			slog.Any("error", err))
		return
	}
	g.refuse = nil
	if retention > 0 && oldest > retention/2 {
		g.refuse = fmt.Errorf("%w: the oldest message has waited for %v, and is lost after %v",
			queue.ErrNotAccepted, oldest.Round(time.Second), retention)
	}
	late := oldest > backlogWarning || g.refuse != nil
	switch {
	case late && !g.late:
		g.log.WarnContext(ctx, "rating: accepted messages wait: does a worker run?",
			"oldest", oldest, "lost_after", retention)
	case !late && g.late:
		g.log.InfoContext(ctx, "rating: accepted messages wait no longer", "oldest", oldest)
	}
	g.late = late
}
