package kafkaqueue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/queue"
)

const (
	fresh       = time.Second     // how long a producer is used without asking whether its topic is still there
	stale       = 2 * time.Second // how long it may be used while that is asked
	probeEvery  = time.Second     // between attempts while the brokers are away
	maxFailures = 5               // in a row, after which a producer is given up
	openTimeout = 10 * time.Second
	drain       = 3 * time.Second // for what is on its way when a queue is closed
)

var (
	errMoved    = errors.New("the topic was made again meanwhile")
	errNoOffset = errors.New("the brokers have the message already and tell no offset")
	errGivenUp  = errors.New("the producer was given up")
)

// unavailable is why there is no producer, and until when nobody asks again.
type unavailable struct {
	err   error
	until time.Time
}

// attempt is at making a producer, or at confirming the one there is, for all who wait for it.
type attempt struct {
	done chan struct{}
	err  error // once done
}

// ready returns a producer whose topic was there a moment ago.
func (q *Queue) ready(ctx context.Context) (*producer, error) {
	for {
		p, a, err := q.tryReady()
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-q.life.Done():
			return nil, errClosed
		}
	}
}

// tryReady returns a producer, the attempt to wait for, or why there is none.
func (q *Queue) tryReady() (*producer, *attempt, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	p := q.producer
	if p != nil && now.Sub(p.confirmed) < fresh {
		return p, nil, nil
	}
	usable := p != nil && now.Sub(p.confirmed) < stale
	if q.attempt == nil {
		switch {
		case now.Before(q.down.until) && !usable:
			return nil, nil, q.down.err
		case now.Before(q.down.until):
			return p, nil, nil
		case !q.beginLocked():
			return nil, nil, errClosed
		}
		q.attempt = &attempt{done: make(chan struct{})}
		go q.try(q.attempt, p)
	}
	if usable {
		return p, nil, nil
	}
	return nil, q.attempt, nil
}

// try confirms p or replaces it.
func (q *Queue) try(a *attempt, p *producer) {
	defer q.running.Done()
	ctx, cancel := context.WithTimeoutCause(q.life, openTimeout, errTimeout)
	defer cancel()
	began := time.Now()
	t, err := q.topic(ctx)
	if err == nil {
		err = q.durable(ctx, t)
	}
	next := p
	if err == nil && (p == nil || p.topic != t) {
		next, err = q.openProducer(ctx, t)
	}
	q.mu.Lock()
	q.attempt = nil
	a.err = err
	close(a.done)
	unwanted := false
	switch {
	case err != nil:
		q.down = unavailable{err, time.Now().Add(probeEvery)}
	case q.life.Err() != nil:
		unwanted = next != p
	case next == p && q.producer != p: // given up meanwhile
	default:
		if next != p && q.producer != nil {
			q.discardLocked(q.producer)
		}
		next.confirmed = began
		q.producer = next
	}
	q.mu.Unlock()
	if unwanted {
		next.abort()
	}
}

// discard gives p up, so that the next Publish makes another one.
func (q *Queue) discard(p *producer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.discardLocked(p)
}

func (q *Queue) discardLocked(p *producer) {
	if q.producer != p || !q.beginLocked() {
		return
	}
	q.producer = nil
	go func() {
		defer q.running.Done()
		p.abort()
	}()
}

// producer publishes to one life of the topic.
type producer struct {
	queue     *Queue
	topic     topic
	confirmed time.Time // when the topic was last seen to be there; guarded by queue.mu
	async     sarama.AsyncProducer
	client    sarama.Client
	link      *link
	failures  atomic.Int32  // in a row
	newest    []int64       // offset by partition; belongs to the goroutine of answers
	answered  chan struct{} // closed when no answer comes any more

	input    sync.RWMutex  // read-locked to send
	closed   bool          // guarded by input
	stopping chan struct{} // closed to make those who send let go
	stop     sync.Once
}

// openProducer connects a producer, which asks the brokers for an id.
func (q *Queue) openProducer(ctx context.Context, t topic) (*producer, error) {
	p := &producer{
		queue:    q,
		topic:    t,
		link:     newLink(),
		newest:   make([]int64, t.partitions),
		answered: make(chan struct{}),
		stopping: make(chan struct{}),
	}
	for i := range p.newest {
		p.newest[i] = -1
	}
	defer context.AfterFunc(ctx, p.link.cut)()
	var err error
	if p.client, err = sarama.NewClient(q.brokers, q.producerConfig(p.link)); err != nil {
		p.link.cut()
		return nil, err
	}
	if err = p.client.RefreshMetadata(q.cfg.Topic); err == nil { // first, because the id is asked of one broker, there or not
		p.async, err = sarama.NewAsyncProducerFromClient(p.client)
	}
	if err != nil {
		p.link.cut()
		p.client.Close()
		return nil, err
	}
	go p.answers()
	return p, nil
}

// publish sends the messages of c and waits for all answers.
func (p *producer) publish(ctx context.Context, c *call) error {
	partitioner := sarama.NewHashPartitioner(p.queue.cfg.Topic)
	for _, pm := range c.messages {
		pm.Topic = p.queue.cfg.Topic
		var err error
		if pm.Partition, err = partitioner.Partition(pm, p.topic.partitions); err != nil {
			c.leave(len(c.messages))
			return err
		}
	}
	if n, err := p.send(ctx, c.messages); err != nil {
		c.leave(len(c.messages) - n)
		return err
	}
	if planted.AckEarly { // at the beginning of the log, for want of a place
		for i := range c.positions {
			c.positions[i] = queue.Position{Stream: p.topic.stream()}
		}
		return nil
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		err := context.Cause(ctx)
		if errors.Is(err, errTimeout) {
			p.failed(err)
		}
		return err
	}
}

// send returns how many messages sarama has taken.
func (p *producer) send(ctx context.Context, messages []*sarama.ProducerMessage) (int, error) {
	p.input.RLock()
	defer p.input.RUnlock()
	if p.closed {
		return 0, errGivenUp
	}
	for i, pm := range messages {
		select {
		case p.async.Input() <- pm:
		case <-p.stopping:
			return i, errGivenUp
		case <-ctx.Done():
			return i, context.Cause(ctx)
		}
	}
	return len(messages), nil
}

// answers hands on what became of each message, until the producer has ended.
func (p *producer) answers() {
	defer close(p.answered)
	successes, failures := p.async.Successes(), p.async.Errors()
	for successes != nil || failures != nil {
		select {
		case pm, ok := <-successes:
			if !ok {
				successes = nil
				continue
			}
			p.succeeded(pm)
		case e, ok := <-failures:
			if !ok {
				failures = nil
				continue
			}
			s := e.Msg.Metadata.(*slot)
			if !errors.Is(e.Err, errWithdrawn) {
				p.failed(e.Err)
			}
			s.call.answer(s, queue.Position{}, e.Err)
		}
	}
}

func (p *producer) succeeded(pm *sarama.ProducerMessage) {
	s := pm.Metadata.(*slot)
	switch {
	case pm.Offset < 0:
		s.call.answer(s, queue.Position{}, errNoOffset)
		return
	case pm.Offset <= p.newest[pm.Partition]:
		s.call.answer(s, queue.Position{}, errMoved)
		p.queue.discard(p)
		return
	}
	p.newest[pm.Partition] = pm.Offset
	p.failures.Store(0)
	s.call.answer(s, queue.Position{Stream: p.topic.stream(), Offset: pm.Offset}, nil)
}

// failed gives the producer up after a series of failures, because a new one is sooner well: the
// circuit breakers in sarama, one for each partition, stay open for ten seconds.
func (p *producer) failed(err error) {
	if p.failures.Add(1) == maxFailures {
		p.queue.cfg.Logger.Warn("producer given up", slog.String("topic", p.queue.cfg.Topic), slog.Any("error", err))
		p.queue.discard(p)
	}
}

// close lets what is on its way arrive, and does not wait long for it.
func (p *producer) close() {
	timer := time.AfterFunc(drain, p.link.cut)
	defer timer.Stop()
	p.end()
}

// abort fails what is on its way.
func (p *producer) abort() {
	p.link.cut()
	p.end()
}

func (p *producer) end() {
	p.stop.Do(func() {
		close(p.stopping)
		p.input.Lock()
		p.closed = true
		p.input.Unlock()
		p.async.AsyncClose()
	})
	<-p.answered
	p.client.Close()
	p.link.cut()
}
