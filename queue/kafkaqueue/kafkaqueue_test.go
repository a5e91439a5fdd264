package kafkaqueue_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
	"github.com/khodnevis/khodnevis/queue/queuetest"
)

// brokers returns those of a real Kafka, or of one that is imitated in this process.
func brokers(t testing.TB) []string {
	t.Helper()
	if real := testserver.Kafka(t); real != nil {
		return real
	}
	t.Log("no Kafka: an in-process stand-in (kfake) is used; set KHODNEVIS_TEST_KAFKA or run make test")
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SleepOutOfOrder(), noRebalanceDelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// noRebalanceDelay lets the stand-in's groups begin at once, and their sessions be short.
func noRebalanceDelay() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{
		"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000"})
}

// name returns a name that no other test has.
func name(t testing.TB) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("test.%.100s.%d", clean, time.Now().UnixNano())
}

// quick makes members notice each other sooner.
func quick(c *sarama.Config) {
	c.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	c.Consumer.Group.Rebalance.Retry.Backoff = 50 * time.Millisecond
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
}

// config returns one with a topic and a group of its own, which are deleted after the test.
func config(t testing.TB, brokers []string) kafkaqueue.Config {
	t.Helper()
	n := name(t)
	t.Cleanup(func() { remove(t, brokers, n) })
	warnings := slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})
	return kafkaqueue.Config{Topic: n, Group: n, Configure: quick, Logger: slog.New(warnings)}
}

func open(t testing.TB, brokers []string, cfg kafkaqueue.Config) *kafkaqueue.Queue {
	t.Helper()
	q, err := kafkaqueue.Open(brokers, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func administrator(t testing.TB, brokers []string) sarama.ClusterAdmin {
	t.Helper()
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_2_0_0
	a, err := sarama.NewClusterAdmin(brokers, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func remove(t testing.TB, brokers []string, name string) {
	a := administrator(t, brokers)
	defer a.Close()
	_ = a.DeleteTopic(name)
	_ = a.DeleteConsumerGroup(name)
}

func message(key, body string) queue.Message { return queue.Message{Key: key, Body: []byte(body)} }

func TestQueue(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	queuetest.Run(t, func(t *testing.T) queue.Queue {
		cfg := config(t, b)
		return open(t, b, cfg)
	}, queuetest.Config{Timeout: time.Minute})
}
