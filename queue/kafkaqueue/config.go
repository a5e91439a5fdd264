package kafkaqueue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/IBM/sarama"
)

// Config of a Queue. The zero value is usable.
type Config struct {
	// Topic holds the log. It is created when it is missing. Default "khodnevis.ratings", with
	// Installation "khodnevis.ratings.ID".
	Topic string
	// Group is the consumer group that shares the work, in whatever process. Default "khodnevis",
	// with Installation "khodnevis.ID".
	Group string
	// Installation returns the ID that the default names of the topic and the group end with, so
	// that installations which share brokers have queues of their own: set it to the method
	// Installation of the store. It is called when the queue is first used, and again until it
	// succeeds; Publish fails with queue.ErrNotAccepted until then, and Consume waits. Default: no
	// ID.
	Installation func(context.Context) (string, error)
	// Instance names this process within the group: the same after a restart, and never that of
	// another running process (static membership, KIP-345). A process that dies and comes back takes
	// its place again at once. Without a name its partitions wait for the session timeout of 10 s;
	// the other members go on with theirs meanwhile. A clean stop releases the partitions at once in
	// both cases. 1 to 200 of a-z, A-Z, 0-9, dot, underscore and hyphen. Default: no name.
	Instance string
	// Partitions of a topic that has to be created, which bounds how many consumers work at once.
	// Default 6.
	Partitions int32
	// ReplicationFactor of a topic that has to be created. With 3 or more, two replicas must be in
	// sync to publish. Default: what the brokers are set to.
	ReplicationFactor int16
	// RequireDurable refuses to publish to a topic in which Check finds something. Without it each
	// finding is logged as a warning.
	RequireDurable bool
	// MaxInFlightBytes bounds the messages, with what they need on the wire, that wait for an answer
	// of the brokers (backpressure). Beyond it Publish fails with queue.ErrNotAccepted at once. A
	// single Publish that is larger is accepted when no other is in flight. Default 8 MiB.
	MaxInFlightBytes int64
	// ClientID names the process to the brokers, in their logs and quotas. Default "khodnevis".
	ClientID string
	// TLS encrypts the connections. Default: none.
	TLS *tls.Config
	// SASL logs in to the brokers. Default: no login.
	SASL SASL
	// Configure may change the settings of each client, for instance Net.SASL. The settings that the
	// queue's promises rest on are set again afterwards. Configure must set the same credentials in
	// each config that it is called with.
	Configure func(*sarama.Config)
	// Logger gets warnings. Default: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = 6
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

// named returns c with the names of the topic and the group in the installation with an id.
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

// legalName is what brokers accept as the name of a topic.
var legalName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (c Config) validate() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c = c.named(""); !legalName.MatchString(c.Topic) || c.Topic == "." || c.Topic == ".." {
		wrong("topic %q: must be 1 to 249 of a-z, A-Z, 0-9, dot, underscore and hyphen", c.Topic)
	}
	if c.Instance != "" && (len(c.Instance) > 200 || !legalName.MatchString(c.Instance)) {
		wrong("instance %q: must be 1 to 200 of a-z, A-Z, 0-9, dot, underscore and hyphen", c.Instance)
	}
	if c.Partitions < 0 {
		wrong("%d partitions, must be positive", c.Partitions)
	}
	if c.ReplicationFactor < 0 {
		wrong("a replication factor of %d, must be positive", c.ReplicationFactor)
	}
	if c.MaxInFlightBytes < 0 {
		wrong("%d bytes in flight, must be positive", c.MaxInFlightBytes)
	}
	return errors.Join(append(problems, c.SASL.validate())...)
}
