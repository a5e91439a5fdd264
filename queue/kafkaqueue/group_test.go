package kafkaqueue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

// ledger holds what was finished of numbered messages.
type ledger struct {
	mu    sync.Mutex
	next  map[string]int // number after the newest that was finished, by key
	again int            // that were finished before
	wrong error
}

func newLedger() *ledger { return &ledger{next: make(map[string]int)} }

// finish is a handler.
func (l *ledger) finish(_ context.Context, batch []queue.Delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range batch {
		n, err := strconv.Atoi(string(d.Body))
		switch next := l.next[d.Key]; {
		case err != nil:
			l.wrong = err
		case n > next:
			l.wrong = fmt.Errorf("message %d of key %s was finished where %d was due", n, d.Key, next)
		case n < next:
			l.again++
		default:
			l.next[d.Key]++
		}
	}
	return nil
}

func (l *ledger) finished(keys, each int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, next := range l.next {
		n += next
	}
	if l.wrong == nil && n < keys*each {
		return fmt.Errorf("%d of %d", n, keys*each)
	}
	return nil
}

func TestRebalancesLoseNothingAndKeepOrder(t *testing.T) {
	t.Parallel()
	const keys, each, workers = 50, 100, 3
	b := brokers(t)
	cfg := config(t, b)
	q := open(t, b, cfg)
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	gone := make(chan struct{}, 1000)
	for range workers {
		running.Go(func() {
			for ctx.Err() == nil {
				work(ctx, t, b, cfg, time.Duration(200+rand.IntN(400))*time.Millisecond, l.finish)
				gone <- struct{}{}
			}
		})
	}
	consumers := 0
	for n := range each {
		msgs := make([]queue.Message, keys)
		for k := range msgs {
			msgs[k] = message(fmt.Sprint("k", k), strconv.Itoa(n))
		}
		if _, err := q.Publish(ctx, msgs...); err != nil {
			t.Fatal(err)
		}
		if n%3 == 0 { // the messages flow while consumers come and go
			<-gone
			consumers++
		}
	}
	testutil.Succeeds(t, time.Minute, "everything is finished", func() error { return l.finished(keys, each) })
	cancel()
	running.Wait()
	t.Logf("%d consumers came and went; %d of %d messages were handled again", consumers+len(gone), l.again, keys*each)
	if l.wrong != nil {
		t.Error(l.wrong)
	}
}

// work consumes for a while through a queue of its own, as a process would.
func work(
	ctx context.Context, t *testing.T, brokers []string, cfg kafkaqueue.Config, d time.Duration, h queue.Handler,
) {
	q, err := kafkaqueue.Open(brokers, cfg)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := q.Consume(ctx, 100, h); err != nil {
		t.Error(err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

func TestZombieOnlyRepeats(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg := config(t, b)
	cfg.Partitions = 1
	cfg.Configure = func(c *sarama.Config) {
		quick(c)
		c.Consumer.Group.Session.Timeout = time.Second
	}
	healthy := open(t, b, cfg)
	p := newProxies(t, b)
	cfg.Configure = func(c *sarama.Config) {
		p.configure(c)
		c.Consumer.Group.Session.Timeout = time.Second
	}
	zombie := open(t, b, cfg)
	const messages = 50
	for n := range messages {
		if _, err := healthy.Publish(t.Context(), message("k", strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	inFlight, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(release) })
	l := newLedger()
	zombieEnded := make(chan struct{})
	zombieCtx, stopZombie := context.WithCancel(ctx)
	handled := make(chan struct{}, 1)
	running.Go(func() {
		defer close(zombieEnded)
		first := true
		if err := zombie.Consume(zombieCtx, 10, func(ctx context.Context, batch []queue.Delivery) error {
			if first {
				first = false
				close(inFlight)
				<-release
				defer func() { handled <- struct{}{} }()
			}
			return l.finish(ctx, batch)
		}); err != nil {
			t.Error(err)
		}
	})
	<-inFlight
	p.silence()
	running.Go(func() {
		if err := healthy.Consume(ctx, 10, l.finish); err != nil {
			t.Error(err)
		}
	})
	testutil.Succeeds(t, time.Minute, "the healthy one takes over", func() error { return l.finished(1, messages) })
	lagIs(t, healthy, 0)
	p.heal()
	once.Do(func() { close(release) })
	<-handled
	if _, err := healthy.Publish(t.Context(), message("k", strconv.Itoa(messages))); err != nil {
		t.Fatal(err)
	}
	testutil.Succeeds(t, time.Minute, "it goes on", func() error { return l.finished(1, messages+1) })
	stopZombie()
	<-zombieEnded
	lagIs(t, healthy, 0)
	cancel()
	running.Wait()
	if l.wrong != nil {
		t.Error(l.wrong)
	}
	t.Logf("%d messages were handled again", l.again)
	n := 0
	if _, err := healthy.Publish(t.Context(), message("k", "marker")); err != nil {
		t.Fatal(err)
	}
	consumeAll(t, healthy, func(d queue.Delivery) {
		if n++; string(d.Body) != "marker" {
			t.Errorf("%s was finished, and its progress is forgotten", d.Body)
		}
	})
	if n == 0 {
		t.Error("the progress is ahead of what was finished")
	}
}

// A member that goes without a word keeps its partitions for no longer than the session timeout of
// 10 s.
func TestDeadMemberIsReplacedSoon(t *testing.T) {
	t.Parallel()
	const keys = 40
	b := brokers(t)
	cfg := config(t, b)
	survivor := open(t, b, cfg)
	dying := newProxies(t, b)
	cfg.Configure, cfg.Logger = dying.configure, nil
	victim := open(t, b, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	l := newLedger()
	var byVictim atomic.Int64
	running.Go(func() {
		_ = victim.Consume(ctx, 100, func(ctx context.Context, batch []queue.Delivery) error {
			byVictim.Add(int64(len(batch)))
			return l.finish(ctx, batch)
		})
	})
	round := 0
	publish := func() {
		t.Helper()
		msgs := make([]queue.Message, keys)
		for k := range msgs {
			msgs[k] = message(fmt.Sprint("k", k), strconv.Itoa(round))
		}
		if _, err := survivor.Publish(t.Context(), msgs...); err != nil {
			t.Fatal(err)
		}
		round++
	}
	publish()
	testutil.Succeeds(t, time.Minute, "the victim is a member", func() error { return l.finished(keys, round) })
	dying.silence()
	running.Go(func() {
		if err := survivor.Consume(ctx, 100, l.finish); err != nil {
			t.Error(err)
		}
	})
	publish()
	testutil.Succeeds(t, 25*time.Second, "the survivor has all partitions",
		func() error { return l.finished(keys, round) })
	if byVictim.Load() == 0 || l.wrong != nil {
		t.Errorf("the victim has handled %d messages, %v", byVictim.Load(), l.wrong)
	}
	cancel()
	dying.heal()
}

func lagIs(t *testing.T, q *kafkaqueue.Queue, want int64) {
	t.Helper()
	testutil.Succeeds(t, 10*time.Second, fmt.Sprint("the lag is ", want), func() error {
		n, err := q.Lag(t.Context())
		if err == nil && n != want {
			err = fmt.Errorf("it is %d", n)
		}
		return err
	})
}

func TestFailingHandlerLetsPartitionsGo(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	cfg := config(t, b)
	failing, other := open(t, b, cfg), open(t, b, cfg)
	const keys = 20
	for k := range keys {
		if _, err := failing.Publish(t.Context(), message(fmt.Sprint("k", k), "0")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	failed := make(chan struct{})
	var once sync.Once
	running.Go(func() {
		if err := failing.Consume(ctx, 100, func(context.Context, []queue.Delivery) error {
			once.Do(func() { close(failed) })
			return errors.New("cannot")
		}); err != nil {
			t.Error(err)
		}
	})
	<-failed
	l := newLedger()
	running.Go(func() {
		if err := other.Consume(ctx, 100, l.finish); err != nil {
			t.Error(err)
		}
	})
	testutil.Succeeds(t, 20*time.Second, "the other one gets something", func() error { return l.finished(1, 1) })
	if l.wrong != nil {
		t.Error(l.wrong)
	}
}

func TestPanicOfTheHandlerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := brokers(t)
	q := open(t, b, config(t, b))
	if _, err := q.Publish(t.Context(), message("k", "0")); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_ = q.Consume(t.Context(), 10, func(context.Context, []queue.Delivery) error { panic("handler") })
	}()
	l := newLedger()
	consumeAll(t, q, func(d queue.Delivery) { _ = l.finish(t.Context(), []queue.Delivery{d}) })
	if err := l.finished(1, 1); err != nil {
		t.Error(err)
	}
}

// It runs alone, because it looks at every goroutine.
func TestStartAndStopLeaveNoGoroutine(t *testing.T) {
	b := brokers(t)
	cfg := config(t, b)
	cfg.Logger = nil
	var rounds sync.WaitGroup
	for r := range 10 {
		rounds.Go(func() {
			for i := range 10 {
				startAndStop(t, b, cfg, fmt.Sprint(r, "-", i))
			}
		})
	}
	rounds.Wait()
	testutil.Succeeds(t, 10*time.Second, "no goroutine is left", func() error {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, s := range strings.Split(string(stacks), "\n\n")[1:] {
			if strings.Contains(s, "IBM/sarama") || strings.Contains(s, "kafkaqueue.(") {
				return errors.New(s)
			}
		}
		return nil
	})
}

// startAndStop publishes and consumes, and closes the queue at any moment.
func startAndStop(t *testing.T, brokers []string, cfg kafkaqueue.Config, key string) {
	q, err := kafkaqueue.Open(brokers, cfg)
	if err != nil {
		t.Error(err)
		return
	}
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			_, _ = q.Publish(t.Context(), message(key, "0"))
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(400))*time.Millisecond)
	defer cancel()
	busy.Go(func() {
		_ = q.Consume(ctx, 10, func(context.Context, []queue.Delivery) error { return nil })
	})
	select {
	case <-time.After(time.Duration(rand.IntN(400)) * time.Millisecond):
	case <-t.Context().Done():
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	busy.Wait()
}
