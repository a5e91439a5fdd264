package rating

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/khodnevis/khodnevis/queue"
)

// ForeignError says that a worker has stopped because its queue has a message of another
// installation: two installations share what each of them needs for itself, such as a topic. The
// worker neither stores nor rejects nor finishes the message, nor what comes with it.
type ForeignError struct {
	// Own is the installation of the worker, Other the one that published the message at Position.
	// See Store.Installation.
	Own, Other string
	Position   queue.Position
}

// Error implements error.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("rating: this is installation %s, and its queue has a message of installation %.64q (stream %s, offset %d): each needs a queue of its own",
		e.Own, e.Other, e.Position.Stream, e.Position.Offset)
}

// Ready returns a *ForeignError while the worker stands before a message of another installation,
// and nil otherwise.
func (w *Worker) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.foreign
}

// own returns the messages of batch that belong to this installation, which is all of them unless
// Config.SkipForeign is set. A message that names no installation belongs to this one: an earlier
// release published it.
func (w *Worker) own(ctx context.Context, batch []queue.Delivery) ([]queue.Delivery, error) {
	id, err := w.identity.Of(ctx)
	if err != nil {
		return nil, fmt.Errorf("rating: installation: %w", err)
	}
	own := make([]queue.Delivery, 0, len(batch))
	var foreign *ForeignError // about the first foreign message
	for _, d := range batch {
		other, ok := d.Header[installationHeader]
		switch {
		case !ok || other == id:
			own = append(own, d)
		case foreign == nil:
			foreign = &ForeignError{Own: id, Other: other, Position: d.Position}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case foreign == nil:
		w.foreign = nil
	case w.cfg.SkipForeign:
		w.skipped.Warn(ctx, w.cfg.Logger, w.cfg.Now(), "rating: messages of another installation were skipped",
			slog.Int("messages", len(batch)-len(own)), slog.String("installation", foreign.Other))
	default:
		if w.foreign == nil {
			w.cfg.Logger.ErrorContext(ctx, "rating: the worker has stopped", "error", foreign)
		}
		w.foreign = foreign
		return nil, foreign
	}
	return own, nil
}
