// Package hostcall runs code of the host in the middle of this module's own: bounded in time and in
// number, its panics turned into errors.
package hostcall

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
)

// PanicError is a panic of the host's code.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Limiter bounds how many calls run at once, those included that nobody waits for any more.
type Limiter struct{ places chan struct{} }

// NewLimiter returns a Limiter of that many concurrent calls.
func NewLimiter(places int) *Limiter { return &Limiter{places: make(chan struct{}, places)} }

// Do calls f and returns its error, after timeout at the latest, even if f does not heed its
// context. What took too long, or found no place in that time, wraps errs.Unavailable; a panic is a
// *PanicError.
func (l *Limiter) Do(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	late := func() error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("no answer in time: %w", err)
		}
		return fmt.Errorf("%w: no answer within %v", errs.Unavailable, timeout)
	}
	select {
	case l.places <- struct{}{}:
	case <-bounded.Done():
		return late()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-l.places }()
		done <- call(bounded, f)
	}()
	select {
	case err := <-done:
		if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil {
			return late()
		}
		return err
	case <-bounded.Done():
		return late()
	}
}

func call(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f(ctx)
}
