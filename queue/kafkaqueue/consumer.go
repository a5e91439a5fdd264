package kafkaqueue

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/backoff"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/queue"
)

const (
	maxBytes      = 16 << 20        // of bodies in a batch; a batch has at least one message
	commitTimeout = 2 * time.Second // for a rebalance to be over, or for the answer of the brokers
	leaveTimeout  = 5 * time.Second // for the brokers to record the end of a Consume
)

// Consume implements queue.Consumer. It creates the topic if it is missing, and waits for brokers
// that are away. When the queue is closed it returns an error.
func (q *Queue) Consume(ctx context.Context, limit int, h queue.Handler) error {
	if limit < 1 || limit > queue.MaxBatch {
		return fmt.Errorf("kafkaqueue: batches of %d messages, must be 1 to %d", limit, queue.MaxBatch)
	}
	if !q.begin() {
		return fmt.Errorf("kafkaqueue: consume: %w", errClosed)
	}
	defer q.running.Done()
	open, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	if err := q.consume(open, limit, h); err != nil {
		return fmt.Errorf("kafkaqueue: consume: %w", err)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("kafkaqueue: consume: %w", errClosed)
	}
	return nil
}

// consume returns nil once ctx is done.
func (q *Queue) consume(ctx context.Context, limit int, h queue.Handler) error {
	for q.name(ctx) != nil {
		if backoff.Sleep(ctx, firstRejoin) != nil {
			return nil
		}
	}
	c, err := q.newConsumer(limit, h)
	if err != nil {
		return err
	}
	member, leave := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { c.join(member) })
	done.Go(c.logErrors)
	defer func() { // deferred, because a handler may panic
		c.commit()
		leave()
		c.close()
		done.Wait()
	}()
	for {
		select {
		case cl := <-c.offers:
			c.handle(ctx, c.gather(cl))
		case <-ctx.Done():
			return nil
		}
	}
}

// consumer is one Consume: a member of the consumer group, and the one goroutine that calls the
// handler.
type consumer struct {
	queue       *Queue
	number      int    // among the running calls of Consume
	instance    string // the name of a static member; empty: a dynamic one
	limit       int
	handler     queue.Handler
	connections *connections
	client      sarama.Client
	group       sarama.ConsumerGroup
	joined      chan struct{} // closed when join has returned
	offers      chan *claim   // claims that have a message, which they have received as claim.first

	mu       sync.Mutex
	topic    topic                       // of the session
	session  sarama.ConsumerGroupSession // nil without one
	restart  context.CancelFunc          // ends the session
	assigned []int32                     // partitions
	claims   map[*claim]struct{}

	replaced bool // no member of before this process's last start is left; belongs to join
}

// newConsumer connects nothing yet.
func (q *Queue) newConsumer(limit int, h queue.Handler) (c *consumer, err error) {
	c = &consumer{
		queue:       q,
		limit:       limit,
		handler:     h,
		connections: newConnections(),
		joined:      make(chan struct{}),
		offers:      make(chan *claim),
		claims:      make(map[*claim]struct{}),
	}
	strategy, err := c.newStrategy()
	if err != nil {
		return nil, err
	}
	c.number, c.instance = q.takeNumber()
	defer func() {
		if err != nil {
			q.releaseNumber(c.number)
		}
	}()
	cfg := q.consumerConfig(c.connections)
	cfg.Consumer.Group.InstanceId = c.instance
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	if c.client, err = sarama.NewClient(q.brokers, cfg); err != nil {
		return nil, err
	}
	if c.group, err = sarama.NewConsumerGroupFromClient(q.cfg.Group, c.client); err != nil {
		c.client.Close()
		return nil, err
	}
	return c, nil
}

// close leaves the group once join is about to return. The offsets are committed by then, unless
// the brokers are silent.
func (c *consumer) close() {
	timer := time.AfterFunc(leaveTimeout, c.connections.cut)
	defer timer.Stop()
	<-c.joined
	if err := c.group.Close(); err != nil {
		c.log("leaving the group failed", err)
	}
	if err := c.leaveStatic(); err != nil {
		c.log("leaving the group failed", err)
	}
	c.client.Close()
	c.connections.cut()
	c.queue.releaseNumber(c.number)
}

// commit commits what was marked. The end of the session does that too, but not during a rebalance.
func (c *consumer) commit() {
	c.mu.Lock()
	session := c.session
	c.mu.Unlock()
	if session == nil {
		return
	}
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		session.Commit()
	}()
	timer := time.NewTimer(commitTimeout)
	defer timer.Stop()
	select {
	case <-committed:
	case <-timer.C:
	}
}

// part is what a batch has of one partition.
type part struct {
	claim    *claim
	messages []*sarama.ConsumerMessage
}

// gather takes what is ready, of cl first.
func (c *consumer) gather(cl *claim) []part {
	var parts []part
	for n, size := 0, 0; ; {
		p := part{claim: cl}
		for m := cl.first; m != nil; m = cl.next(n < c.limit && size < maxBytes) {
			p.messages = append(p.messages, m)
			n++
			size += len(m.Value)
		}
		parts = append(parts, p)
		if n >= c.limit || size >= maxBytes {
			return parts
		}
		select {
		case cl = <-c.offers:
		default:
			return parts
		}
	}
}

// handle passes parts to the handler until it takes them, ctx is done or no claim of them is left.
func (c *consumer) handle(ctx context.Context, parts []part) {
	defer func() { // deferred, because a handler may panic
		for _, p := range parts {
			p.claim.settle()
		}
	}()
	if planted.CommitEarly {
		mark(parts)
		c.commit()
	}
	for ctx.Err() == nil {
		parts = slices.DeleteFunc(parts, func(p part) bool {
			lost := p.claim.lost.Err() != nil
			if lost {
				p.claim.settle()
			}
			return lost
		})
		if len(parts) == 0 {
			return
		}
		if c.retry(ctx, parts) {
			mark(parts)
			return
		}
		_ = backoff.Sleep(ctx, time.Millisecond)
	}
}

// retry passes parts to the handler until it takes them, ctx is done or a claim is lost. It reports
// whether the handler has taken them.
func (c *consumer) retry(ctx context.Context, parts []part) bool {
	kept, stop := context.WithCancel(ctx)
	defer stop()
	for _, p := range parts {
		defer context.AfterFunc(p.claim.lost, stop)()
	}
	return queue.Retry(kept, func() error { return c.handler(context.WithoutCancel(ctx), deliveries(parts)) })
}

// mark marks the messages of parts as finished. The next commit records that, and with it the
// topic, so that the offsets do not count for another topic of the same name.
func mark(parts []part) {
	for _, p := range parts {
		p.claim.session.MarkMessage(p.messages[len(p.messages)-1], p.claim.topic.id)
	}
}

// deliveries copies the messages of parts, because the handler may keep and change what it gets.
func deliveries(parts []part) []queue.Delivery {
	var batch []queue.Delivery
	for _, p := range parts {
		for _, m := range p.messages {
			d := queue.Delivery{
				Message:  queue.Message{Key: string(m.Key), Body: bytes.Clone(m.Value)},
				Position: queue.Position{Stream: p.claim.topic.stream(), Offset: m.Offset},
			}
			if len(m.Headers) > 0 {
				d.Header = make(map[string]string, len(m.Headers))
				for _, h := range m.Headers {
					d.Header[string(h.Key)] = string(h.Value)
				}
			}
			batch = append(batch, d)
		}
	}
	return batch
}
