package rating

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

// Backlog is what is accepted and not stored yet.
type Backlog struct {
	// Messages is how many wait; -1: the queue cannot tell.
	Messages int64
	// Oldest is for how long the oldest of them has waited, 0 if there is none; -1: the queue
	// cannot tell.
	Oldest time.Duration
}

// Backlog asks the queue what waits. Numbers may run behind for a moment. An error is the queue's;
// what it did tell is returned all the same.
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

// Waiting returns how many calls of Wait and WaitAccepted wait right now.
func (s *Service) Waiting() int { return len(s.waiters) + len(s.strangers) }
