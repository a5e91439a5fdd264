// Package queuetest is the suite that every implementation of queue.Queue must pass. Each check
// quotes the sentence of package queue that it is about.
//
//	func TestQueue(t *testing.T) {
//		queuetest.Run(t, func(t *testing.T) queue.Queue { return open(t) }, queuetest.Config{})
//	}
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/queue"

	"github.com/khodnevis/khodnevis/internal/suite"
)

// Config is for queues that need time.
type Config struct {
	// Timeout bounds each check, from opening it to the last message; a queue that is right never
	// needs more, a queue that loses something takes all of it. Default 10 s; queues behind a
	// network may want a minute.
	Timeout time.Duration
}

// Check is one thing that a queue promises.
type Check struct {
	Name     string
	Sentence string // as it stands in package queue
	// Run reports what is wrong with q, a queue of which nothing has been published or consumed,
	// before ctx is done.
	Run func(ctx context.Context, q queue.Queue) error
}

// Checks is the suite in reading order. It is not to be changed.
var Checks = []Check{
	{"positions in order", "Publish returns the positions of msgs, in their order", positionsInOrder},
	{"offsets grow", "among the messages of one Key in one Stream, a later publish has a greater Offset", offsetsGrow},
	{"offsets are not negative", "Offset is never negative.", offsetsNotNegative},
	{"one stream", "Stream names one life of the log: 1 to MaxStream bytes of printable ASCII without space.", oneStream},
	{"round trip", "Every adapter that has room accepts what is within them.", roundTrip},
	{"largest batch", "Every adapter that has room accepts what is within them.", largestBatch},
	{"no messages", "Without msgs it does nothing.", noMessages},
	{"invalid messages",
		"A message outside the bounds fails the call with ErrInvalid and ErrNotAccepted before anything is published.",
		invalidMessages},
	{"publish with a context that is done", "when ctx is done already, it fails with ErrNotAccepted.", publishDone},
	{"memory of the publisher", "An implementation shares no memory with its caller after a method has returned",
		publisherMemory},
	{"memory of the handler", "a Handler may keep what it was given.", handlerMemory},
	{"many publishers", "Every method may be called concurrently.", manyPublishers},
	{"order of keys", "in the order of publishing for the messages of one key.", orderOfKeys},
	{"positions under concurrency", "Position says where a message stands", positionsUnderConcurrency},
	{"size of batches", "Consume passes batches of 1 to limit messages to h", sizeOfBatches},
	{"limit out of bounds", "A limit outside 1 to MaxBatch is an error.", limitOutOfBounds},
	{"one batch after the other", "one batch after the other", oneAfterTheOther},
	{"no waiting to fill a batch", "A batch holds what is ready; Consume never waits to fill it.", noWaiting},
	{"failed batch comes again", "delivers no later message of their keys before them.", failedComesAgain},
	{"failing never gives up", "for as long as it takes: it drops none of them", neverGivesUp},
	{"pause after a failure", "When h fails, Consume pauses, for a millisecond at least", pauses},
	{"every message of a failed batch", "after an error or a crash every message of it comes again", wholeBatchAgain},
	{"context of the handler", "The context that h gets is not done when ctx is.", handlerContext},
	{"handler may finish", "it then lets the call of h in flight finish, records its progress and returns nil.",
		handlerFinishes},
	{"stop ends the deliveries", "until ctx is done", stopEndsDeliveries},
	{"stop ends the retries", "until ctx is done", stopEndsRetries},
	{"unfinished goes to the next consumer", "leaves the messages that it had not finished to the next consumer",
		unfinishedGoesOn},
	{"starts with the oldest", "Of each key it starts with the oldest message that no consumer has finished",
		startsWithOldest},
	{"finished stays finished", "records its progress", finishedStaysFinished},
	{"consumers share the work", "At least once, to one of all consumers of the queue", consumersShare},
	{"a key in flight once", "No other consumer receives messages of a key while h has some in flight", keyInFlightOnce},
	{"lag", "how many published messages no consumer has finished.", lag},
	{"standing", "Once Publish has returned a position it is never Unpublished, and the next one after the last is.",
		standing},
	{"standing of what waits", "A message that a consumer can still get is never Deleted.", standingWaiting},
	{"standing in another stream", "A position in a stream that is not the queue's is Unknown.", standingElsewhere},
	{"age", "Age returns how long ago the oldest message that no consumer has finished was published, 0 if there is " +
		"none", age},
}

// ErrAbsent is the error of a check of an optional power that the queue lacks, such as queue.Lagger.
var ErrAbsent = suite.ErrAbsent

// Run runs every check, and NewStream, as a parallel subtest. Open is called in the subtest and
// must return an empty queue with a log of its own each time; what several of them share, such as a
// broker, is closed by t.Cleanup of the test around Run and not by defer, because parallel subtests
// end after their parent's function. The checks of an optional power that the queue lacks are skipped.
func Run(t *testing.T, open func(t *testing.T) queue.Queue, cfg Config) {
	t.Helper()
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	for _, c := range Checks {
		suite.Run(t, c.Name, c.Sentence, cfg.Timeout, open, c.Run)
	}
	t.Run("new stream", func(t *testing.T) {
		t.Parallel()
		first, second := open(t), open(t)
		ctx, cancel := context.WithTimeout(t.Context(), cfg.Timeout)
		defer cancel()
		if err := NewStream(ctx, first, second); err != nil {
			t.Error(err)
		}
	})
}

// NewStream reports whether two queues with a log each wrongly use the same stream: "an adapter
// whose offsets start again […] must use a new name."
func NewStream(ctx context.Context, first, second queue.Queue) error {
	a, err := publish(ctx, first, message("k", "1"))
	if err != nil {
		return err
	}
	b, err := publish(ctx, second, message("k", "1"))
	if err != nil {
		return err
	}
	if a[0].Stream == b[0].Stream {
		return fmt.Errorf("two logs have the one stream %q", a[0].Stream)
	}
	return nil
}

// message returns a message without header.
func message(key, body string) queue.Message {
	return queue.Message{Key: key, Body: []byte(body)}
}

// publish publishes and checks that there is a position for each message. It does not outlast ctx.
func publish(ctx context.Context, q queue.Queue, msgs ...queue.Message) ([]queue.Position, error) {
	type result struct {
		positions []queue.Position
		err       error
	}
	done := make(chan result, 1)
	go func() {
		ps, err := q.Publish(ctx, msgs...)
		done <- result{ps, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("publishing %d messages: %w", len(msgs), r.err)
		}
		if len(r.positions) != len(msgs) {
			return nil, fmt.Errorf("got %d positions for %d messages", len(r.positions), len(msgs))
		}
		return r.positions, nil
	case <-ctx.Done():
		return nil, errors.New("got no answer from Publish in time")
	}
}
