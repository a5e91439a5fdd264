package kafkaqueue_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

// own returns the configuration of an installation with an identity of its own and no names.
func own(t *testing.T, brokers []string) (kafkaqueue.Config, string) {
	id := strings.ToLower(rand.Text())
	t.Cleanup(func() {
		a := administrator(t, brokers)
		defer a.Close()
		_ = a.DeleteTopic("khodnevis.ratings." + id)
		_ = a.DeleteConsumerGroup("khodnevis." + id)
	})
	return kafkaqueue.Config{Configure: quick, Installation: func(context.Context) (string, error) { return id, nil }}, id
}

// publish publishes a message, and tries again while it is not accepted.
func publish(t *testing.T, q *kafkaqueue.Queue, m queue.Message) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if _, err = q.Publish(t.Context(), m); !errors.Is(err, queue.ErrNotAccepted) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Two installations share brokers and are given no names: each consumes what it has published, and
// nothing else.
func TestInstallationsHaveQueuesOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, id := own(t, b)
			q := open(t, b, cfg)
			publish(t, q, message("k", id))
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			var got []string
			err := q.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
				for _, d := range batch {
					got = append(got, string(d.Body))
				}
				stop()
				return nil
			})
			if err != nil || len(got) != 1 || got[0] != id {
				t.Errorf("installation %s got %q, %v", id, got, err)
			}
			a := administrator(t, b)
			defer a.Close()
			topics, err := a.DescribeTopics([]string{"khodnevis.ratings." + id})
			if err != nil || len(topics) != 1 || topics[0].Err != 0 {
				t.Errorf("its topic is %+v, %v", topics, err)
			}
		})
	}
}

// While the identity is unknown nothing is accepted or consumed, and nothing waits for longer than
// it may. Later everything works.
func TestInstallationIsNotKnownYet(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg, id := own(t, b)
	var away atomic.Bool
	away.Store(true)
	cfg.Installation = func(context.Context) (string, error) {
		if away.Load() {
			return "", errors.New("the database is away")
		}
		return id, nil
	}
	q := open(t, b, cfg)
	for range 3 {
		_, err := q.Publish(t.Context(), message("k", "early"))
		if !errors.Is(err, queue.ErrNotAccepted) || !strings.Contains(err.Error(), "the database is away") {
			t.Errorf("published, %v", err)
		}
	}
	if n, err := q.Lag(t.Context()); err == nil {
		t.Errorf("the lag is %d", n)
	}
	early, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- q.Consume(early, 10, func(context.Context, []queue.Delivery) error { return nil })
	}()
	end()
	if err := <-ended; err != nil {
		t.Errorf("a consumer that is stopped while it waits: %v", err)
	}
	got := make(chan string)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() {
		ended <- q.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
			got <- string(batch[0].Body)
			return nil
		})
	}()
	away.Store(false)
	publish(t, q, message("k", "late"))
	select {
	case body := <-got:
		if body != "late" {
			t.Errorf("got %q", body)
		}
		stop()
	case <-ctx.Done():
		t.Error("nothing came")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A queue that is closed before its names are known ends those who wait for them.
func TestCloseWithoutAnInstallation(t *testing.T) {
	t.Parallel()
	q, err := kafkaqueue.Open([]string{"127.0.0.1:1"}, kafkaqueue.Config{
		Installation: func(context.Context) (string, error) { return "", errors.New("the database is away") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		ended <- q.Consume(t.Context(), 10, func(context.Context, []queue.Delivery) error { return nil })
	}()
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a consumer of a closed queue ends without an error")
	}
}
