// Package hostcall calls functions of the host: with a deadline, and with a recover that turns
// their panics into errors.
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

// Call calls f in the goroutine of its caller. The context of f ends after timeout at the latest.
// An f that returns context.DeadlineExceeded because of that is errs.ErrUnavailable, or the error of
// ctx if that has ended too; a panic is a *PanicError.
func Call(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := recovered(bounded, f)
	if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil {
		return late(ctx, timeout)
	}
	return err
}

func recovered(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f(ctx)
}

func late(ctx context.Context, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("no answer in time: %w", err)
	}
	return fmt.Errorf("%w: no answer within %v", errs.ErrUnavailable, timeout)
}

// Limiter bounds how many calls run at once, those included that nobody waits for any more.
type Limiter struct{ slots chan struct{} }

// NewLimiter returns a Limiter of that many concurrent calls.
func NewLimiter(slots int) *Limiter { return &Limiter{slots: make(chan struct{}, slots)} }

// Do is Call that returns after timeout at the latest, even if f ignores its context: f runs in a
// goroutine of its own, which is left behind then. A call that finds no free slot in that time is
// errs.ErrUnavailable.
func (l *Limiter) Do(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case l.slots <- struct{}{}:
	case <-bounded.Done():
		return late(ctx, timeout)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-l.slots }()
		done <- recovered(bounded, f)
	}()
	select {
	case err := <-done:
		if errors.Is(err, context.DeadlineExceeded) && bounded.Err() != nil {
			return late(ctx, timeout)
		}
		return err
	case <-bounded.Done():
		return late(ctx, timeout)
	}
}
