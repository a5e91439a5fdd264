package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// grace is how long a claim waits for the handler when its session is over already.
const grace = 4 * time.Second

var (
	errStrategy = errors.New("sarama's cooperative strategy has not the methods it had")
	errOldTopic = errors.New("the recorded progress is of a topic that is gone: starting from the beginning")
)

// claim is a partition in the hands of a member.
type claim struct {
	consumer  *consumer
	topic     topic
	partition int32
	session   sarama.ConsumerGroupSession
	messages  <-chan *sarama.ConsumerMessage
	first     *sarama.ConsumerMessage // that was read to know that there is one
	lost      chan struct{}           // closed when it is given to another member, or the session is over
	losing    sync.Once
	settled   chan struct{} // holds one when the claim is in no batch any more
}

// next returns a message if there is one and it is wanted.
func (cl *claim) next(wanted bool) *sarama.ConsumerMessage {
	if !wanted {
		return nil
	}
	select {
	case m := <-cl.messages: // nil at the end
		return m
	default:
		return nil
	}
}

// mark records progress. The note tells whether it is one in the topic of that name then.
func (cl *claim) mark(last *sarama.ConsumerMessage) {
	cl.session.MarkMessage(last, cl.topic.id)
}

func (cl *claim) settle() {
	select {
	case cl.settled <- struct{}{}:
	default:
	}
}

func (cl *claim) isLost() bool {
	select {
	case <-cl.lost:
		return true
	default:
		return false
	}
}

// lose keeps the claim out of batches, also of the one that the handler has failed to take.
func (cl *claim) lose() {
	cl.losing.Do(func() { close(cl.lost) })
	select {
	case cl.consumer.changed <- struct{}{}:
	default:
	}
}

// Setup implements sarama.ConsumerGroupHandler.
func (c *consumer) Setup(session sarama.ConsumerGroupSession) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = session
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (c *consumer) Cleanup(sarama.ConsumerGroupSession) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = nil
	return nil
}

// ConsumeClaim implements sarama.ConsumerGroupHandler. It ends when the partition is given to
// another member, after the handler has finished what it has of it, or within five seconds after
// the end of the session.
func (c *consumer) ConsumeClaim(session sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) error {
	cl, err := c.newClaim(session, from)
	if cl == nil {
		return err
	}
	defer c.forget(cl)
	over := session.Context().Done()
	for !cl.isLost() {
		select {
		case m, ok := <-cl.messages:
			if !ok {
				return nil
			}
			cl.first = m
		case <-over:
			return nil
		}
		select {
		case c.offers <- cl:
		case <-cl.lost:
			continue
		case <-over:
			return nil
		}
		select {
		case <-cl.settled:
		case <-over:
			cl.lose()
			timer := time.NewTimer(grace)
			defer timer.Stop()
			select {
			case <-cl.settled:
			case <-timer.C:
			}
			return nil
		}
	}
	for { // to return before the partition is revoked would end the session
		select {
		case _, ok := <-cl.messages:
			if !ok {
				return nil
			}
		case <-over:
			return nil
		}
	}
}

// newClaim checks that the topic is the one of the session, and that the progress the claim starts
// from was made in it. Otherwise it ends the session. It returns none, and no error, when the
// session is over.
func (c *consumer) newClaim(session sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) (*claim, error) {
	ctx, p := session.Context(), from.Partition()
	c.mu.Lock()
	t, restart := c.topic, c.restart
	c.mu.Unlock()
	for {
		err := c.check(ctx, session, t, from)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if errors.Is(err, errOldTopic) || errors.Is(err, errMoved) {
			restart()
			return nil, fmt.Errorf("partition %d: %w", p, err)
		}
		_ = pause(ctx, firstJoin)
	}
	cl := &claim{consumer: c, topic: t, partition: p, session: session, messages: from.Messages(), lost: make(chan struct{}), settled: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claims[cl] = struct{}{}
	if !slices.Contains(c.assigned, p) {
		cl.lose()
	}
	return cl, nil
}

func (c *consumer) check(ctx context.Context, session sarama.ConsumerGroupSession, t topic, from sarama.ConsumerGroupClaim) error {
	now, missing, err := c.queue.describe(ctx)
	if err != nil {
		return err
	}
	if missing || now != t {
		return errMoved
	}
	committed, err := ask(ctx, c.queue, func(a *administrator) ([]progress, error) { return a.committed(c.queue.cfg, t) })
	if err != nil {
		return err
	}
	at := committed[from.Partition()]
	beyond := at.offset > from.HighWaterMarkOffset() // sarama starts over then, but records nothing that is before it
	if at.offset >= 0 && !at.of(t) || beyond {
		session.ResetOffset(from.Topic(), from.Partition(), 0, t.id)
		return errOldTopic
	}
	return nil
}

func (c *consumer) forget(cl *claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.claims, cl)
}

// cooperative is what sarama's strategy can do beside what its type says.
type cooperative interface {
	sarama.BalanceStrategy
	SupportedProtocols() []sarama.RebalanceProtocol
	SubscriptionUserData(topics []string) ([]byte, error)
	OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32)
}

// strategy tells the consumer of each assignment: a claim whose handler fails again and again would
// not notice otherwise that its partition is wanted elsewhere, because the end of its messages is
// behind messages.
type strategy struct {
	cooperative
	consumer *consumer
}

func (c *consumer) newStrategy() (*strategy, error) {
	s, ok := sarama.NewBalanceStrategyCooperativeSticky().(cooperative)
	if !ok {
		return nil, errStrategy
	}
	return &strategy{s, c}, nil
}

// OnAssignment implements sarama.OnAssignmentBalanceStrategy.
func (s *strategy) OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32) {
	s.cooperative.OnAssignment(assignment, generation)
	c := s.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	c.assigned = slices.Clone(assignment.Topics[c.queue.cfg.Topic]) // sarama sorts its own after this
	for cl := range c.claims {
		if !slices.Contains(c.assigned, cl.partition) {
			cl.lose()
		}
	}
}
