package kafkaqueue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

// A caller waits for publishTimeout, as package rating does, and has an answer after answerWithin.
const (
	publishTimeout = 1800 * time.Millisecond
	answerWithin   = publishTimeout + 400*time.Millisecond
)

// outcomes are the bodies of what was published, by what Publish said of it.
type outcomes struct {
	mu                         sync.Mutex
	accepted, refused, unknown map[string]queue.Position
	took                       []time.Duration
	timeout                    time.Duration // of each call
}

func newOutcomes() *outcomes {
	return &outcomes{
		accepted: map[string]queue.Position{}, refused: map[string]queue.Position{}, unknown: map[string]queue.Position{},
		timeout: publishTimeout,
	}
}

// publish overwrites what it published as soon as it has an answer.
func (o *outcomes) publish(ctx context.Context, q *kafkaqueue.Queue, key, body string) error {
	m := message(key, body)
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	began := time.Now()
	ps, err := q.Publish(ctx, m)
	for i := range m.Body {
		m.Body[i] = '!'
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took = append(o.took, time.Since(began))
	switch {
	case err == nil:
		o.accepted[body] = ps[0]
	case errors.Is(err, queue.ErrNotAccepted):
		o.refused[body] = queue.Position{}
	default:
		o.unknown[body] = queue.Position{}
	}
	return err
}

// checkTimes fails if answers came late. On a busy machine single ones may take twice as long;
// without a bound they take sarama's own 10 s and more.
func (o *outcomes) checkTimes(t *testing.T) {
	t.Helper()
	slices.Sort(o.took)
	if median := o.took[len(o.took)/2]; median > answerWithin || o.took[len(o.took)-1] > 2*answerWithin {
		t.Errorf("answers took %v, want %v", o.took, answerWithin)
	}
}

// check consumes everything and compares it.
func (o *outcomes) check(t *testing.T, q *kafkaqueue.Queue) {
	t.Helper()
	t.Logf("%d accepted, %d not accepted, %d unknown; the slowest answer took %v",
		len(o.accepted), len(o.refused), len(o.unknown), slices.Max(o.took))
	missing := make(map[string]queue.Position)
	for body, at := range o.accepted {
		missing[body] = at
	}
	consumeAll(t, q, func(d queue.Delivery) {
		body := string(d.Body)
		at, accepted := o.accepted[body]
		_, unknown := o.unknown[body]
		if _, refused := o.refused[body]; !refused && !unknown && !accepted {
			t.Errorf("%.20s came and was never published", body)
		} else if refused {
			t.Errorf("%.20s was not accepted and came", body)
		}
		if accepted && at != d.Position {
			t.Errorf("%.20s was accepted at %v and came at %v", body, at, d.Position)
		}
		delete(missing, body)
	})
	for body, at := range missing {
		t.Errorf("%.20s was accepted at %v and is lost", body, at)
	}
}

// consumeAll hands over everything that waits.
func consumeAll(t *testing.T, q *kafkaqueue.Queue, f func(queue.Delivery)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var done sync.WaitGroup
	done.Go(func() {
		if err := q.Consume(ctx, 1000, func(_ context.Context, batch []queue.Delivery) error {
			for _, d := range batch {
				f(d)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	defer done.Wait()
	testutil.Succeeds(t, time.Minute, "nothing waits", func() error {
		n, err := q.Lag(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d wait", n)
		}
		return err
	})
	cancel()
}

func TestSilentBrokers(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	t.Run("that answer late", func(t *testing.T) {
		t.Parallel()
		testSilentBrokers(t, b, proxies.heal)
	})
	t.Run("that lose connections", func(t *testing.T) {
		t.Parallel()
		testSilentBrokers(t, b, func(p proxies) { p.drop(); p.heal() })
	})
}

func testSilentBrokers(t *testing.T, b []string, heal func(proxies)) {
	p := newProxies(t, b)
	cfg := config(t, b)
	direct := open(t, b, cfg)
	cfg.Configure = p.configure
	log := new(testutil.Log)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	q := open(t, b, cfg)
	o := newOutcomes()
	if err := o.publish(t.Context(), q, "k", "before"); err != nil {
		t.Fatal(err)
	}
	p.silence()
	var publishers sync.WaitGroup
	for i := range 16 {
		publishers.Go(func() {
			for j := range 3 {
				if err := o.publish(t.Context(), q, fmt.Sprint("k", i), fmt.Sprintf("%d of %d while silent", j, i)); err == nil {
					t.Error("silent brokers have accepted something")
				}
				select { // beyond what is refused without asking again
				case <-time.After(time.Second):
				case <-t.Context().Done():
				}
			}
		})
	}
	publishers.Wait()
	if q.FailingSince().IsZero() {
		t.Error("the queue does not know that it accepts nothing")
	}
	heal(p)
	healed := time.Now()
	n := 0
	testutil.Succeeds(t, 10*time.Second, "it publishes again", func() error {
		n++
		return o.publish(t.Context(), q, "k", fmt.Sprint(n, " healed"))
	})
	t.Logf("well %v after it was healed", time.Since(healed))
	if since := q.FailingSince(); !since.IsZero() {
		t.Errorf("it publishes, and fails since %v", since)
	}
	o.checkTimes(t)
	if len(o.refused) == 0 {
		t.Error("nothing was refused for certain")
	}
	if !log.Has("producer discarded") {
		t.Error("the producer is kept for another series of failures")
	}
	o.check(t, direct)
}

// What the brokers do not take fills a request, and what does not fit waits: that can be withdrawn.
func TestWithdrawnMessagesNeverArrive(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	p := newProxies(t, b)
	cfg := config(t, b)
	direct := open(t, b, cfg)
	cfg.Configure = p.configure
	q := open(t, b, cfg)
	o := newOutcomes()
	o.timeout = time.Minute
	for n := range 5 { // after the first in a new topic sarama looks once more for who leads it
		if err := o.publish(t.Context(), q, "k", fmt.Sprint(n, " before")); err != nil {
			t.Fatal(err)
		}
	}
	p.silence()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const publishers = 48
	var publishing sync.WaitGroup
	for i := range publishers {
		publishing.Go(func() { _ = o.publish(ctx, q, "k", fmt.Sprintf("%0*d", queue.MaxBody, i)) })
	}
	testutil.Succeeds(t, 10*time.Second, "a message is on its way", func() error {
		if !p.holds("000000") {
			return errors.New("none is")
		}
		return nil
	})
	cancel()
	publishing.Wait()
	p.heal()
	if err := o.publish(t.Context(), q, "k", "after"); err != nil {
		t.Error(err)
	}
	if len(o.refused) == 0 || len(o.unknown) == 0 {
		t.Errorf("%d were withdrawn and %d have left, want some of each", len(o.refused), len(o.unknown))
	}
	o.check(t, direct)
}

func TestConsumeGoesOnAfterSilence(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	p := newProxies(t, b)
	cfg := config(t, b)
	direct := open(t, b, cfg)
	cfg.Configure = p.configure
	q := open(t, b, cfg)
	got := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	defer done.Wait()
	defer cancel()
	done.Go(func() {
		if err := q.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
			for _, d := range batch {
				got <- string(d.Body)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	await := func(body string) {
		t.Helper()
		timeout := time.After(time.Minute)
		for {
			select {
			case s := <-got:
				if s == body {
					return
				}
			case <-timeout:
				t.Fatalf("%s does not come", body)
			}
		}
	}
	publish := func(body string) {
		t.Helper()
		if _, err := direct.Publish(t.Context(), message("k", body)); err != nil {
			t.Fatal(err)
		}
	}
	publish("before")
	await("before")
	p.silence()
	publish("while silent")
	select {
	case s := <-got:
		t.Errorf("%s came through silence", s)
	case <-time.After(time.Second):
	}
	p.heal()
	await("while silent")
	publish("after")
	await("after")
}

func TestInFlightIsBounded(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	p := newProxies(t, b)
	cfg := config(t, b)
	cfg.Configure = p.configure
	cfg.MaxInFlightBytes = 10 * 1200
	q := open(t, b, cfg)
	m := queue.Message{Key: "k", Body: make([]byte, 1100)}
	if _, err := q.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	p.silence()
	const publishers = 25
	answers := make(chan error, publishers)
	for range publishers {
		go func() {
			_, err := q.Publish(t.Context(), m)
			answers <- err
		}()
	}
	for range publishers - 10 {
		if err := <-answers; !errors.Is(err, queue.ErrNotAccepted) {
			t.Errorf("got %v from a full queue", err)
		}
	}
	p.heal()
	for range 10 {
		if err := <-answers; err != nil {
			t.Errorf("got %v for what was in flight", err)
		}
	}
	if _, err := q.Publish(t.Context(), m, m, m, m, m, m, m, m, m, m); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestLargePublishGoesAlone(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg := config(t, b)
	cfg.MaxInFlightBytes = 1000
	q := open(t, b, cfg)
	if _, err := q.Publish(t.Context(), queue.Message{Key: "k", Body: make([]byte, queue.MaxBody)}); err != nil {
		t.Error(err)
	}
}

func TestStartsBeforeTheBrokers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() // the cluster gets the port below
	q := open(t, []string{fmt.Sprintf("127.0.0.1:%d", port)}, kafkaqueue.Config{Configure: quick})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	defer done.Wait()
	defer cancel()
	got := make(chan queue.Delivery, 100)
	done.Go(func() {
		if err := q.Consume(ctx, 10, func(_ context.Context, batch []queue.Delivery) error {
			for _, d := range batch {
				got <- d
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	o := newOutcomes()
	for i := range 5 {
		if err := o.publish(t.Context(), q, "k", fmt.Sprint(i)); !errors.Is(err, queue.ErrNotAccepted) {
			t.Errorf("got %v from brokers that are away", err)
		}
	}
	o.checkTimes(t)
	if _, err := q.Lag(t.Context()); err == nil {
		t.Error("it knows the lag of brokers that are away")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.SleepOutOfOrder(), noRebalanceDelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	testutil.Succeeds(t, 10*time.Second, "it publishes", func() error { return o.publish(t.Context(), q, "k", "there") })
	select {
	case d := <-got:
		if string(d.Body) != "there" {
			t.Errorf("got %s, which was not accepted", d.Body)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is delivered")
	}
}

func TestCloseIsBoundedAndEndsEverything(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	p := newProxies(t, b)
	cfg := config(t, b)
	cfg.Configure = p.configure
	q := open(t, b, cfg)
	if _, err := q.Publish(t.Context(), message("k", "1")); err != nil {
		t.Fatal(err)
	}
	inFlight, consumed, published := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	var finished atomic.Bool
	go func() {
		consumed <- q.Consume(t.Context(), 10, func(ctx context.Context, _ []queue.Delivery) error {
			close(inFlight)
			<-published
			finished.Store(true)
			return nil
		})
	}()
	<-inFlight
	// The next message is then sent without a look at the topic.
	if _, err := q.Publish(t.Context(), message("k", "2")); err != nil {
		t.Fatal(err)
	}
	p.silence()
	go func() {
		_, err := q.Publish(t.Context(), message("k", "on its way"))
		published <- err
		published <- err
	}()
	testutil.Succeeds(t, 10*time.Second, "a message is on its way", func() error {
		if !p.holds("on its way") {
			return errors.New("it is not")
		}
		return nil
	})
	began := time.Now()
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed beside silent brokers in %v", time.Since(began))
	if err := <-consumed; err == nil || !finished.Load() {
		t.Errorf("Consume returned %v; its handler finished: %v", err, finished.Load())
	}
	if err := <-published; err == nil {
		t.Error("silent brokers have accepted something")
	}
	if _, err := q.Publish(t.Context(), message("k", "4")); !errors.Is(err, queue.ErrNotAccepted) {
		t.Errorf("got %v from a closed queue", err)
	}
	if err := q.Consume(t.Context(), 1, nil); err == nil {
		t.Error("a closed queue can be consumed")
	}
	if err := q.Close(); err != nil {
		t.Errorf("closing it again: %v", err)
	}
}
