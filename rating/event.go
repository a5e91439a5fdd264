package rating

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

// op is what an event asks for.
type op string

const (
	opRate        op = "rate"
	opWithdraw    op = "withdraw"
	opRecalculate op = "recalculate"
)

// The queue headers of a message.
const (
	requestHeader      = "request-id"
	installationHeader = "installation" // who published it, see Store.Installation; missing in messages of earlier releases
)

// eventFormat is the version of the encoding. A worker rejects what a newer release wrote, so
// update workers first.
const eventFormat = 1

// event is what travels through the queue. The message's key says what it is about: a rating's for
// opRate and opWithdraw, a content's for opRecalculate.
type event struct {
	Op    op
	Score int    // opRate
	By    string // opWithdraw, opRecalculate: the identifier of who asked
	// ReassignTo is the rater that an opWithdraw hands the rating over to; empty: none. See Change.
	ReassignTo string
	At         time.Time // when it was accepted, UTC in microseconds
}

type eventJSON struct {
	Format     int    `json:"v"`
	Op         op     `json:"op"`
	Score      *int   `json:"score,omitempty"`
	By         string `json:"by,omitempty"`
	ReassignTo string `json:"anonymous,omitempty"`
	At         int64  `json:"at"` // microseconds since 1970
}

func (e event) encode() []byte {
	j := eventJSON{Format: eventFormat, Op: e.Op, By: e.By, ReassignTo: e.ReassignTo, At: e.At.UnixMicro()}
	if e.Op == opRate {
		j.Score = &e.Score
	}
	body, err := json.Marshal(j)
	if err != nil {
		panic(err) // no value of these types fails to encode
	}
	return body
}

// message returns what is published for e.
func (e event) message(key, request string) queue.Message {
	m := queue.Message{Key: key, Body: e.encode()}
	if request != "" {
		m.Header = map[string]string{requestHeader: request}
	}
	return m
}

var errEvent = errors.New("rating: not an event")

// earliest and latest bound the times that an event may carry, so that every store can keep them.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// decodeEvent is the strict inverse of encode: an event of another format or shape is an error.
func decodeEvent(body []byte) (event, error) {
	var j eventJSON
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return event{}, fmt.Errorf("%w: %w", errEvent, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return event{}, fmt.Errorf("%w: data after the end", errEvent)
	}
	if j.Format != eventFormat {
		return event{}, fmt.Errorf("%w: format %d, this release knows %d", errEvent, j.Format, eventFormat)
	}
	e := event{Op: j.Op, By: j.By, ReassignTo: j.ReassignTo, At: time.UnixMicro(j.At).UTC()}
	if e.At.Before(earliest) || e.At.After(latest) {
		return event{}, fmt.Errorf("%w: time %d is out of range", errEvent, j.At)
	}
	switch {
	case j.ReassignTo != "" && (j.Op != opWithdraw || !id.Valid(j.ReassignTo)):
		return event{}, fmt.Errorf("%w: operation %q for the anonymous rater %.200q", errEvent, j.Op, j.ReassignTo)
	case j.Op == opRate && j.Score != nil && j.By == "":
		e.Score = *j.Score
	case (j.Op == opWithdraw || j.Op == opRecalculate) && j.Score == nil && j.By != "":
	default:
		return event{}, fmt.Errorf("%w: operation %q with the wrong fields", errEvent, j.Op)
	}
	return e, nil
}
