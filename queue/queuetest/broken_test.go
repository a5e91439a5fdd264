package queuetest_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/queue/queuetest"
)

// timeout is what a check of a broken queue waits for what will never come.
const timeout = 2 * time.Second

type (
	publishFunc = func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error)
	consumeFunc = func(ctx context.Context, limit int, h queue.Handler) error
	handlerFunc = func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error
)

// broken is a right queue with a method that is wrong on purpose.
type broken struct {
	queue.Queue
	publish publishFunc
	consume consumeFunc
}

func (b broken) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if b.publish != nil {
		return b.publish(ctx, msgs...)
	}
	return b.Queue.Publish(ctx, msgs...)
}

func (b broken) Consume(ctx context.Context, limit int, h queue.Handler) error {
	if b.consume != nil {
		return b.consume(ctx, limit, h)
	}
	return b.Queue.Consume(ctx, limit, h)
}

// handling returns q with f between it and the handlers.
func handling(q queue.Queue, f handlerFunc) queue.Queue {
	return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
		return q.Consume(ctx, limit, func(hctx context.Context, batch []queue.Delivery) error { return f(hctx, batch, h) })
	}}
}

// placing returns q with f applied to the positions that Publish returns.
func placing(q queue.Queue, f func([]queue.Position)) queue.Queue {
	return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
		ps, err := q.Publish(ctx, msgs...)
		f(ps)
		return ps, err
	}, nil}
}

// mutant is a way to be wrong, the check that must see it, and what that check says.
type mutant struct {
	name  string
	check string
	says  string
	wrong func(t *testing.T, q *memqueue.Queue) queue.Queue
}

// emptying consumes until ctx is done and nothing is left.
func emptying(ctx context.Context, q *memqueue.Queue, limit int, h queue.Handler) error {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := func(left int64) {
		if n, err := q.Lag(running); err == nil && n <= left {
			cancel()
		}
	}
	defer context.AfterFunc(ctx, func() { stop(0) })()
	return q.Consume(running, limit, func(hctx context.Context, batch []queue.Delivery) error {
		err := h(hctx, batch)
		if err == nil && ctx.Err() != nil {
			stop(int64(len(batch)))
		}
		return err
	})
}

// miscounting is a queue with a wrong Lag.
type miscounting struct {
	*memqueue.Queue
	published, delivered atomic.Int64
	count                func(published, delivered int64) int64
}

func (m *miscounting) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	m.published.Add(int64(len(msgs)))
	return m.Queue.Publish(ctx, msgs...)
}

func (m *miscounting) Consume(ctx context.Context, limit int, h queue.Handler) error {
	return m.Queue.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
		m.delivered.Add(int64(len(batch)))
		return h(ctx, batch)
	})
}

func (m *miscounting) Lag(context.Context) (int64, error) {
	return m.count(m.published.Load(), m.delivered.Load()), nil
}

// misplacing is a queue with a wrong Locate.
type misplacing struct {
	*memqueue.Queue
	delivered atomic.Bool
	place     func(at queue.Position, right queue.Standing) queue.Standing
}

func (m *misplacing) Consume(ctx context.Context, limit int, h queue.Handler) error {
	return m.Queue.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
		m.delivered.Store(true)
		return h(ctx, batch)
	})
}

func (m *misplacing) Locate(ctx context.Context, key string, at queue.Position) (queue.Standing, error) {
	right, err := m.Queue.Locate(ctx, key, at)
	return m.place(at, right), err
}

// misdating is a queue whose Age is that of the last message, or of what was finished.
type misdating struct {
	*memqueue.Queue
	finished  bool                      // tells the age of what was finished, too
	published atomic.Pointer[time.Time] // the first, or the last
}

func (m *misdating) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if now := time.Now(); !m.finished || m.published.Load() == nil {
		m.published.Store(&now)
	}
	return m.Queue.Publish(ctx, msgs...)
}

func (m *misdating) Age(ctx context.Context) (oldest, retention time.Duration, err error) {
	at := m.published.Load()
	if n, err := m.Lag(ctx); err != nil || at == nil || n == 0 && !m.finished {
		return 0, 0, err
	}
	return time.Since(*at), 0, nil
}

// pause waits between the retries of a broken queue and reports whether the test still runs.
func pause(t *testing.T) bool {
	select {
	case <-time.After(5 * time.Millisecond):
		return true
	case <-t.Context().Done():
		return false
	}
}

func TestBrokenQueuesAreCaught(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			err := check(t, m.check).Run(ctx, m.wrong(t, memqueue.New(memqueue.Config{})))
			if err == nil {
				t.Fatalf("check %q is content", m.check)
			}
			if !strings.Contains(err.Error(), m.says) {
				t.Errorf("check %q says %q, want something about %q", m.check, err, m.says)
			}
		})
	}
}

func TestEveryCheckCatchesSomething(t *testing.T) {
	t.Parallel()
	for _, c := range queuetest.Checks {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.check == c.Name }) {
			t.Errorf("nothing shows that check %q can fail", c.Name)
		}
	}
}

func TestNewStreamCatchesOneStreamForTwoLogs(t *testing.T) {
	t.Parallel()
	fixed := func() queue.Queue {
		return placing(memqueue.New(memqueue.Config{}), func(ps []queue.Position) {
			for i := range ps {
				ps[i].Stream = "the queue"
			}
		})
	}
	if queuetest.NewStream(t.Context(), fixed(), fixed()) == nil {
		t.Error("NewStream is content")
	}
}

func check(t *testing.T, name string) queuetest.Check {
	t.Helper()
	i := slices.IndexFunc(queuetest.Checks, func(c queuetest.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return queuetest.Checks[i]
}
