// Package patience carries how long each call of a store may take on behalf of a request. It is no deadline of the request: one that
// waits for its turn to hash a password, or for a rating to be stored, may take longer in all.
package patience

import (
	"context"
	"time"
)

type key struct{}

// With returns a context whose calls of a store may take d each.
func With(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, key{}, d)
}

// Of returns how long a call may take, and false if nothing was said.
func Of(ctx context.Context) (time.Duration, bool) {
	d, ok := ctx.Value(key{}).(time.Duration)
	return d, ok
}
