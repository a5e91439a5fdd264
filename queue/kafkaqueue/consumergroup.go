package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/backoff"
)

const (
	firstRejoin = 100 * time.Millisecond // after a session that failed
	lastRejoin  = 20 * time.Second
	watchEvery  = time.Second     // between two looks whether the topic is still the same
	settleGrace = 4 * time.Second // how long a claim waits for the handler when its session is over
)

var (
	errStrategy = errors.New("sarama's cooperative strategy has not the methods it had")
	errOldTopic = errors.New("the committed offset is of a deleted topic: starting from the beginning")
)

// join keeps c a member of the group until ctx is done.
func (c *consumer) join(ctx context.Context) {
	defer close(c.joined)
	pauses := backoff.Backoff{First: firstRejoin, Max: lastRejoin, Jitter: true}
	for ctx.Err() == nil {
		began := time.Now()
		err := c.runSession(ctx)
		if err == nil || time.Since(began) > lastRejoin {
			pauses.Reset()
		}
		if err != nil && ctx.Err() == nil {
			c.log("consumer session failed", err)
			_ = pauses.Wait(ctx)
		}
	}
}

// runSession is one membership. It ends when ctx is done, when the brokers take the member for
// dead, or when the topic is no longer the same.
func (c *consumer) runSession(ctx context.Context) error {
	t, err := c.queue.topic(ctx)
	if err != nil {
		return err
	}
	if err := c.replaceStatic(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	c.mu.Lock()
	c.topic, c.restart, c.assigned = t, cancel, nil
	c.mu.Unlock()
	watching.Go(func() {
		for backoff.Sleep(ctx, watchEvery) == nil {
			if now, err := c.queue.describe(ctx); err == nil && now != t {
				cancel()
			}
		}
	})
	return c.group.Consume(ctx, []string{c.queue.cfg.Topic}, c)
}

// logErrors logs what goes wrong in the background until the group is closed.
func (c *consumer) logErrors() {
	for err := range c.group.Errors() {
		c.log("consumer", err)
	}
}

func (c *consumer) log(text string, err error) {
	if c.connections.closed() {
		return // everything fails then
	}
	level := slog.LevelWarn
	if errors.Is(err, sarama.ErrRebalanceInProgress) || errors.Is(err, sarama.ErrIllegalGeneration) ||
		errors.Is(err, sarama.ErrUnknownMemberId) {
		level = slog.LevelDebug // other members come and go
	}
	c.queue.cfg.Logger.LogAttrs(context.Background(), level, text,
		slog.String("topic", c.queue.cfg.Topic), slog.String("group", c.queue.cfg.Group), slog.Any("error", err))
}

// claim is a partition that is assigned to a member during a session.
type claim struct {
	topic     topic
	partition int32
	session   sarama.ConsumerGroupSession
	messages  <-chan *sarama.ConsumerMessage
	first     *sarama.ConsumerMessage // received before the claim was offered
	lost      context.Context         // done when another member gets the partition, or the session is over
	lose      context.CancelFunc      // keeps the claim out of batches, also of the one that the handler refuses
	settled   chan struct{}           // holds one when the claim is in no batch any more
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

func (cl *claim) settle() {
	select {
	case cl.settled <- struct{}{}:
	default:
	}
}

// Setup implements sarama.ConsumerGroupHandler.
func (c *consumer) Setup(session sarama.ConsumerGroupSession) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (c *consumer) Cleanup(sarama.ConsumerGroupSession) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = nil
	return nil
}

// ConsumeClaim implements sarama.ConsumerGroupHandler. It ends when the partition is assigned to
// another member, after the handler has finished what it has of it, or within five seconds after
// the end of the session.
func (c *consumer) ConsumeClaim(session sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) error {
	cl, err := c.newClaim(session, from)
	if cl == nil {
		return err
	}
	defer c.forget(cl)
	over := session.Context().Done()
	for cl.lost.Err() == nil {
		select {
		case m, ok := <-cl.messages:
			if !ok {
				return nil
			}
			cl.first = m
		case <-cl.lost.Done():
			continue
		}
		select {
		case c.offers <- cl:
		case <-cl.lost.Done():
			continue
		}
		select {
		case <-cl.settled:
		case <-over:
			timer := time.NewTimer(settleGrace)
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

// newClaim checks that the topic is that of the session, and that the offset which the claim starts
// from was committed in it. Otherwise it ends the session. It returns nil, and no error, when the
// session is over.
func (c *consumer) newClaim(session sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) (*claim, error) {
	c.mu.Lock()
	t, restart := c.topic, c.restart
	c.mu.Unlock()
	for err := c.checkTopic(session, t, from); err != nil; err = c.checkTopic(session, t, from) {
		if session.Context().Err() != nil {
			return nil, nil
		}
		if errors.Is(err, errOldTopic) || errors.Is(err, errRecreated) {
			restart()
			return nil, fmt.Errorf("partition %d: %w", from.Partition(), err)
		}
		_ = backoff.Sleep(session.Context(), firstRejoin)
	}
	cl := &claim{
		topic: t, partition: from.Partition(), session: session, messages: from.Messages(), settled: make(chan struct{}, 1),
	}
	cl.lost, cl.lose = context.WithCancel(session.Context())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claims[cl] = struct{}{}
	if !slices.Contains(c.assigned, cl.partition) {
		cl.lose()
	}
	return cl, nil
}

func (c *consumer) checkTopic(session sarama.ConsumerGroupSession, t topic, from sarama.ConsumerGroupClaim) error {
	now, err := c.queue.describe(session.Context())
	if err != nil {
		return err
	}
	if now != t {
		return errRecreated
	}
	committed, err := ask(session.Context(), c.queue, func(a *admin) ([]committedOffset, error) { return a.committed(t) })
	if err != nil {
		return err
	}
	at := committed[from.Partition()]
	beyond := at.next > from.HighWaterMarkOffset() // sarama starts over then, but commits no lower offset
	if at.next >= 0 && !at.of(t) || beyond {
		session.ResetOffset(from.Topic(), from.Partition(), 0, t.id)
		return errOldTopic
	}
	return nil
}

func (c *consumer) forget(cl *claim) {
	cl.lose()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.claims, cl)
}

// cooperative is what sarama's strategy implements beside its declared type.
type cooperative interface {
	sarama.BalanceStrategy
	SupportedProtocols() []sarama.RebalanceProtocol
	SubscriptionUserData(topics []string) ([]byte, error)
	OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32)
}

// strategy reports each assignment to the consumer. A claim whose handler fails again and again
// would not notice otherwise that its partition is assigned to another member, because the end of
// its messages comes after the messages.
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
