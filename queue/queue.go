// Package queue is the port to the log that accepted writes wait in until a worker has stored them.
//
// # Delivery
//
// At least once, to one of all consumers of the queue, in the order of publishing for the messages
// of one key. A consumer that stops, fails or dies leaves the messages that it had not finished to
// the next consumer, which may receive some of them again.
//
// # Errors
//
// A Publish that fails has one of two outcomes: nothing was accepted (the error wraps
// ErrNotAccepted), or the outcome is unknown (any other error): the message may still be written,
// any time later.
//
// # Concurrency
//
// Every method may be called concurrently. An implementation shares no memory with its caller after
// a method has returned; a Handler may keep what it was given.
//
// # Optional powers
//
// A queue that knows how many messages wait implements Lagger, and a queue that knows for how long
// they wait implements Ager: without it, nothing is refused for its age. A queue that knows what
// became of a position implements Locator: without it, a message that the queue has lost counts as
// waiting. A queue that knows since when it accepts nothing implements Failer.
package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of a message. Every adapter that has room accepts what is within them.
const (
	MaxKey    = 512      // bytes of Message.Key
	MaxBody   = 64 << 10 // bytes of Message.Body
	MaxHeader = 16       // entries of Message.Header
	MaxField  = 512      // bytes of a header's name, and of its value
	MaxBatch  = 10_000   // messages of one Publish, and of one delivered batch
	MaxStream = 64       // bytes of Position.Stream
)

var (
	// ErrNotAccepted says that nothing of what was to be published has left, nor ever will.
	ErrNotAccepted = errors.New("queue: not accepted")
	// ErrInvalid says that a message is outside the bounds. It comes together with ErrNotAccepted.
	ErrInvalid = errors.New("queue: invalid message")
)

// Message is what a publisher publishes.
type Message struct {
	// Key groups messages that must stay in order: 1 to MaxKey bytes of UTF-8.
	Key string
	// Body is the payload: at most MaxBody bytes, opaque to the queue. An empty one may arrive as nil.
	Body []byte
	// Header describes the message, such as its request id: at most MaxHeader entries of UTF-8, their
	// names not empty. An empty one may arrive as nil.
	Header map[string]string
}

// Position says where a message stands: among the messages of one Key in one Stream, a later
// publish has a greater Offset.
type Position struct {
	// Stream names one life of the log: 1 to MaxStream bytes of printable ASCII without space.
	// Offsets of different streams cannot be compared; an adapter whose offsets start again (a new
	// file, a recreated topic, a new process in memory) must use a new name.
	Stream string
	// Offset is never negative.
	Offset int64
}

// Delivery is a message and where it stands.
type Delivery struct {
	Message
	Position
	// Damaged says that the message is not whole, because another program wrote or changed it: the
	// part that could not be read is missing. No queue stops at such a message, and no message that a
	// queue wrote itself becomes one.
	Damaged bool
}

// Handler takes a whole batch or none of it: after an error or a crash every message of it comes
// again, though not necessarily in one batch.
type Handler func(ctx context.Context, batch []Delivery) error

// Publisher accepts messages.
type Publisher interface {
	// Publish returns the positions of msgs, in their order, once all of them are as durable as the
	// adapter says it makes them, and not before. Without msgs it does nothing. A message outside
	// the bounds fails the call with ErrInvalid and ErrNotAccepted before anything is published. It
	// returns within the deadline of ctx; when ctx is done already, it fails with ErrNotAccepted.
	Publish(ctx context.Context, msgs ...Message) ([]Position, error)
}

// Consumer delivers messages.
type Consumer interface {
	// Consume passes batches of 1 to limit messages to h, one batch after the other, until ctx is
	// done; it then lets the call of h in flight finish, records its progress and returns nil. Of each
	// key it starts with the oldest message that no consumer has finished. No other consumer receives
	// messages of a key while h has some in flight, unless this one is taken for dead. A batch holds
	// what is ready; Consume never waits to fill it. When h fails, Consume pauses, for a millisecond
	// at least, and passes it the same messages again, for as long as it takes: it drops none of them,
	// poison messages included, and delivers no later message of their keys before them. The context
	// that h gets is not done when ctx is. A limit outside 1 to MaxBatch is an error. Any other error
	// means that Consume could not go on and may be called again.
	Consume(ctx context.Context, limit int, h Handler) error
}

// Queue is both ends.
type Queue interface {
	Publisher
	Consumer
}

// Lagger is implemented by queues that know how many published messages no consumer has finished.
type Lagger interface {
	// Lag counts them. It may run behind for a moment, and is right once publishers and consumers
	// rest.
	Lag(ctx context.Context) (int64, error)
}

// Ager is implemented by queues that know how long messages wait, and after how long they are lost.
type Ager interface {
	// Age returns how long ago the oldest message that no consumer has finished was published, 0 if
	// there is none, and after how long a message may be deleted though no consumer has finished it
	// (retention), 0 if it never is. The age may run behind like Lag, and is off by the difference
	// between the clocks of the machines.
	Age(ctx context.Context) (oldest, retention time.Duration, err error)
}

// Standing is what has become of a position.
type Standing int

// The standings.
const (
	Unknown     Standing = iota // the position is in none of the queue's streams
	Unpublished                 // nothing has been published there
	Published                   // a message was published there: it waits, or a consumer has it or has finished it
	Deleted                     // the queue has deleted the message, whether or not a consumer had finished it
)

// Locator is implemented by queues that know what has become of a position.
type Locator interface {
	// Locate returns the standing of a position, which may be made up, for messages of a key. Once
	// Publish has returned a position it is never Unpublished, and the next one after the last is.
	// A message that a consumer can still get is never Deleted. A position in a stream that is not
	// the queue's is Unknown.
	Locate(ctx context.Context, key string, at Position) (Standing, error)
}

// Failer is implemented by queues that know since when they accept nothing.
type Failer interface {
	// FailingSince returns when the first Publish failed after the last one that succeeded, because
	// the queue could not accept it. It is the zero time if there was none.
	FailingSince() time.Time
}

// Validate reports a message outside the bounds with an error that wraps ErrInvalid and
// ErrNotAccepted. Adapters call it for every message before they publish the first.
func Validate(msgs ...Message) error {
	if len(msgs) > MaxBatch {
		return refuse("%d messages at once, at most %d", len(msgs), MaxBatch)
	}
	for i, m := range msgs {
		switch {
		case m.Key == "" || len(m.Key) > MaxKey || !utf8.ValidString(m.Key):
			return refuse("message %d: the key must have 1 to %d bytes of UTF-8", i, MaxKey)
		case len(m.Body) > MaxBody:
			return refuse("message %d: the body has %d bytes, at most %d", i, len(m.Body), MaxBody)
		case len(m.Header) > MaxHeader:
			return refuse("message %d: %d header entries, at most %d", i, len(m.Header), MaxHeader)
		}
		for name, value := range m.Header {
			if name == "" || len(name) > MaxField || len(value) > MaxField || !utf8.ValidString(name) ||
				!utf8.ValidString(value) {
				return refuse("message %d: a header entry must have a name of 1 to %d bytes and a value of at most as many, "+
					"in UTF-8", i, MaxField)
			}
		}
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s", ErrNotAccepted, ErrInvalid, fmt.Sprintf(format, args...))
}
