// Package kafkaqueue is a queue in a topic of Apache Kafka (3.2 or later), for many processes and
// for loads that one file does not take. It is built on IBM/sarama.
//
// # Durability
//
// A message is published once all in-sync replicas of its partition have it. That survives the
// death of processes; it survives the loss of machines if the topic has three replicas of which two
// must be in sync, and nothing promises to survive the loss of power in all of them at once,
// because brokers do not wait for their disks. Check names what a topic lacks, and
// Config.RequireDurable refuses to publish to one that lacks something.
//
// # Delivery
//
// A key stays in one partition. Each Consume is a member of the group; a partition is consumed by
// one member at a time. A member whose handler works for more than a minute after its partition was
// given to another one is taken for dead, as is one that the brokers have not heard of for 10
// seconds; it then only repeats what it had in flight.
//
// # Stream
//
// A stream is the id of the topic with its number of partitions. A topic that was deleted and made
// again has another id, and is consumed from its beginning. Partitions that are added move keys:
// stop publishing and let everything be consumed first. For a second after a topic was made again,
// positions may still bear the name of the old stream.
//
// # Unavailable brokers
//
// Brokers need not be there when a Queue is opened. Publish answers within its timeout whatever
// they do, and says queue.ErrNotAccepted if no message can have left the process; Consume goes on
// when they are back.
package kafkaqueue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/address"
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

// Config of a Queue. The zero value is usable.
type Config struct {
	// Topic holds the log. It is made when it is missing. Default "khodnevis.ratings", with
	// Installation "khodnevis.ratings.ID".
	Topic string
	// Group shares the work among all its consumers, in whatever process. Default "khodnevis", with
	// Installation "khodnevis.ID".
	Group string
	// Installation returns the ID that the default names of the topic and the group end with, so
	// that installations which share brokers have queues of their own: give it the method
	// Installation of the store. It is called when the queue is first used, and again until it
	// succeeds; Publish fails with queue.ErrNotAccepted until then, and Consume waits. Default: no
	// ID.
	Installation func(context.Context) (string, error)
	// Instance names this process among those of the group, the same after a restart and never the
	// same as another's that runs (static membership, KIP-345). A process that dies and comes back
	// takes the place of the one that died at once; without a name its partitions wait for the
	// session timeout of 10 s, because the brokers wait for the dead one. The others go on with
	// theirs meanwhile. A clean stop hands the partitions over at once in both cases. 1 to 200 of
	// a-z, A-Z, 0-9, dot, underscore and hyphen. Default: no name.
	Instance string
	// Partitions of a topic that has to be made, the bound to how many consumers work at once.
	// Default 6.
	Partitions int32
	// ReplicationFactor of a topic that has to be made. With 3 or more, two replicas must be in
	// sync to publish. Default: what the brokers are set to.
	ReplicationFactor int16
	// RequireDurable refuses to publish to a topic in which Check finds something. Without it that
	// is logged as a warning.
	RequireDurable bool
	// PublishTimeout bounds a Publish whose context allows more. Default 2 s.
	PublishTimeout time.Duration
	// MaxInFlight is how many messages may be on their way to the brokers; beyond it Publish fails
	// with queue.ErrNotAccepted at once. Default 10,000.
	MaxInFlight int
	// MaxInFlightBytes bounds their size likewise; a single Publish that is larger is taken when
	// nothing else is on its way. Default 8 MiB.
	MaxInFlightBytes int64
	// ClientID names the process to the brokers, in their logs and quotas. Default "khodnevis".
	ClientID string
	// TLS encrypts the connections. Default: none.
	TLS *tls.Config
	// SASL logs in to the brokers. Default: not.
	SASL SASL
	// Configure may change the settings of each client, for instance Net.SASL. What the promises of
	// the queue rest on is set again afterwards. It must give each config that it is called with
	// the same credentials.
	Configure func(*sarama.Config)
	// Logger gets warnings. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = 6
	}
	if c.PublishTimeout == 0 {
		c.PublishTimeout = 2 * time.Second
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 10_000
	}
	if c.MaxInFlightBytes == 0 {
		c.MaxInFlightBytes = 8 << 20
	}
	if c.ClientID == "" {
		c.ClientID = "khodnevis"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// named returns c with the names of the topic and the group, where the installation has an id.
func (c Config) named(id string) Config {
	if id != "" {
		id = "." + id
	}
	if c.Topic == "" {
		c.Topic = "khodnevis.ratings" + id
	}
	if c.Group == "" {
		c.Group = "khodnevis" + id
	}
	return c
}

// legalTopic is what brokers accept.
var legalTopic = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (c Config) validate() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c = c.named(""); !legalTopic.MatchString(c.Topic) || c.Topic == "." || c.Topic == ".." {
		wrong("topic %q: must be 1 to 249 of a-z, A-Z, 0-9, dot, underscore and hyphen", c.Topic)
	}
	if c.Instance != "" && (len(c.Instance) > 200 || !legalTopic.MatchString(c.Instance)) {
		wrong("instance %q: must be 1 to 200 of a-z, A-Z, 0-9, dot, underscore and hyphen", c.Instance)
	}
	if c.Partitions < 0 {
		wrong("%d partitions, must be positive", c.Partitions)
	}
	if c.ReplicationFactor < 0 {
		wrong("a replication factor of %d, must be positive", c.ReplicationFactor)
	}
	if c.PublishTimeout < 0 {
		wrong("a publish timeout of %v, must be positive", c.PublishTimeout)
	}
	if c.MaxInFlight < 0 {
		wrong("%d messages in flight, must be positive", c.MaxInFlight)
	}
	if c.MaxInFlightBytes < 0 {
		wrong("%d bytes in flight, must be positive", c.MaxInFlightBytes)
	}
	return errors.Join(append(problems, c.SASL.validate())...)
}

// closeTimeout bounds Close. What it waits for needs less, unless a handler does not return.
const closeTimeout = 15 * time.Second

// Queue is a log in one topic.
type Queue struct {
	brokers  []string
	cfg      Config
	complete atomic.Bool // whether cfg has the names of the topic and the group; see name
	identity *installation.Identity
	room     room
	admin    admin
	life     context.Context // ends with Close
	end      context.CancelCauseFunc

	mu       sync.Mutex
	running  sync.WaitGroup // goroutines and Consume calls; grows only while life goes on, under mu
	producer *producer      // nil until it is needed, and while the brokers are away
	attempt  *attempt       // at a producer or at a look whether it is still the right one; nil while there is none
	down     unavailable    // the last attempt's failure
	members  []bool         // which numbers the Consume calls have that go on
	known    topic          // whose settings were inspected last
	lacks    []error        // what the inspection found
	spans    spans          // what Locate has asked for
}

// Open returns a queue on brokers, host:port each, without asking them anything. It makes clients
// of its own, because the settings of a producer, a consumer and an administrator exclude each
// other.
func Open(brokers []string, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if len(brokers) == 0 {
		err = errors.Join(errors.New("no brokers"), err)
	}
	for i, broker := range brokers { // which is not quoted: somebody may have put a password into it
		if !address.IsHostPort(broker) {
			err = errors.Join(fmt.Errorf("broker %d of %d is no host:port", i+1, len(brokers)), err)
		}
	}
	if cfg.Installation == nil {
		cfg = cfg.named("")
	}
	q := &Queue{brokers: brokers, cfg: cfg, identity: installation.New(cfg.Installation),
		room: room{messages: cfg.MaxInFlight, bytes: cfg.MaxInFlightBytes}}
	for _, role := range []func(*link) *sarama.Config{q.adminConfig, q.producerConfig, q.consumerConfig} {
		if err == nil {
			err = role(newLink()).Validate()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("kafkaqueue: %w", err)
	}
	q.complete.Store(cfg.Topic != "" && cfg.Group != "")
	q.life, q.end = context.WithCancelCause(context.Background())
	return q, nil
}

// name completes the names of the topic and the group. Nobody reads them before it has returned nil
// to him.
func (q *Queue) name(ctx context.Context) error {
	if q.complete.Load() {
		return nil
	}
	id, err := q.identity.Of(ctx)
	if err != nil {
		return fmt.Errorf("the topic and the group have no names yet: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.complete.Load() {
		complete := q.cfg.named(id)
		q.cfg.Topic, q.cfg.Group = complete.Topic, complete.Group
		q.complete.Store(true)
	}
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
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if p != nil {
			p.close()
		}
		q.admin.close()
		q.running.Wait()
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-gone:
		return nil
	case <-timer.C:
		return fmt.Errorf("kafkaqueue: close: a handler or a connection did not end within %v", closeTimeout)
	}
}

// begin reports whether the caller may start something, which it ends with running.Done.
func (q *Queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.beginLocked()
}

func (q *Queue) beginLocked() bool {
	if q.life.Err() != nil {
		return false
	}
	q.running.Add(1)
	return true
}

// Lag implements queue.Lagger. It runs behind by the quarter of a second that consumers record
// their progress in.
func (q *Queue) Lag(ctx context.Context) (int64, error) {
	t, err := q.topic(ctx)
	if err != nil {
		return 0, fmt.Errorf("kafkaqueue: lag: %w", err)
	}
	n, err := ask(ctx, q, func(a *administrator) (int64, error) { return a.lag(q.cfg, t) })
	if err != nil {
		return 0, fmt.Errorf("kafkaqueue: lag: %w", err)
	}
	return n, nil
}
