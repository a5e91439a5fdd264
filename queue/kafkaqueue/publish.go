package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/queue"
)

var (
	errFull     = errors.New("too many bytes are in flight")
	errCanceled = errors.New("canceled") // sarama's answer to messages of a call that was canceled
)

// Publish implements queue.Publisher. The error is queue.ErrNotAccepted when the brokers are away,
// when Config.MaxInFlightBytes are in flight, and when the topic is not durable though
// Config.RequireDurable is set. If the brokers do not answer in time, the outcome is unknown,
// unless all of msgs could be canceled before the first was sent.
func (q *Queue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if err := queue.Validate(msgs...); err != nil {
		return nil, err
	}
	if len(msgs) == 0 {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, notAccepted(context.Cause(ctx))
	}
	positions, err := q.publish(ctx, msgs)
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) { // a caller who left says nothing of the brokers
		q.failing.Note(err != nil)
	}
	return positions, err
}

// FailingSince implements queue.Failer.
func (q *Queue) FailingSince() time.Time { return q.failing.Time() }

func (q *Queue) publish(ctx context.Context, msgs []queue.Message) ([]queue.Position, error) {
	if !q.begin() {
		return nil, notAccepted(errClosed)
	}
	defer q.running.Done()
	c := q.newCall(msgs)
	if !q.reserve(c.size) {
		return nil, notAccepted(errFull)
	}
	p, err := q.ready(ctx)
	if err != nil {
		c.answered(len(msgs))
		return nil, notAccepted(err)
	}
	if err := p.publish(ctx, c); err != nil {
		if c.cancel() {
			return nil, notAccepted(err)
		}
		return nil, fmt.Errorf("kafkaqueue: publish: %w", err)
	}
	return c.positions, nil
}

func notAccepted(err error) error {
	return fmt.Errorf("kafkaqueue: publish: %w: %w", queue.ErrNotAccepted, err)
}

// reserve reports whether size more bytes may be in flight. A call that exceeds the limit by itself
// is let through alone.
func (q *Queue) reserve(size int64) bool {
	for {
		n := q.inFlight.Load()
		if n > 0 && n+size > q.cfg.MaxInFlightBytes {
			return false
		}
		if q.inFlight.CompareAndSwap(n, n+size) {
			return true
		}
	}
}

// The states of a call.
const (
	pending  = iota // no message was sent
	sent            // a message may have been sent
	canceled        // no message will be sent
)

// call is one Publish in flight.
type call struct {
	queue    *Queue
	messages []*sarama.ProducerMessage
	size     int64 // bytes
	state    atomic.Int32
	left     atomic.Int32  // messages without an answer
	done     chan struct{} // closed with the last answer

	// Written by the goroutine of producer.answers, to be read when done is closed.
	positions []queue.Position
	err       error // of the first message that failed
}

// newCall copies msgs.
func (q *Queue) newCall(msgs []queue.Message) *call {
	c := &call{
		queue:     q,
		messages:  make([]*sarama.ProducerMessage, len(msgs)),
		done:      make(chan struct{}),
		positions: make([]queue.Position, len(msgs)),
	}
	c.left.Store(int32(len(msgs)))
	for i, m := range msgs {
		b := &body{call: c, index: i, bytes: append([]byte{}, m.Body...)}
		pm := &sarama.ProducerMessage{Key: sarama.StringEncoder(m.Key), Value: b, Metadata: b, Offset: -1}
		for name, value := range m.Header {
			pm.Headers = append(pm.Headers, sarama.RecordHeader{Key: []byte(name), Value: []byte(value)})
		}
		c.size += int64(pm.ByteSize(2))
		c.messages[i] = pm
	}
	return c
}

// cancel reports whether no message was sent, and keeps all of them from being sent then.
func (c *call) cancel() bool {
	return c.state.CompareAndSwap(pending, canceled) || c.state.Load() == canceled
}

// answered counts n messages whose outcome is known, or that sarama was not given.
func (c *call) answered(n int) {
	if c.left.Add(-int32(n)) == 0 {
		c.queue.inFlight.Add(-c.size)
		close(c.done)
	}
}

// body is the body of one message of a call. sarama encodes it when it puts the message into a
// request: until then the call can be canceled.
type body struct {
	call  *call
	index int // of the message
	bytes []byte
}

// Length implements sarama.Encoder.
func (b *body) Length() int { return len(b.bytes) }

// Encode implements sarama.Encoder.
func (b *body) Encode() ([]byte, error) {
	if !b.call.state.CompareAndSwap(pending, sent) && b.call.state.Load() == canceled {
		return nil, errCanceled
	}
	return b.bytes, nil
}

// answer records the outcome of the message.
func (b *body) answer(at queue.Position, err error) {
	b.call.positions[b.index] = at
	if err != nil && b.call.err == nil {
		b.call.err = err
	}
	b.call.answered(1)
}
