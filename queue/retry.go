package queue

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
)

// Retry calls attempt until it returns nil, and then returns true. Between attempts it pauses, for
// 10 ms first and then twice as long each time, up to 1 s. It returns false once ctx is done and
// the attempt in flight has failed.
//
// For adapters: Consume offers a batch to its Handler in this way. Delivery is at least once, so a
// poison message, one that the handler always refuses, blocks the messages of its key until the
// handler accepts it; a handler that does not want that stores such a message elsewhere and returns
// nil.
func Retry(ctx context.Context, attempt func() error) bool {
	pauses := backoff.Backoff{First: 10 * time.Millisecond, Max: time.Second}
	for attempt() != nil {
		if pauses.Wait(ctx) != nil {
			return false
		}
	}
	return true
}
