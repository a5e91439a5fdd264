package worker

import (
	"fmt"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
)

// message is a delivery on its way through a batch.
type message struct {
	queue.Delivery
	event  event.Event
	key    rating.Key // without Rater for event.Recalculate
	change rating.Change

	// The result. Exactly one of outcome and dead is set in the end, none for event.Recalculate.
	outcome  rating.Result
	stored   rating.Rating // after the change
	dead     *rating.DeadLetter
	repaired bool // by event.Recalculate
}

// changes reports whether the message asks for a change that can be applied, as far as is known.
func (m *message) changes() bool { return m.dead == nil && m.event.Op != event.Recalculate }

// applied reports whether the change of the message is stored, and not superseded.
func (m *message) applied() bool { return m.dead == nil && m.outcome != rating.Superseded }

// taskID returns the identifier of the task of the message, as its publisher made it. A message
// that this module did not publish has none.
func (m *message) taskID() (string, bool) {
	if m.event.Op == "" || m.key.Content == "" {
		return "", false
	}
	return taskid.Of(m.event, m.Position, m.key.Content, m.key.Rater).ID(), true
}

// decode decodes a delivery. A poison message, which no attempt can ever apply, becomes a dead
// letter.
func (w *Worker) decode(d queue.Delivery) *message {
	m := &message{Delivery: d}
	if d.Damaged {
		w.cfg.Logger.Error("worker: a message is damaged", "key", d.Key, "stream", d.Stream, "offset", d.Offset)
		w.setDead(m, task.CodeMalformed, "the message is damaged")
		return m
	}
	e, err := event.Decode(d.Body)
	if err != nil {
		w.cfg.Logger.Error("worker: a message is malformed", "key", d.Key, "stream", d.Stream, "offset", d.Offset,
			"error", err)
		w.setDead(m, task.CodeMalformed, "the message is not one that this release knows")
		return m
	}
	m.event = e
	if e.Op == event.Recalculate {
		m.key = rating.Key{Content: d.Key}
		if !id.Valid(d.Key) {
			w.setDead(m, task.CodeMalformed, "the key is not a content's identifier")
		}
		return m
	}
	key, ok := rating.ParseKey(d.Key)
	if !ok {
		w.setDead(m, task.CodeMalformed, "the key is not a rating's identifier")
		return m
	}
	m.key = key
	if e.Op == event.Rate && !w.cfg.Scale.Contains(e.Score) {
		w.setDead(m, task.CodeInvalidScore,
			fmt.Sprintf("the score %d lies outside %d to %d", e.Score, w.cfg.Scale.Min, w.cfg.Scale.Max))
	}
	return m
}
