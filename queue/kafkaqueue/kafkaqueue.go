// Package kafkaqueue is a queue in a topic of Apache Kafka (3.2 or later), for many processes and
// for loads that one file does not take. It is built on IBM/sarama.
//
// # Durability
//
// A message is published once all in-sync replicas of its partition have it. That survives the
// death of processes. It survives the loss of machines if the topic has three replicas of which two
// must be in sync. Nothing promises to survive the loss of power in all of them at once, because
// brokers do not wait for their disks. Check names what a topic lacks, and Config.RequireDurable
// refuses to publish to one that lacks something.
//
// # Delivery
//
// At least once. A key stays in one partition. Each Consume is a member of the consumer group; a
// partition is consumed by one member at a time. The brokers take a member for dead if its handler
// works for more than a minute after its partition was assigned to another member, or if they have
// not heard of it for 10 seconds; such a member then only repeats what it had in flight.
//
// # Stream
//
// A stream is the id of the topic with its number of partitions. A topic that was deleted and
// created again has another id, and is consumed from its beginning. Partitions that are added move
// keys: stop publishing and let everything be consumed first. For a second after a topic was
// created again, positions may still bear the name of the old stream.
//
// # Unavailable brokers
//
// Brokers need not be there when a Queue is opened. Publish returns within the deadline of its
// context whatever they do, and returns queue.ErrNotAccepted if no message can have left the
// process. A circuit breaker refuses at once while they are away. Consume goes on when they are
// back.
package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/singleflight"

	"github.com/khodnevis/khodnevis/internal/address"
	"github.com/khodnevis/khodnevis/internal/failing"
	"github.com/khodnevis/khodnevis/internal/installation"
	"github.com/khodnevis/khodnevis/queue"
)

var (
	_ queue.Queue   = (*Queue)(nil)
	_ queue.Lagger  = (*Queue)(nil)
	_ queue.Ager    = (*Queue)(nil)
	_ queue.Locator = (*Queue)(nil)
)

var errClosed = errors.New("the queue is closed")

// closeTimeout bounds Close. What it waits for needs less, unless a handler does not return.
const closeTimeout = 15 * time.Second

// Queue is a log in one topic.
type Queue struct {
	brokers       []string
	cfg           Config                 // its Topic and Group are set once name has returned nil
	identity      *installation.Identity // nil: Topic and Group have been set from the beginning
	naming        sync.Once
	inFlight      atomic.Int64    // bytes of messages without an answer
	failing       failing.Since   // of Publish
	inspected     atomic.Bool     // whether requireDurable has inspected the topic
	life          context.Context // ends with Close
	confirmations singleflight.Group
	end           context.CancelCauseFunc

	adminMu sync.Mutex // held while an admin connects
	admin   *admin     // nil until it is needed, and after it failed

	mu          sync.Mutex
	running     sync.WaitGroup // goroutines and calls of Consume; grows under mu, and only before Close
	producer    *producer      // nil until it is needed, and while the brokers are away
	unavailable error          // of the last confirmation; the circuit breaker is open until probeAt
	probeAt     time.Time
	members     []bool                          // which numbers the running calls of Consume have
	located     map[topicPartition]locatedRange // what Locate has asked for
}

// Open returns a queue on brokers, host:port each, without connecting to them. It makes clients of
// its own, because the settings of a producer, a consumer and an administrator exclude each other.
func Open(brokers []string, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if len(brokers) == 0 {
		err = errors.Join(errors.New("no brokers"), err)
	}
	for i, broker := range brokers { // which is not quoted: it may contain a password by mistake
		if !address.IsHostPort(broker) {
			err = errors.Join(fmt.Errorf("broker %d of %d is no host:port", i+1, len(brokers)), err)
		}
	}
	q := &Queue{brokers: brokers, cfg: cfg, located: map[topicPartition]locatedRange{}}
	if cfg.Installation == nil || cfg.Topic != "" && cfg.Group != "" {
		q.cfg = cfg.named("")
	} else {
		q.identity = installation.New(cfg.Installation)
	}
	for _, role := range []func(*connections) *sarama.Config{q.adminConfig, q.producerConfig, q.consumerConfig} {
		if err == nil {
			err = role(newConnections()).Validate()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("kafkaqueue: %w", err)
	}
	q.life, q.end = context.WithCancelCause(context.Background())
	return q, nil
}

// name completes the names of the topic and the group. They are read only after name returned nil.
func (q *Queue) name(ctx context.Context) error {
	if q.identity == nil {
		return nil
	}
	id, err := q.identity.Of(ctx)
	if err != nil {
		return fmt.Errorf("the topic and the group have no names yet: %w", err)
	}
	q.naming.Do(func() {
		named := q.cfg.named(id)
		q.cfg.Topic, q.cfg.Group = named.Topic, named.Group
	})
	return nil
}

// Close ends every Publish and Consume, which then fail, and returns once they have, after 15
// seconds at most. Consume lets its handler finish first.
func (q *Queue) Close() error {
	q.mu.Lock()
	p := q.producer
	q.producer = nil
	q.end(errClosed)
	q.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if p != nil {
			p.close()
		}
		q.closeAdmin()
		q.running.Wait()
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("kafkaqueue: close: a handler or a connection did not end within %v", closeTimeout)
	}
}

// begin reports whether the caller may start something, which it ends with running.Done.
func (q *Queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.life.Err() != nil {
		return false
	}
	q.running.Add(1)
	return true
}
