// Package semaphore bounds how many callers do something at once.
package semaphore

import "context"

// Semaphore has a place for each caller.
type Semaphore chan struct{}

// New returns a Semaphore with n places, at least one.
func New(n int) Semaphore { return make(Semaphore, max(n, 1)) }

// Acquire takes a place, in the order of the calls. It returns the error of ctx if there is none before that is done.
func (s Semaphore) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release gives a place back.
func (s Semaphore) Release() { <-s }
