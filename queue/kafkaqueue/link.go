package kafkaqueue

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// link makes the connections of one client and can cut all of them. A client that waits for a
// silent broker, to close itself for instance, ends that way and no other.
type link struct {
	ctx    context.Context // ends with cut
	cancel context.CancelFunc
	dialer interface { // of the host, or nil
		Dial(network, addr string) (net.Conn, error)
	}
	timeout time.Duration

	mu    sync.Mutex
	conns map[*conn]struct{}
}

func newLink() *link {
	l := &link{conns: make(map[*conn]struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Dial implements the dialer that sarama asks for.
func (l *link) Dial(network, addr string) (net.Conn, error) {
	c, err := l.dial(network, addr)
	if err != nil {
		return nil, err
	}
	kept := &conn{Conn: c, link: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone() {
		c.Close()
		return nil, net.ErrClosed
	}
	l.conns[kept] = struct{}{}
	return kept, nil
}

func (l *link) dial(network, addr string) (net.Conn, error) {
	if l.gone() {
		return nil, net.ErrClosed
	}
	if l.dialer != nil {
		return l.dialer.Dial(network, addr)
	}
	// A consumer may have to wait for an answer for a minute: that the machine at the other end is
	// gone shows earlier here.
	d := net.Dialer{Timeout: l.timeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	return d.DialContext(l.ctx, network, addr)
}

func (l *link) gone() bool { return l.ctx.Err() != nil }

// cut closes every connection and lets no other be made.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel()
	for c := range l.conns {
		c.Conn.Close()
	}
	clear(l.conns)
}

type conn struct {
	net.Conn
	link *link
}

func (c *conn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	if err := c.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// backoff waits longer with each retry, from 50 ms to most, and not at all once the link is cut or,
// the first time, because sarama makes every message wait in turn.
func (l *link) backoff(retries int, most time.Duration) time.Duration {
	if retries <= 1 || l.gone() {
		return 0
	}
	return min(time.Duration(retries)*50*time.Millisecond, most)
}

// baseConfig is what all clients have in common: they give up on a silent broker after seconds, and
// make no topics by asking for them.
func (q *Queue) baseConfig(l *link) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_2_0_0
	c.ClientID = q.cfg.ClientID
	c.Net.DialTimeout = time.Second
	c.Net.ReadTimeout = 3 * time.Second
	c.Net.WriteTimeout = 3 * time.Second
	c.Metadata.AllowAutoTopicCreation = false
	c.Metadata.Full = false
	c.Metadata.Timeout = 3 * time.Second
	c.Metadata.Retry.Max = 3
	c.Metadata.Retry.BackoffFunc = func(retries, _ int) time.Duration { return l.backoff(retries+2, 250*time.Millisecond) }
	if q.cfg.TLS != nil {
		c.Net.TLS.Enable, c.Net.TLS.Config = true, q.cfg.TLS
	}
	q.cfg.SASL.configure(c)
	return c
}

// configure lets the host have its say and puts the link in place.
func (q *Queue) configure(c *sarama.Config, l *link) {
	if q.cfg.Configure != nil {
		q.cfg.Configure(c)
	}
	if c.Net.Proxy.Enable {
		l.dialer = c.Net.Proxy.Dialer
	}
	l.timeout = c.Net.DialTimeout
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, l
}

func (q *Queue) adminConfig(l *link) *sarama.Config {
	c := q.baseConfig(l)
	c.Admin.Retry.Max = 1
	c.Admin.Timeout = 2 * time.Second
	q.configure(c, l)
	c.Metadata.Full = true          // or it does not find the controller
	c.Metadata.RefreshFrequency = 0 // of all topics there are; it connects anew instead when something has moved
	return c
}

// maxRequest bounds what is sent at once to one partition, which has room for the largest message.
// It is the brokers' default.
const maxRequest = 1 << 20

func (q *Queue) producerConfig(l *link) *sarama.Config {
	c := q.baseConfig(l)
	c.Producer.Timeout = 2 * time.Second          // for the replicas
	c.Producer.Flush.Frequency = time.Millisecond // three times the throughput of none
	c.Producer.Retry.Max = 10
	c.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration { return l.backoff(retries, time.Second) }
	c.Producer.Retry.MaxBufferBytes = 64 << 20 // never reached by what MaxInFlightBytes lets through, but by one huge Publish
	c.Producer.Transaction.Retry.Max = 3
	c.Producer.Transaction.Retry.BackoffFunc = func(retries, _ int) time.Duration { return l.backoff(retries+2, 250*time.Millisecond) }
	q.configure(c, l)
	c.Producer.MaxMessageBytes = maxRequest
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Producer.Partitioner = sarama.NewManualPartitioner // Publish has hashed the key already
	c.Producer.Interceptors = nil
	return c
}

func (q *Queue) consumerConfig(l *link) *sarama.Config {
	c := q.baseConfig(l)
	c.Consumer.Group.Rebalance.Timeout = 60 * time.Second
	c.Consumer.Group.Rebalance.Retry.Max = 10
	c.Consumer.Group.Rebalance.Retry.Backoff = 250 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 10 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 3 * time.Second
	c.Consumer.Offsets.AutoCommit.Interval = 250 * time.Millisecond
	c.Consumer.MaxWaitTime = 250 * time.Millisecond // heartbeats, commits and the end of a claim wait for a fetch
	c.Consumer.Retry.BackoffFunc = func(retries int) time.Duration { return l.backoff(retries+1, 2*time.Second) }
	q.configure(c, l)
	c.Net.ReadTimeout = max(c.Net.ReadTimeout, c.Consumer.Group.Rebalance.Timeout+5*time.Second) // a join is answered when all have joined
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = true
	c.Consumer.Return.Errors = true
	c.Consumer.Group.ResetInvalidOffsets = true
	c.Consumer.Interceptors = nil
	return c
}
