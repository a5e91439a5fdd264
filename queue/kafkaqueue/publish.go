package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/queue"
)

var (
	errFull      = errors.New("too many messages are on their way")
	errWithdrawn = errors.New("withdrawn") // the answer to messages that were not sent in time
	errTimeout   = errors.New("the brokers did not answer in time")
)

// Publish implements queue.Publisher. Brokers that are away, a full queue and, if so configured, a
// topic that is not durable are queue.ErrNotAccepted; no answer from them leaves the outcome open
// unless all of msgs could be withdrawn.
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
	if !q.begin() {
		return nil, notAccepted(errClosed)
	}
	defer q.running.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, q.cfg.PublishTimeout, errTimeout)
	defer cancel()
	c := newCall(msgs, &q.room)
	if !q.room.take(len(msgs), c.size) {
		return nil, notAccepted(errFull)
	}
	p, err := q.ready(ctx)
	if err != nil {
		c.leave(len(msgs))
		return nil, notAccepted(err)
	}
	if err := p.publish(ctx, c); err != nil {
		if c.withdraw() {
			return nil, notAccepted(err)
		}
		return nil, fmt.Errorf("kafkaqueue: publish: %w", err)
	}
	return c.positions, nil
}

func notAccepted(err error) error {
	return fmt.Errorf("kafkaqueue: publish: %w: %w", queue.ErrNotAccepted, err)
}

// The states of a call.
const (
	waiting   = iota // no message has left
	sent             // one may have
	withdrawn        // none will
)

// call is one Publish on its way.
type call struct {
	messages []*sarama.ProducerMessage
	size     int64
	room     *room
	state    atomic.Int32
	left     atomic.Int32  // messages without an answer
	done     chan struct{} // closed with the last answer

	// Written by the one goroutine that gets the answers, to be read when done is closed.
	positions []queue.Position
	err       error // of the first message that failed
}

// newCall copies msgs.
func newCall(msgs []queue.Message, room *room) *call {
	c := &call{
		messages:  make([]*sarama.ProducerMessage, len(msgs)),
		room:      room,
		done:      make(chan struct{}),
		positions: make([]queue.Position, len(msgs)),
	}
	c.left.Store(int32(len(msgs)))
	for i, m := range msgs {
		s := &slot{call: c, index: i, body: append([]byte{}, m.Body...)}
		pm := &sarama.ProducerMessage{Key: sarama.StringEncoder(m.Key), Value: s, Metadata: s, Offset: -1}
		for name, value := range m.Header {
			pm.Headers = append(pm.Headers, sarama.RecordHeader{Key: []byte(name), Value: []byte(value)})
		}
		s.size = int64(pm.ByteSize(2))
		c.size += s.size
		c.messages[i] = pm
	}
	return c
}

// withdraw keeps every message from leaving, if none has left.
func (c *call) withdraw() bool {
	return c.state.CompareAndSwap(waiting, withdrawn) || c.state.Load() == withdrawn
}

// answer records what became of a message.
func (c *call) answer(s *slot, at queue.Position, err error) {
	c.positions[s.index] = at
	if err != nil && c.err == nil {
		c.err = err
	}
	c.room.give(1, s.size)
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// leave gives back the room of the last n messages, which nobody was given.
func (c *call) leave(n int) {
	for _, pm := range c.messages[len(c.messages)-n:] {
		c.room.give(1, pm.Metadata.(*slot).size)
	}
}

// slot is a message of a call. It is also the encoder of its body, by which sarama tells that it
// puts the message into a request: until then it can be withdrawn.
type slot struct {
	call  *call
	index int
	body  []byte
	size  int64
}

// Length implements sarama.Encoder.
func (s *slot) Length() int { return len(s.body) }

// Encode implements sarama.Encoder.
func (s *slot) Encode() ([]byte, error) {
	if !s.call.state.CompareAndSwap(waiting, sent) && s.call.state.Load() == withdrawn {
		return nil, errWithdrawn
	}
	return s.body, nil
}

// room bounds what is on its way.
type room struct {
	messages int
	bytes    int64

	mu        sync.Mutex
	taken     int
	takenSize int64
}

// take reports whether there is room. What alone exceeds the bytes is let through alone.
func (r *room) take(n int, size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken > 0 && r.takenSize+size > r.bytes || r.taken+n > r.messages {
		return false
	}
	r.taken += n
	r.takenSize += size
	return true
}

func (r *room) give(n int, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken -= n
	r.takenSize -= size
}
