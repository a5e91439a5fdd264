// Package suite runs the checks of the conformance suites.
package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"testing"
	"time"
)

// ErrAbsent says that an adapter lacks an optional power, so that the check of it has checked
// nothing.
var ErrAbsent = errors.New("the adapter lacks the optional power")

// Run runs a check as a parallel subtest, on what open returns. The check fails with its error, with
// its panic, and if it takes longer than timeout heeding its context; it is skipped if its error
// wraps ErrAbsent. sentence is what the contract says.
func Run[A any](t *testing.T, name, sentence string, timeout time.Duration, open func(t *testing.T) A,
	check func(ctx context.Context, adapter A) error) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		adapter := open(t)
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		switch err := Recovered(func() error { return check(ctx, adapter) }); {
		case errors.Is(err, ErrAbsent):
			t.Skip(err) // the power is optional: nothing was checked
		case err != nil:
			t.Errorf("%v\nThe contract says: %q", err, sentence)
		}
	})
}

// Recovered returns the error of do, or its panic as an error.
func Recovered(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}
