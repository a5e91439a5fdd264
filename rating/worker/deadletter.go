package worker

import (
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
)

// setDead makes a dead letter of a message that can never be applied. It is stored with the batch,
// and the message is acknowledged.
func (w *Worker) setDead(m *message, reason, detail string) {
	body := m.Body[:min(len(m.Body), queue.MaxBody)]
	m.dead = &rating.DeadLetter{Position: m.Position, Key: m.Key, Body: body, Reason: reason, Detail: detail,
		At: w.time()}
}

func deadLetters(work []*message) []rating.DeadLetter {
	var letters []rating.DeadLetter
	for _, m := range work {
		if m.dead != nil {
			letters = append(letters, *m.dead)
		}
	}
	return letters
}

func (w *Worker) countDeadLetters(work []*message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range work {
		if m.dead != nil {
			w.deadLetters[m.dead.Reason]++
		}
	}
}
