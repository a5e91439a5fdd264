package rating

import (
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

// What tests of the package's own encodings need.

func EncodeRate(score int, at time.Time) []byte {
	return event{Op: opRate, Score: score, At: at}.encode()
}

func DecodeThenEncode(body []byte) ([]byte, bool) {
	e, err := decodeEvent(body)
	if err != nil {
		return nil, false
	}
	return e.encode(), true
}

func TaskID(position queue.Position, at time.Time, key Key) string {
	return ticket{Op: opRate, Position: position, At: at, Key: key, By: key.Rater}.id()
}

func ParseTaskID(s string) (id string, key Key, ok bool) {
	t, ok := parseTicket(s)
	if !ok {
		return "", Key{}, false
	}
	return t.id(), t.Key, true
}

// Ticket is what the identifier of a task says.
type Ticket = ticket

const (
	OpWithdraw    = opWithdraw
	OpRecalculate = opRecalculate
)

// Forge returns the identifier of a task of which change makes another one, as anybody could.
func Forge(taskID string, change func(*Ticket)) string {
	t, ok := parseTicket(taskID)
	if !ok {
		panic("not the identifier of a task: " + taskID)
	}
	change(&t)
	return t.id()
}

func Ordinal(v Version) int64 { return v.ordinal() }

func (s *Service) KnownStreams() int {
	s.epochs.mu.Lock()
	defer s.epochs.mu.Unlock()
	return len(s.epochs.known)
}
