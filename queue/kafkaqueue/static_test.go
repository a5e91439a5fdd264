package kafkaqueue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/queuetest"
)

// Members with names keep every promise of those without.
func TestStaticMembers(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	queuetest.Run(t, func(t *testing.T) queue.Queue {
		cfg := config(t, b)
		cfg.Instance = "one"
		return open(t, b, cfg)
	}, queuetest.Config{Timeout: time.Minute})
}

// A named process that dies and comes back takes up its partitions at once, long before its session
// would have timed out, and another one goes on all the time.
func TestNamedProcessComesBack(t *testing.T) {
	t.Parallel()
	const keys = 40
	b := brokers(t)
	cfg := config(t, b)
	longSession := func(c *sarama.Config) { c.Consumer.Group.Session.Timeout = 45 * time.Second }
	cfg.Configure = func(c *sarama.Config) { quick(c); longSession(c) }
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	l := newLedger()
	var mu sync.Mutex
	handledBy := map[string]int{}
	consume := func(instance string, p proxies) {
		cfg := cfg
		cfg.Instance = instance
		if p != nil {
			cfg.Logger = nil
			cfg.Configure = func(c *sarama.Config) { p.configure(c); longSession(c) }
		}
		q := open(t, b, cfg)
		running.Go(func() {
			_ = q.Consume(ctx, 100, func(ctx context.Context, batch []queue.Delivery) error {
				mu.Lock()
				handledBy[instance] += len(batch)
				mu.Unlock()
				return l.finish(ctx, batch)
			})
		})
	}
	publisher := open(t, b, cfg)
	round := 0
	publish := func() {
		t.Helper()
		msgs := make([]queue.Message, keys)
		for k := range msgs {
			msgs[k] = message(fmt.Sprint("k", k), fmt.Sprint(round))
		}
		if _, err := publisher.Publish(t.Context(), msgs...); err != nil {
			t.Fatal(err)
		}
		round++
	}
	dying := newProxies(t, b)
	consume("a", dying)
	consume("b", nil)
	testutil.Succeeds(t, time.Minute, "both have partitions", func() error {
		publish()
		mu.Lock()
		defer mu.Unlock()
		if handledBy["a"] == 0 || handledBy["b"] == 0 {
			return fmt.Errorf("%v", handledBy)
		}
		return nil
	})
	testutil.Succeeds(t, time.Minute, "all of it is finished", func() error { return l.finished(keys, round) })
	dying.silence() // the process is as good as dead: it cannot even say so
	publish()
	consume("a", nil)
	testutil.Succeeds(t, 20*time.Second, "it goes on without the session's timeout of 45 s",
		func() error { return l.finished(keys, round) })
	dying.heal()
}

// A named process that dies while it hands partitions over to another one, and comes back, leaves
// none of them to nobody. The brokers would give it what they gave it last, and ask nobody else.
func TestNamedProcessDiesHandingOver(t *testing.T) {
	t.Parallel()
	const keys = 40
	b := brokers(t)
	cfg := config(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	l := newLedger()
	consume := func(instance string, h queue.Handler) (kill func()) {
		p, cfg := newProxies(t, b), cfg
		cfg.Instance, cfg.Logger, cfg.Configure = instance, nil, p.configure
		q := open(t, b, cfg)
		running.Go(func() { _ = q.Consume(ctx, 1000, h) })
		return p.drop
	}
	publisher := open(t, b, cfg)
	var mu sync.Mutex
	round := 0
	publish := func() {
		mu.Lock()
		defer mu.Unlock()
		msgs := make([]queue.Message, keys)
		for k := range msgs {
			msgs[k] = message(fmt.Sprint("k", k), fmt.Sprint(round))
		}
		if _, err := publisher.Publish(t.Context(), msgs...); err != nil {
			t.Error(err)
		}
		round++
	}
	held := make(chan struct{})
	kill := consume("a", func(_ context.Context, batch []queue.Delivery) error {
		seen := map[string]bool{}
		for _, d := range batch {
			seen[d.Key] = true
		}
		if len(seen) == keys { // of all partitions: it can hand none over before it is done
			close(held)
			<-ctx.Done()
			return ctx.Err()
		}
		publish()
		return l.finish(ctx, batch)
	})
	publish()
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Fatal("no batch has messages of all partitions")
	}
	consume("b", l.finish)
	testutil.Succeeds(t, time.Minute, "the other one is a member", func() error { return stable(t, b, cfg.Group, 2) })
	kill()
	consume("a", l.finish)
	testutil.Succeeds(t, time.Minute, "every partition is somebody's", func() error { return l.finished(keys, round) })
}

// stable returns an error until a group has so many members and waits for none of them.
func stable(t *testing.T, brokers []string, group string, members int) error {
	t.Helper()
	settings := sarama.NewConfig()
	settings.Version = sarama.V3_2_0_0
	admin, err := sarama.NewClusterAdmin(brokers, settings)
	if err != nil {
		return err
	}
	defer admin.Close()
	found, err := admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return err
	}
	if found[0].State != "Stable" || len(found[0].Members) != members {
		return fmt.Errorf("%d members, %s", len(found[0].Members), found[0].State)
	}
	return nil
}

// A named process that stops for good hands its partitions over at once, whether its Consume or its
// queue is ended.
func TestNamedProcessHandsOver(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"consume", "close"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			b := brokers(t)
			cfg := config(t, b)
			cfg.Configure = func(c *sarama.Config) { quick(c); c.Consumer.Group.Session.Timeout = 45 * time.Second }
			l := newLedger()
			publisher := open(t, b, cfg)
			begin := func(instance string) (stop func()) {
				cfg := cfg
				cfg.Instance = instance
				q := open(t, b, cfg)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = q.Consume(ctx, 100, l.finish)
				}()
				return func() {
					if end == "close" {
						if err := q.Close(); err != nil {
							t.Error(err)
						}
					}
					cancel()
					<-ended
				}
			}
			for round, instance := range []string{"a", "b"} {
				stop := begin(instance)
				if _, err := publisher.Publish(t.Context(), message("k", fmt.Sprint(round))); err != nil {
					t.Fatal(err)
				}
				testutil.Succeeds(t, 20*time.Second, "it is released without the session's timeout of 45 s",
					func() error { return l.finished(1, round+1) })
				stop()
			}
		})
	}
}
