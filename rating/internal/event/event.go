// Package event is the codec of the messages that a Service publishes and a Worker consumes. The
// encoding is strict in both directions, and stable: messages of earlier releases stay readable.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/queue"
)

// Op is what an event asks for.
type Op string

// The operations.
const (
	Rate        Op = "rate"
	Withdraw    Op = "withdraw"
	Recalculate Op = "recalculate"
)

// The headers of a message.
const (
	requestHeader      = "request-id"
	InstallationHeader = "installation" // of the publisher, see rating.Store; missing in messages of earlier releases
)

// NoContent is the detail of the errors and dead letters of deleted contents.
const NoContent = "the content does not exist"

// format is the version of the encoding. A worker refuses messages of a newer format, so update
// workers first.
const format = 1

// Event is what travels through the queue. The key of the message names its subject: a rating for
// Rate and Withdraw, a content for Recalculate.
type Event struct {
	Op    Op
	Score int    // of Rate
	By    string // of Withdraw and Recalculate: the identifier of the user who asked
	// ReassignTo is the rater to whom a Withdraw reassigns the rating; empty: none. See
	// rating.Change.
	ReassignTo string
	At         time.Time // when it was accepted, UTC in microseconds
}

type eventJSON struct {
	Format     int    `json:"v"`
	Op         Op     `json:"op"`
	Score      *int   `json:"score,omitempty"`
	By         string `json:"by,omitempty"`
	ReassignTo string `json:"anonymous,omitempty"`
	At         int64  `json:"at"` // microseconds since 1970
}

// Encode returns the body of the message.
func (e Event) Encode() []byte {
	j := eventJSON{Format: format, Op: e.Op, By: e.By, ReassignTo: e.ReassignTo, At: e.At.UnixMicro()}
	if e.Op == Rate {
		j.Score = &e.Score
	}
	body, err := json.Marshal(j)
	if err != nil {
		panic(err) // no value of these types fails to encode
	}
	return body
}

// Message returns the message of the event. request is the identifier of the request, or empty.
func (e Event) Message(key, installation, request string) queue.Message {
	header := map[string]string{InstallationHeader: installation}
	if request != "" {
		header[requestHeader] = request
	}
	return queue.Message{Key: key, Body: e.Encode(), Header: header}
}

var errEvent = errors.New("rating: not an event")

// Earliest and Latest bound the times that an event may carry, so that every store can keep them.
var (
	Earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	Latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// InRange reports whether at lies between Earliest and Latest.
func InRange(at time.Time) bool { return !at.Before(Earliest) && !at.After(Latest) }

// Decode is the strict inverse of Encode: an event of another format or form is an error.
func Decode(body []byte) (Event, error) {
	var j eventJSON
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return Event{}, fmt.Errorf("%w: %w", errEvent, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Event{}, fmt.Errorf("%w: data after the end", errEvent)
	}
	if j.Format != format {
		return Event{}, fmt.Errorf("%w: format %d, this release knows %d", errEvent, j.Format, format)
	}
	e := Event{Op: j.Op, By: j.By, ReassignTo: j.ReassignTo, At: time.UnixMicro(j.At).UTC()}
	if !InRange(e.At) {
		return Event{}, fmt.Errorf("%w: time %d is out of range", errEvent, j.At)
	}
	switch {
	case j.ReassignTo != "" && (j.Op != Withdraw || !id.Valid(j.ReassignTo)):
		return Event{}, fmt.Errorf("%w: operation %q for the anonymous rater %.200q", errEvent, j.Op, j.ReassignTo)
	case j.Op == Rate && j.Score != nil && j.By == "":
		e.Score = *j.Score
	case (j.Op == Withdraw || j.Op == Recalculate) && j.Score == nil && j.By != "":
	default:
		return Event{}, fmt.Errorf("%w: operation %q with the wrong fields", errEvent, j.Op)
	}
	return e, nil
}
