package kafkaqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/queue"
)

const (
	maxBytes   = 16 << 20              // of bodies in a batch; a batch is at least one message
	firstWait  = 10 * time.Millisecond // after a handler's first failure, doubled with each one after it
	lastWait   = time.Second
	firstJoin  = 100 * time.Millisecond // bounds the pause after a session that failed, doubled with each one after it
	lastJoin   = 30 * time.Second
	watch      = time.Second     // between looks whether the topic is still the same
	committing = 2 * time.Second // for a rebalance to be over, or for the answer of the brokers
	leaving    = 5 * time.Second // for the brokers to take note of the end of a Consume
)

// Consume implements queue.Consumer. It makes the topic if it is missing, and waits for brokers
// that are away. When the queue is closed it returns an error.
func (q *Queue) Consume(ctx context.Context, limit int, h queue.Handler) error {
	if limit < 1 || limit > queue.MaxBatch {
		return fmt.Errorf("kafkaqueue: batches of %d messages, must be 1 to %d", limit, queue.MaxBatch)
	}
	if !q.begin() {
		return fmt.Errorf("kafkaqueue: consume: %w", errClosed)
	}
	defer q.running.Done()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	for q.name(inner) != nil {
		switch {
		case pause(inner, firstJoin) == nil:
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("kafkaqueue: consume: %w", errClosed)
		}
	}
	c, err := q.newConsumer(limit, h)
	if err != nil {
		return fmt.Errorf("kafkaqueue: consume: %w", err)
	}
	member, leave := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { c.join(member) })
	done.Go(c.warn)
	defer func() { // deferred for the sake of a handler that panics
		c.commit()
		leave()
		c.close()
		done.Wait()
	}()
	c.run(inner)
	if ctx.Err() == nil {
		return fmt.Errorf("kafkaqueue: consume: %w", errClosed)
	}
	return nil
}

// consumer is one Consume: a member of the group and the one goroutine that calls the handler.
type consumer struct {
	queue   *Queue
	number  int    // among the Consume calls of the queue
	name    string // of a static member; empty: a dynamic one
	limit   int
	handler queue.Handler
	link    *link
	client  sarama.Client
	group   sarama.ConsumerGroup
	joined  chan struct{} // closed when join has returned
	offers  chan *claim   // partitions that have something, with their first message in hand
	changed chan struct{} // holds one when a claim was lost since it was last empty

	mu       sync.Mutex
	topic    topic                       // of the session
	current  sarama.ConsumerGroupSession // nil without one
	restart  context.CancelFunc          // ends the session
	assigned []int32
	claims   map[*claim]struct{}

	replaced bool // the member that this one takes the place of is gone; belongs to join
}

// newConsumer connects nothing yet.
func (q *Queue) newConsumer(limit int, h queue.Handler) (*consumer, error) {
	c := &consumer{
		queue:   q,
		limit:   limit,
		handler: h,
		link:    newLink(),
		joined:  make(chan struct{}),
		offers:  make(chan *claim),
		changed: make(chan struct{}, 1),
		claims:  make(map[*claim]struct{}),
	}
	strategy, err := c.newStrategy()
	if err != nil {
		return nil, err
	}
	c.number = q.enter()
	defer func() {
		if err != nil {
			q.exit(c.number)
		}
	}()
	if q.cfg.Instance != "" {
		c.name = q.cfg.Instance + "." + strconv.Itoa(c.number)
	}
	cfg := q.consumerConfig(c.link)
	cfg.Consumer.Group.InstanceId = c.name
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

// enter returns the lowest number that no Consume has, so that those of a process that comes back
// are the same.
func (q *Queue) enter() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := slices.Index(q.members, false)
	if n < 0 {
		n = len(q.members)
		q.members = append(q.members, false)
	}
	q.members[n] = true
	return n
}

func (q *Queue) exit(number int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.members[number] = false
}

// close leaves the group once join is about to return. Marks are recorded by then, unless the
// brokers are silent.
func (c *consumer) close() {
	timer := time.AfterFunc(leaving, c.link.cut)
	defer timer.Stop()
	<-c.joined
	if err := c.group.Close(); err != nil {
		c.log("leaving the group failed", err)
	}
	if err := c.resign(); err != nil {
		c.log("leaving the group failed", err)
	}
	c.client.Close()
	c.link.cut()
	c.queue.exit(c.number)
}

// resign removes a static member from the group: closing the group leaves it a member, whose
// partitions would wait for it until its session times out. It asks through the member's own
// client, because the queue may be closing.
func (c *consumer) resign() error {
	if c.name == "" {
		return nil
	}
	coordinator, err := c.client.Coordinator(c.queue.cfg.Group)
	if err != nil {
		return err
	}
	answer, err := coordinator.LeaveGroup(&sarama.LeaveGroupRequest{
		Version: 3, GroupId: c.queue.cfg.Group, Members: []sarama.MemberIdentity{{GroupInstanceId: &c.name}},
	})
	if err == nil {
		switch answer.Err {
		case sarama.ErrNoError, sarama.ErrUnknownMemberId, sarama.ErrGroupIDNotFound: // it is none
		default:
			err = answer.Err
		}
	}
	if err != nil {
		_ = c.client.RefreshCoordinator(c.queue.cfg.Group)
	}
	return err
}

// replace removes the member that this process was before it died, if the brokers still wait for
// it. They would give the new one what the old one had been given last, and if the old one died
// while it handed partitions over, nobody would ever get those.
func (c *consumer) replace() error {
	if c.replaced {
		return nil
	}
	if err := c.resign(); err != nil {
		return fmt.Errorf("replace the member of before: %w", err)
	}
	c.replaced = true
	return nil
}

// commit records what was marked. The end of the session does that too, but not if it comes amid a
// rebalance.
func (c *consumer) commit() {
	c.mu.Lock()
	session := c.current
	c.mu.Unlock()
	if session == nil {
		return
	}
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		session.Commit()
	}()
	timer := time.NewTimer(committing)
	defer timer.Stop()
	select {
	case <-recorded:
	case <-timer.C:
	}
}

// warn logs what goes wrong in the background until the group is closed.
func (c *consumer) warn() {
	for err := range c.group.Errors() {
		c.log("consumer", err)
	}
}

func (c *consumer) log(text string, err error) {
	if c.link.gone() {
		return // nothing can work any more, as it should be
	}
	level := slog.LevelWarn
	if errors.Is(err, sarama.ErrRebalanceInProgress) || errors.Is(err, sarama.ErrIllegalGeneration) || errors.Is(err, sarama.ErrUnknownMemberId) {
		level = slog.LevelDebug // other members come and go
	}
	c.queue.cfg.Logger.Log(context.Background(), level, text, slog.String("topic", c.queue.cfg.Topic), slog.String("group", c.queue.cfg.Group), slog.Any("error", err))
}

// join is a member of the group until ctx is done.
func (c *consumer) join(ctx context.Context) {
	defer close(c.joined)
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil || time.Since(began) > lastJoin {
			failures = 0
		}
		if err != nil {
			c.log("consumer session failed", err)
			longest := min(firstJoin<<min(failures, 16), lastJoin)
			failures++
			_ = pause(ctx, firstJoin/2+rand.N(longest))
		}
	}
}

// session is one membership, which ends when ctx does, when the brokers take the member for dead or
// when the topic is not the same any more.
func (c *consumer) session(ctx context.Context) error {
	t, err := c.queue.topic(ctx)
	if err != nil {
		return err
	}
	if err := c.replace(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.topic, c.restart, c.assigned = t, cancel, nil
	c.mu.Unlock()
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(ctx, t, cancel) })
	defer watching.Wait()
	defer cancel()
	return c.group.Consume(ctx, []string{c.queue.cfg.Topic}, c)
}

// watch ends the session when the topic was made again or has got partitions.
func (c *consumer) watch(ctx context.Context, t topic, end context.CancelFunc) {
	for pause(ctx, watch) == nil {
		if now, missing, err := c.queue.describe(ctx); err == nil && (missing || now != t) {
			end()
			return
		}
	}
}

// part is what a batch has of one partition.
type part struct {
	claim    *claim
	messages []*sarama.ConsumerMessage
}

// run hands over one batch after the other until ctx is done.
func (c *consumer) run(ctx context.Context) {
	for {
		select {
		case cl := <-c.offers:
			c.handle(ctx, c.gather(cl))
		case <-ctx.Done():
			return
		}
	}
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

// handle hands parts to the handler until it takes them, ctx is done or other members have got all
// of their partitions.
func (c *consumer) handle(ctx context.Context, parts []part) {
	defer func() { // in any case, for the sake of a handler that panics
		for _, p := range parts {
			p.claim.settle()
		}
	}()
	withoutLost := func() bool {
		parts = slices.DeleteFunc(parts, func(p part) bool {
			lost := p.claim.isLost()
			if lost {
				p.claim.settle()
			}
			return lost
		})
		return len(parts) > 0
	}
	if planted.CommitEarly {
		for _, p := range parts {
			p.claim.mark(p.messages[len(p.messages)-1])
		}
		c.commit()
	}
	for wait := firstWait; ctx.Err() == nil && withoutLost(); wait = min(2*wait, lastWait) {
		if c.handler(context.WithoutCancel(ctx), c.deliveries(parts)) == nil {
			for _, p := range parts {
				p.claim.mark(p.messages[len(p.messages)-1])
			}
			return
		}
		for timer := time.After(wait); timer != nil; {
			select {
			case <-timer:
				timer = nil
			case <-c.changed:
				if !withoutLost() {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// deliveries copies the messages of parts, because the handler may keep and change what it gets.
func (c *consumer) deliveries(parts []part) []queue.Delivery {
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
