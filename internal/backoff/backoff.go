// Package backoff spaces the retries of something that fails: exponential backoff with a bound.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff computes the pauses between retries. Each pause is twice as long as the one before it. A
// Backoff is for one goroutine.
type Backoff struct {
	First, Max time.Duration // the first and the longest pause
	// Jitter draws each pause from half to one and a half of it, so that processes that failed
	// together do not retry together.
	Jitter bool

	next time.Duration
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	pause := max(b.next, b.First)
	b.next = min(2*pause, b.Max)
	if b.Jitter {
		pause = pause/2 + rand.N(pause)
	}
	return pause
}

// Reset lets the pauses begin with the first one again.
func (b *Backoff) Reset() { b.next = 0 }

// Wait pauses for Next, or until ctx is done: then it returns the cause.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep pauses for d, or until ctx is done: then it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
