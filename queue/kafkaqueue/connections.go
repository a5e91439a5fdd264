package kafkaqueue

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/IBM/sarama"
)

// connections makes the connections of one client, and can close all of them: a client that waits
// for a silent broker, even to close itself, ends in no other way.
type connections struct {
	life   context.Context // ends with cut
	cut    context.CancelFunc
	dialer interface { // of the host, or nil
		Dial(network, addr string) (net.Conn, error)
	}
	timeout time.Duration
}

func newConnections() *connections {
	cs := new(connections)
	cs.life, cs.cut = context.WithCancel(context.Background())
	return cs
}

func (cs *connections) closed() bool { return cs.life.Err() != nil }

// Dial implements the dialer that sarama asks for.
func (cs *connections) Dial(network, addr string) (net.Conn, error) {
	c, err := cs.dial(network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, context.AfterFunc(cs.life, func() { c.Close() })}, nil
}

func (cs *connections) dial(network, addr string) (net.Conn, error) {
	if cs.closed() {
		return nil, net.ErrClosed
	}
	if cs.dialer != nil {
		return cs.dialer.Dial(network, addr)
	}
	// A consumer may wait for an answer for a minute. Probes find out earlier that a machine is gone.
	probes := net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}
	d := net.Dialer{Timeout: cs.timeout, KeepAliveConfig: probes}
	return d.DialContext(cs.life, network, addr)
}

type conn struct {
	net.Conn
	release func() bool
}

func (c *conn) Close() error {
	c.release()
	if err := c.Conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// backoff returns the pause before a retry: 50 ms more each time, up to most. There is none before
// the first retry, because sarama makes every message wait in turn, and none once cs is cut.
func (cs *connections) backoff(retries int, most time.Duration) time.Duration {
	if retries <= 1 || cs.closed() {
		return 0
	}
	return min(time.Duration(retries)*50*time.Millisecond, most)
}

// baseConfig returns the settings of all clients: they give up on a silent broker after seconds,
// and create no topic by asking for it.
func (q *Queue) baseConfig(cs *connections) *sarama.Config {
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
	c.Metadata.Retry.BackoffFunc = func(n, _ int) time.Duration { return cs.backoff(n+2, 250*time.Millisecond) }
	if q.cfg.TLS != nil {
		c.Net.TLS.Enable, c.Net.TLS.Config = true, q.cfg.TLS
	}
	q.cfg.SASL.configure(c)
	return c
}

// configure calls Config.Configure, and lets the client dial through cs.
func (q *Queue) configure(c *sarama.Config, cs *connections) {
	if q.cfg.Configure != nil {
		q.cfg.Configure(c)
	}
	if c.Net.Proxy.Enable {
		cs.dialer = c.Net.Proxy.Dialer
	}
	cs.timeout = c.Net.DialTimeout
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, cs
}

func (q *Queue) adminConfig(cs *connections) *sarama.Config {
	c := q.baseConfig(cs)
	c.Admin.Retry.Max = 1
	c.Admin.Timeout = 2 * time.Second
	q.configure(c, cs)
	c.Metadata.Full = true          // or it does not find the controller
	c.Metadata.RefreshFrequency = 0 // of all topics; it connects anew instead when something has moved
	return c
}

// maxRequest bounds what is sent at once to one partition, which has room for the largest message.
// It is the brokers' default.
const maxRequest = 1 << 20

func (q *Queue) producerConfig(cs *connections) *sarama.Config {
	c := q.baseConfig(cs)
	c.Producer.Timeout = 2 * time.Second          // for the replicas
	c.Producer.Flush.Frequency = time.Millisecond // three times the throughput of none
	c.Producer.Retry.Max = 10
	c.Producer.Retry.BackoffFunc = func(n, _ int) time.Duration { return cs.backoff(n, time.Second) }
	c.Producer.Retry.MaxBufferBytes = 64 << 20 // only one huge Publish exceeds MaxInFlightBytes so far
	c.Producer.Transaction.Retry.Max = 3
	c.Producer.Transaction.Retry.BackoffFunc = c.Metadata.Retry.BackoffFunc
	q.configure(c, cs)
	c.Producer.MaxMessageBytes = maxRequest
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Producer.Partitioner = sarama.NewManualPartitioner // Publish has hashed the key already
	c.Producer.Interceptors = nil
	return c
}

func (q *Queue) consumerConfig(cs *connections) *sarama.Config {
	c := q.baseConfig(cs)
	group := &c.Consumer.Group
	group.Rebalance.Timeout = 60 * time.Second
	group.Rebalance.Retry.Max = 10
	group.Rebalance.Retry.Backoff = 250 * time.Millisecond
	group.Session.Timeout = 10 * time.Second
	group.Heartbeat.Interval = 3 * time.Second
	c.Consumer.Offsets.AutoCommit.Interval = 250 * time.Millisecond
	c.Consumer.MaxWaitTime = 250 * time.Millisecond // heartbeats, commits and the end of a claim wait for a fetch
	c.Consumer.Retry.BackoffFunc = func(n int) time.Duration { return cs.backoff(n+1, 2*time.Second) }
	q.configure(c, cs)
	// The brokers answer a join when all members have joined.
	c.Net.ReadTimeout = max(c.Net.ReadTimeout, group.Rebalance.Timeout+5*time.Second)
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = true
	c.Consumer.Return.Errors = true
	group.ResetInvalidOffsets = true
	c.Consumer.Interceptors = nil
	return c
}
