// Package deadline derives contexts from the one deadline that a request has.
package deadline

import (
	"context"
	"time"
)

// Reserve returns a context whose deadline is reserve before that of ctx, for a call that has a
// fallback: the rest of the time is for the fallback. Without a deadline there is nothing to
// reserve.
func Reserve(ctx context.Context, reserve time.Duration) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, end.Add(-reserve))
	}
	return context.WithCancel(ctx)
}

// Keep returns a context that keeps the deadline of ctx and outlives its cancellation.
func Keep(ctx context.Context) (context.Context, context.CancelFunc) {
	kept := context.WithoutCancel(ctx)
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(kept, end)
	}
	return context.WithCancel(kept)
}
