package kafkaqueue_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

func TestTopicThatIsMadeAgainIsAnotherStream(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	for what, running := range map[string]bool{"beside a running consumer": true, "between two consumers": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, b)
			q := open(t, b, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var mu sync.Mutex
			got := make(map[queue.Position]bool) // of key k
			record := func(_ context.Context, batch []queue.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				for _, d := range batch {
					got[d.Position] = true
				}
				return nil
			}
			has := func(positions ...queue.Position) error {
				mu.Lock()
				defer mu.Unlock()
				for _, p := range positions {
					if !got[p] {
						return fmt.Errorf("%v is not delivered", p)
					}
				}
				return nil
			}
			var consuming sync.WaitGroup
			start := func() (stop func()) {
				ctx, cancel := context.WithCancel(ctx)
				consuming.Go(func() {
					if err := q.Consume(ctx, 10, record); err != nil {
						t.Error(err)
					}
				})
				return func() { cancel(); consuming.Wait() }
			}
			publish := func(n int) []queue.Position {
				t.Helper()
				var all []queue.Position
				for i := range n {
					ps, err := q.Publish(ctx, message("k", fmt.Sprint(i)))
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, ps...)
				}
				return all
			}
			stop := start()
			before := publish(3)
			testutil.Succeeds(t, time.Minute, "the first three are delivered", func() error { return has(before...) })
			if !running {
				stop()
			}
			again(t, b, cfg)
			var first []queue.Position
			testutil.Succeeds(t, time.Minute, "positions have another stream", func() error {
				ps, err := q.Publish(ctx, message("k", "again"))
				if err != nil {
					return err
				}
				if ps[0].Stream == before[0].Stream {
					return fmt.Errorf("still %s", ps[0].Stream)
				}
				first = ps
				return nil
			})
			after := append(first, publish(5)...) // more than were finished in the old one
			for _, p := range after {
				if p.Stream != first[0].Stream {
					t.Errorf("%v and %v", p, first[0])
				}
			}
			if !running {
				stop = start()
			}
			testutil.Succeeds(t, time.Minute, "all of the new stream is delivered", func() error { return has(after...) })
			for offset := range after[len(after)-1].Offset {
				if err := has(queue.Position{Stream: after[0].Stream, Offset: offset}); err != nil {
					t.Error(err)
				}
			}
			lagIs(t, q, 0)
			stop()
		})
	}
}

// again deletes the topic and makes it again.
func again(t *testing.T, brokers []string, cfg kafkaqueue.Config) {
	t.Helper()
	a := administrator(t, brokers)
	defer a.Close()
	if err := a.DeleteTopic(cfg.Topic); err != nil {
		t.Fatal(err)
	}
	testutil.Succeeds(t, time.Minute, "the topic is made again", func() error {
		err := a.CreateTopic(cfg.Topic, &sarama.TopicDetail{NumPartitions: 6, ReplicationFactor: 1}, false)
		if errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return nil // by the queue, which needs it
		}
		return err
	})
}

// A stand-in may keep the progress of a topic that is gone, as a consumer does which records it too
// late.
func TestOffsetsOfADeletedTopicAreIgnored(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	for what, offset := range map[string]int64{"within the new one": 2, "beyond it": 1000} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, b)
			cfg.Partitions = 1
			q := open(t, b, cfg)
			var ps []queue.Position
			for n := range 5 {
				p, err := q.Publish(t.Context(), message("k", fmt.Sprint(n)))
				if err != nil {
					t.Fatal(err)
				}
				ps = append(ps, p...)
			}
			commit(t, b, cfg, offset, "another topic")
			lagIs(t, q, 5)
			l := newLedger()
			consumeAll(t, q, func(d queue.Delivery) { _ = l.finish(t.Context(), []queue.Delivery{d}) })
			if err := l.finished(1, len(ps)); err != nil {
				t.Error(err)
			}
			lagIs(t, q, 0)
			if _, err := q.Publish(t.Context(), message("k", "5")); err != nil {
				t.Fatal(err)
			}
			consumeAll(t, q, func(d queue.Delivery) {
				if string(d.Body) != "5" {
					t.Errorf("%s came again", d.Body)
				}
			})
		})
	}
}

// commit records progress in partition 0 for the group, with a note.
func commit(t *testing.T, brokers []string, cfg kafkaqueue.Config, offset int64, note string) {
	t.Helper()
	c := sarama.NewConfig()
	c.Version = sarama.V3_2_0_0
	client, err := sarama.NewClient(brokers, c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	coordinator, err := client.Coordinator(cfg.Group)
	if err != nil {
		t.Fatal(err)
	}
	r := &sarama.OffsetCommitRequest{
		Version: 7, ConsumerGroup: cfg.Group, ConsumerGroupGeneration: sarama.GroupGenerationUndefined,
	}
	r.AddBlock(cfg.Topic, 0, offset, sarama.ReceiveTime, note)
	answer, err := coordinator.CommitOffset(r)
	if err != nil {
		t.Fatal(err)
	}
	if code := answer.Errors[cfg.Topic][0]; code != sarama.ErrNoError {
		t.Fatal(code)
	}
}

func TestMorePartitionsAreAnotherStream(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg := config(t, b)
	cfg.Partitions = 1
	q := open(t, b, cfg)
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	defer done.Wait()
	defer cancel()
	done.Go(func() {
		if err := q.Consume(ctx, 10, l.finish); err != nil {
			t.Error(err)
		}
	})
	before, err := q.Publish(ctx, message("k0", "0"))
	if err != nil {
		t.Fatal(err)
	}
	testutil.Succeeds(t, time.Minute, "it is consumed", func() error { return l.finished(1, 1) })
	a := administrator(t, b)
	defer a.Close()
	if err := a.CreatePartitions(cfg.Topic, 8, nil, false); err != nil {
		t.Fatal(err)
	}
	n := 1
	testutil.Succeeds(t, time.Minute, "positions have another stream", func() error {
		ps, err := q.Publish(ctx, message(fmt.Sprint("k", n), "0"))
		if err != nil {
			return err
		}
		n++
		if ps[0].Stream == before[0].Stream {
			return fmt.Errorf("still %s", ps[0].Stream)
		}
		return nil
	})
	const more = 50 // keys for each of the partitions
	for range more {
		if _, err := q.Publish(ctx, message(fmt.Sprint("k", n), "0")); err != nil {
			t.Fatal(err)
		}
		n++
	}
	testutil.Succeeds(t, time.Minute, "all partitions are consumed", func() error { return l.finished(n, 1) })
	if l.wrong != nil {
		t.Error(l.wrong)
	}
}

func TestCheckNamesEachShortcoming(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg := config(t, b)
	a := administrator(t, b)
	defer a.Close()
	set := func(s string) *string { return &s }
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{
		"cleanup.policy":                 set("compact"),
		"retention.ms":                   set("3600000"),
		"retention.bytes":                set("1000000"),
		"unclean.leader.election.enable": set("true"),
		"min.insync.replicas":            set("1"),
		"max.message.bytes":              set("50000"),
	}}
	if err := a.CreateTopic(cfg.Topic, detail, false); err != nil {
		t.Fatal(err)
	}
	q := open(t, b, cfg)
	// The topic may not be known to all brokers yet.
	testutil.Succeeds(t, 10*time.Second, "everything is named", func() error {
		err := q.Check(t.Context())
		if err == nil {
			return errors.New("nothing is")
		}
		for _, lack := range []string{
			"replication factor is 1", "min.insync.replicas is 1", "retention.ms is 3600000", "retention.bytes is 1000000",
			`cleanup.policy is "compact"`, `unclean.leader.election.enable is "true"`, "max.message.bytes is 50000",
		} {
			if !strings.Contains(err.Error(), lack) {
				return fmt.Errorf("%q is missing in: %w", lack, err)
			}
		}
		return nil
	})
	if _, err := q.Publish(t.Context(), message("k", "1")); err != nil {
		t.Errorf("without RequireDurable: %v", err)
	}
	cfg.RequireDurable = true
	strict := open(t, b, cfg)
	_, err := strict.Publish(t.Context(), message("k", "1"))
	if !errors.Is(err, queue.ErrNotAccepted) || !strings.Contains(err.Error(), "retention.ms") {
		t.Errorf("with RequireDurable: %v", err)
	}
}

// Three brokers and encrypted connections are to be had of the stand-in only.
func TestDurableTopicOverTLSAndSASL(t *testing.T) {
	t.Parallel()
	server, client := certificates(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SleepOutOfOrder(), kfake.TLS(server),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "khodnevis", "secret"), noRebalanceDelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := kafkaqueue.Config{ReplicationFactor: 3, RequireDurable: true, TLS: client, Configure: quick,
		SASL: kafkaqueue.SASL{Mechanism: "PLAIN", User: "khodnevis", Password: "secret"}}
	q := open(t, cluster.ListenAddrs(), cfg)
	if err := q.Check(t.Context()); err != nil {
		t.Errorf("the topic it has made: %v", err)
	}
	if _, err := q.Publish(t.Context(), message("k", "0")); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	consumeAll(t, q, func(d queue.Delivery) { _ = l.finish(t.Context(), []queue.Delivery{d}) })
	if err := l.finished(1, 1); err != nil {
		t.Error(err)
	}
	cfg.TLS = &tls.Config{}
	stranger := open(t, cluster.ListenAddrs(), cfg)
	var unknown x509.UnknownAuthorityError
	_, err = stranger.Publish(t.Context(), message("k", "0"))
	if !errors.Is(err, queue.ErrNotAccepted) || !errors.As(err, &unknown) {
		t.Errorf("of brokers with a certificate of nobody: %v", err)
	}
}

// certificates returns the settings of a server on loopback, and of a client that trusts it alone.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{RootCAs: pool}
}

func TestOpenReportsEveryProblem(t *testing.T) {
	t.Parallel()
	wrong := kafkaqueue.Config{Topic: "a b", Partitions: -1, ReplicationFactor: -2, MaxInFlightBytes: -5}
	_, err := kafkaqueue.Open(nil, wrong)
	if err == nil {
		t.Fatal("it is open")
	}
	for _, problem := range []string{"no brokers", `"a b"`, "-1", "-2", "-5"} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("%q is missing in: %v", problem, err)
		}
	}
}

func TestAgeReturnsTheRetention(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	a := administrator(t, b)
	defer a.Close()
	for set, want := range map[string]time.Duration{
		"3600000": time.Hour, "-1": 0, "9223372036854775807": 9223372036854 * time.Millisecond,
	} {
		cfg := config(t, b)
		cfg.Topic, cfg.Group = cfg.Topic+set, cfg.Group+set
		t.Cleanup(func() { remove(t, b, cfg.Topic) })
		entries := map[string]*string{"retention.ms": &set}
		detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: entries}
		if err := a.CreateTopic(cfg.Topic, detail, false); err != nil {
			t.Fatal(err)
		}
		q := open(t, b, cfg)
		// The topic may not be known to all brokers yet.
		testutil.Succeeds(t, 10*time.Second, "the retention is known", func() error {
			oldest, got, err := q.Age(t.Context())
			if err == nil && (got != want || oldest != 0) {
				err = fmt.Errorf("set to %s it is %v, the oldest message %v", set, got, oldest)
			}
			return err
		})
	}
}

// What is no address of a broker is refused when it is given, by its place and not by what it says.
func TestBrokersAreHostsAndPorts(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "h", "u:word9@h:1", "word9@h:1", "kafka://u:word9@h:1", "h:word9", "h:1,h:2"} {
		q, err := kafkaqueue.Open([]string{"h:1", bad}, kafkaqueue.Config{})
		if err == nil || !strings.Contains(err.Error(), "broker 2 of 2") || strings.Contains(err.Error(), "word9") {
			t.Errorf("%q: %v, %v", bad, q, err)
		}
	}
}
