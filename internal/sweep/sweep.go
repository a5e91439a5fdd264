// Package sweep removes what expired, in pieces.
package sweep

import (
	"context"
	"time"
)

const (
	every = time.Hour
	// Piece is how much is removed in one call of a store.
	Piece = 1000
)

// Hourly calls do now and every hour, until ctx is done. It passes a failure, unless it is that of
// ctx, to failed, and tries again an hour later.
func Hourly(ctx context.Context, do func(context.Context) (int, error), failed func(n int, err error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if n, err := do(ctx); err != nil && ctx.Err() == nil {
			failed(n, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// All removes pieces until one is not full, and returns how much that was.
func All(remove func(limit int) (int, error)) (total int, err error) {
	for {
		n, err := remove(Piece)
		total += n
		if err != nil || n < Piece {
			return total, err
		}
	}
}
