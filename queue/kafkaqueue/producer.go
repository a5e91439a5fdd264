package kafkaqueue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/queue"
)

const (
	drainTimeout = 3 * time.Second // for messages in flight when a queue is closed
	slow         = time.Second     // a call that waited so long in vain is a failure of the producer
)

var (
	errRecreated = errors.New("the topic was created again meanwhile")
	errNoOffset  = errors.New("the brokers have the message already and return no offset")
	errDiscarded = errors.New("the producer was discarded")
)

// producer publishes to one life of the topic.
type producer struct {
	queue       *Queue
	topic       topic
	confirmed   time.Time // when the topic was last known to be there; guarded by queue.mu
	async       sarama.AsyncProducer
	client      sarama.Client
	connections *connections
	failures    atomic.Int32  // in a row
	newest      []int64       // offset by partition; belongs to answers
	answersEnd  chan struct{} // closed when no answer comes any more

	sending sync.RWMutex    // read-locked to send
	life    context.Context // ends before async is closed
	end     context.CancelFunc
}

// openProducer connects a producer, which asks the brokers for an id.
func (q *Queue) openProducer(ctx context.Context, t topic) (*producer, error) {
	p := &producer{
		queue:       q,
		topic:       t,
		connections: newConnections(),
		newest:      make([]int64, t.partitions),
		answersEnd:  make(chan struct{}),
	}
	for i := range p.newest {
		p.newest[i] = -1
	}
	p.life, p.end = context.WithCancel(context.Background())
	defer context.AfterFunc(ctx, p.connections.cut)()
	var err error
	if p.client, err = sarama.NewClient(q.brokers, q.producerConfig(p.connections)); err != nil {
		p.connections.cut()
		return nil, err
	}
	// The metadata come first, because sarama asks one broker for the id, whether it is up or not.
	if err = p.client.RefreshMetadata(q.cfg.Topic); err == nil {
		p.async, err = sarama.NewAsyncProducerFromClient(p.client)
	}
	if err != nil {
		p.connections.cut()
		p.client.Close()
		return nil, err
	}
	go p.answers()
	return p, nil
}

// publish sends the messages of c and waits for all answers.
func (p *producer) publish(ctx context.Context, c *call) error {
	began := time.Now()
	partitioner := sarama.NewHashPartitioner(p.queue.cfg.Topic)
	for _, pm := range c.messages {
		pm.Topic = p.queue.cfg.Topic
		var err error
		if pm.Partition, err = partitioner.Partition(pm, p.topic.partitions); err != nil {
			c.answered(len(c.messages))
			return err
		}
	}
	if n, err := p.send(ctx, c.messages); err != nil {
		c.answered(len(c.messages) - n)
		return err
	}
	if planted.AckEarly { // at the beginning of the log, because no position is known yet
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
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(began) > slow {
			p.failed(errSlow)
		}
		return err
	}
}

// send returns how many messages sarama has taken.
func (p *producer) send(ctx context.Context, messages []*sarama.ProducerMessage) (int, error) {
	p.sending.RLock()
	defer p.sending.RUnlock()
	for i, pm := range messages {
		if p.life.Err() != nil {
			return i, errDiscarded
		}
		select {
		case p.async.Input() <- pm:
		case <-p.life.Done():
			return i, errDiscarded
		case <-ctx.Done():
			return i, context.Cause(ctx)
		}
	}
	return len(messages), nil
}

// answers records the outcome of each message, until the producer has ended.
func (p *producer) answers() {
	defer close(p.answersEnd)
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
			if !errors.Is(e.Err, errCanceled) {
				p.failed(e.Err)
			}
			e.Msg.Metadata.(*body).answer(queue.Position{}, e.Err)
		}
	}
}

func (p *producer) succeeded(pm *sarama.ProducerMessage) {
	b := pm.Metadata.(*body)
	switch {
	case pm.Offset < 0:
		b.answer(queue.Position{}, errNoOffset)
		return
	case pm.Offset <= p.newest[pm.Partition]:
		b.answer(queue.Position{}, errRecreated)
		p.queue.discard(p)
		return
	}
	p.newest[pm.Partition] = pm.Offset
	p.failures.Store(0)
	b.answer(queue.Position{Stream: p.topic.stream(), Offset: pm.Offset}, nil)
}

// failed discards the producer after maxFailures in a row: a new one works sooner, because sarama
// has a circuit breaker for each partition, which stays open for ten seconds.
func (p *producer) failed(err error) {
	if p.failures.Add(1) == maxFailures {
		p.queue.warn(context.Background(), "producer discarded", err)
		p.queue.discard(p)
	}
}

// close lets the messages in flight arrive, for drainTimeout at most.
func (p *producer) close() {
	timer := time.AfterFunc(drainTimeout, p.connections.cut)
	defer timer.Stop()
	p.end()
	p.sending.Lock() // no call sends any more
	p.async.AsyncClose()
	p.sending.Unlock()
	<-p.answersEnd
	p.client.Close()
	p.connections.cut()
}

// abort fails the messages in flight.
func (p *producer) abort() {
	p.connections.cut()
	p.close()
}
