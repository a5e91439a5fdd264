// Package semaphore bounds how many callers do something at once.
package semaphore

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
)

// Semaphore has a slot for each caller.
type Semaphore chan struct{}

// New returns a Semaphore with n slots, at least one.
func New(n int) Semaphore { return make(Semaphore, max(n, 1)) }

// Acquire takes a slot, in the order of the calls. It returns the error of ctx if ctx is done
// first, and an error that wraps errs.ErrUnavailable once half of the time that ctx leaves is over
// (load shedding): the other half is for the work itself. Otherwise, with more callers than can be
// served, all of them would begin too late to end in time.
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
		return fmt.Errorf("%d others are served: %w", cap(s), errs.ErrUnavailable)
	}
}

// Release returns a slot.
func (s Semaphore) Release() { <-s }
