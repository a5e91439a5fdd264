package worker

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/internal/event"
)

// ForeignError says that a worker has stopped because its queue has a message of another
// installation: two installations share what each of them needs for itself, such as a topic. The
// worker does not store the message, makes no dead letter of it, and acknowledges neither it nor
// the rest of its batch.
type ForeignError struct {
	// Own is the installation of the worker, Other the one that published the message at Position.
	// See rating.StreamStore.
	Own, Other string
	Position   queue.Position
}

// Error implements error.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("worker: this is installation %s, and its queue has a message of installation %.64q "+
		"(stream %s, offset %d): each needs a queue of its own", e.Own, e.Other, e.Position.Stream, e.Position.Offset)
}

// Ready returns a *ForeignError while the worker is stopped at a message of another installation,
// and nil otherwise.
func (w *Worker) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.foreign
}

// checkForeign returns a *ForeignError about the first message of batch that belongs to another
// installation. A message without an installation belongs to this one: an earlier release published
// it.
func (w *Worker) checkForeign(ctx context.Context, batch []queue.Delivery) error {
	own, err := w.ratings.Installation(ctx)
	if err != nil {
		return fmt.Errorf("worker: installation: %w", err)
	}
	var foreign error
	for _, d := range batch {
		if other, ok := d.Header[event.InstallationHeader]; ok && other != own {
			foreign = &ForeignError{Own: own, Other: other, Position: d.Position}
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if foreign != nil && w.foreign == nil {
		w.cfg.Logger.ErrorContext(ctx, "worker: the worker has stopped", "error", foreign)
	}
	w.foreign = foreign
	return foreign
}
