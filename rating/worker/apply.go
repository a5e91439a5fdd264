package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/task"
)

// store stores what the messages of a batch ask for. It returns those whose changes were applied,
// sorted by key.
func (w *Worker) store(ctx context.Context, work []*message) (changes []*message, err error) {
	if err := w.prepare(ctx, work); err != nil {
		return nil, err
	}
	// A reassignment moves what is stored, so changes that came before it in the batch are applied
	// first and not superseded by it.
	changes, reassignments := newest(work, false), newest(work, true)
	if err := w.apply(ctx, changes, deadLetters(work)); err != nil {
		return nil, err
	}
	if err := w.apply(ctx, reassignments, nil); err != nil {
		return nil, err
	}
	return changes, w.recalculateRequested(ctx, work)
}

// prepare finds the version of every change, and makes dead letters of the ratings of deleted
// contents.
func (w *Worker) prepare(ctx context.Context, work []*message) error {
	rateable, err := w.rateable(ctx, work)
	if err != nil {
		return err
	}
	for _, m := range work {
		if !m.changes() {
			continue
		}
		epoch, err := w.ratings.StreamEpoch(ctx, m.Stream)
		if err != nil {
			return err
		}
		m.change = rating.Change{
			Key: m.key, Version: rating.Version{Epoch: epoch, Offset: m.Offset},
			Withdraw: m.event.Op == event.Withdraw, ReassignTo: m.event.ReassignTo, At: m.event.At,
		}
		if planted.WallClock { // in milliseconds since 2001, which is less than 2^40
			m.change.Version.Offset = m.event.At.UnixMilli() - 1e12
		}
		switch {
		case m.change.Withdraw:
		case rateable[m.key.Content]:
			m.change.Score = m.event.Score
		default:
			w.setDead(m, task.CodeNoContent, event.NoContent)
		}
	}
	return nil
}

// rateable returns which of the contents that are to be rated may be rated.
func (w *Worker) rateable(ctx context.Context, work []*message) (map[string]bool, error) {
	rateable := map[string]bool{}
	for _, m := range work {
		if m.dead == nil && m.event.Op == event.Rate {
			rateable[m.key.Content] = false
		}
	}
	if len(rateable) == 0 {
		return rateable, nil
	}
	found, err := w.contents.Rateable(ctx, slices.Sorted(maps.Keys(rateable)))
	if err != nil {
		return nil, fmt.Errorf("worker: look up %d contents: %w", len(rateable), err)
	}
	for _, id := range found {
		rateable[id] = true
	}
	return rateable, nil
}

// newest returns, for each key, the change with the highest version, sorted by key; the others are
// superseded. It takes only reassignments into account, or only the other changes.
func newest(work []*message, reassignments bool) []*message {
	best := map[rating.Key]*message{}
	for _, m := range work {
		if !m.changes() || reassignments != (m.event.ReassignTo != "") {
			continue
		}
		other, ok := best[m.key]
		switch {
		case !ok:
			best[m.key] = m
		case m.change.Version.Compare(other.change.Version) > 0:
			other.outcome = rating.Superseded
			best[m.key] = m
		default:
			m.outcome = rating.Superseded
		}
	}
	changes := make([]*message, 0, len(best))
	for _, m := range best {
		changes = append(changes, m)
	}
	slices.SortFunc(changes, func(a, b *message) int { return a.key.Compare(b.key) })
	return changes
}

// apply stores changes and dead letters in one transaction. If the store can never accept the
// batch, apply halves it until it finds the poison message, and makes a dead letter of that.
func (w *Worker) apply(ctx context.Context, changes []*message, letters []rating.DeadLetter) error {
	if len(changes) == 0 && len(letters) == 0 {
		return nil
	}
	batch := rating.Batch{Changes: make([]rating.Change, len(changes)), DeadLetters: letters}
	for i, m := range changes {
		batch.Changes[i] = m.change
	}
	outcomes, err := w.db.ApplyRatings(ctx, batch)
	switch {
	case err == nil:
	case !errors.Is(err, errs.ErrUnstorable):
		return fmt.Errorf("worker: apply %d changes: %w", len(changes), err)
	case len(changes) == 0:
		return fmt.Errorf("worker: record %d dead letters: %w", len(letters), err)
	case len(changes) == 1:
		w.setDead(changes[0], task.CodeUnstorable, "the store cannot take it")
		w.cfg.Logger.ErrorContext(ctx, "worker: the store cannot take a change", "rating", changes[0].key.String(),
			"error", err)
		return w.apply(ctx, nil, append(letters, *changes[0].dead))
	default:
		half := len(changes) / 2
		if err := w.apply(ctx, changes[:half], letters); err != nil {
			return err
		}
		return w.apply(ctx, changes[half:], nil)
	}
	if len(outcomes) != len(changes) {
		return fmt.Errorf("worker: %d outcomes of %d changes", len(outcomes), len(changes))
	}
	for i, m := range changes {
		if outcomes[i].Refused {
			w.setDead(m, task.CodeNoContent, event.NoContent)
		} else {
			m.outcome, m.stored = outcomes[i].Result, outcomes[i].Rating
		}
	}
	return w.apply(ctx, nil, deadLetters(changes))
}

// recalculateRequested runs the recalculations that staff asked for, after the changes of the
// batch. Running one twice does no harm.
func (w *Worker) recalculateRequested(ctx context.Context, work []*message) error {
	for _, m := range work {
		if m.dead != nil || m.event.Op != event.Recalculate {
			continue
		}
		ids := []string{m.key.Content}
		drift, err := w.db.Recount(ctx, ids)
		if err != nil {
			return fmt.Errorf("worker: recount %s: %w", m.key.Content, err)
		}
		m.repaired = len(drift) > 0
		if err := w.db.MarkChanged(ctx, ids); err != nil {
			return fmt.Errorf("worker: mark %s: %w", m.key.Content, err)
		}
		if err := w.ratings.Publish(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}
