// Package hook calls the hooks of a host in the goroutine of the service's caller.
package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/hostcall"
)

// timeout is how long the context of a hook lasts.
const timeout = 2 * time.Second

// refusal is the Refusal of a domain package.
type refusal interface {
	error
	Complete() error
}

// Before calls a hook that may refuse. Its error is a complete Refusal, wraps errs.ErrUnavailable, is
// that of ctx, or has no kind: an error of the host must not pass for one of the service.
func Before(ctx context.Context, name string, f func(context.Context) error) error {
	err := hostcall.Call(ctx, timeout, f)
	var refused refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		if err = refused.Complete(); errors.As(err, &refused) {
			return refused
		}
	case errors.Is(err, errs.ErrUnavailable):
		return fmt.Errorf("hook %s: %w: %s", name, errs.ErrUnavailable, err.Error())
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("hook %s: %s", name, err.Error())
}

// After calls a hook that hears of what has happened, and logs its error. The context of the hook
// keeps the deadline of ctx and outlives its cancellation.
func After(ctx context.Context, log *slog.Logger, name string, f func(context.Context) error) {
	kept, cancel := deadline.Keep(ctx)
	defer cancel()
	if err := hostcall.Call(kept, timeout, f); err != nil {
		log.ErrorContext(ctx, "a hook failed after the fact", "hook", name, "error", err)
	}
}
