// Package semaphore bounds how many callers do something at once.
package semaphore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
)

// Semaphore has a place for each caller.
type Semaphore chan struct{}

// New returns a Semaphore with n places, at least one.
func New(n int) Semaphore { return make(Semaphore, max(n, 1)) }

// Acquire takes a place, in the order of the calls. It returns the error of ctx if that is done
// before there is one, and an error that wraps errs.Unavailable if half of the time is over that
// ctx leaves: the other half is for what the place is taken for. Otherwise, with more callers than
// can be served, all of them would begin too late to end in time.
func (s Semaphore) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var half <-chan time.Time
	if end, ok := ctx.Deadline(); ok {
		timer := time.NewTimer(time.Until(end) / 2)
		defer timer.Stop()
		half = timer.C
	}
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-half:
		return fmt.Errorf("%d others are served: %w", cap(s), errs.Unavailable)
	}
}

// Release gives a place back.
func (s Semaphore) Release() { <-s }
