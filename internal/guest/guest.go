// Package guest runs code of the host in the middle of this module's own: bounded in time and in number, its panics turned into errors.
package guest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/khodnevis/khodnevis/internal/outage"
)

// PanicError is a panic of the host's code.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Room bounds how many calls run at once, those included that nobody waits for any more.
type Room struct{ places chan struct{} }

// NewRoom returns a Room for so many calls.
func NewRoom(places int) *Room { return &Room{places: make(chan struct{}, places)} }

// Do calls f and returns its error, after patience at the latest, even if f does not heed its context. What took too long, or found
// no place in that time, wraps outage.Err; a panic is a *PanicError.
func (r *Room) Do(ctx context.Context, patience time.Duration, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	late := func() error {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("no answer in time: %w", err)
		}
		return fmt.Errorf("%w: no answer within %v", outage.Err, patience)
	}
	select {
	case r.places <- struct{}{}:
	case <-bounded.Done():
		return late()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-r.places }()
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
