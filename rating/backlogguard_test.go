package rating_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/worker"
)

// forgetting is a queue that deletes messages after an hour, stored or not, and does not always say
// so.
type forgetting struct {
	*memqueue.Queue
	silent error
}

func (f *forgetting) Age(ctx context.Context) (oldest, retention time.Duration, err error) {
	oldest, _, err = f.Queue.Age(ctx)
	return oldest, time.Hour, errors.Join(err, f.silent)
}

// aged returns a world with a content, over q, and its log.
func aged(t *testing.T, q func(*memqueue.Queue) queue.Publisher) (w *world, log *testutil.Log, content string) {
	w, log = newWorld(t, nil), &testutil.Log{}
	w.cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	w.ratings = must(rating.New(w.store, q(w.queue), w.contents, w.cfg))
	return w, log, w.content().ID
}

// L5: that a message waits for more than a minute is told once, and once that none does any more.
// Nothing more is accepted when one has waited for half of the time that the queue keeps it, until
// a worker is back.
func TestUnappliedTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &forgetting{}
		w, log, c := aged(t, func(m *memqueue.Queue) queue.Publisher { q.Queue = m; return q })
		submit := func() error { // after what the last one made the service know
			_, err := w.ratings.Submit(t.Context(), actor.Actor{User: "u"}, rating.Submission{Content: c, Score: 3})
			synctest.Wait()
			return err
		}
		pass := func(d time.Duration) error { // the first one looks, the second one knows
			time.Sleep(d)
			return errors.Join(submit(), submit())
		}
		told := func(late, over int) {
			t.Helper()
			if n, m := strings.Count(log.String(), "messages wait: does a worker run?"),
				strings.Count(log.String(), "wait no longer"); n != late || m != over {
				t.Errorf("after %v it was told %d times and taken back %d times, want %d and %d:\n%s", w.now(), n, m, late, over,
					log)
			}
		}
		if err := pass(0); err != nil {
			t.Fatal(err)
		}
		if err := pass(rating.BacklogWarning); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		told(0, 0)
		for range 3 {
			if err := pass(10 * time.Second); err != nil {
				t.Errorf("after more than a minute: %v", err)
			}
			told(1, 0)
		}
		if err := pass(30*time.Minute - 90*time.Second); err != nil {
			t.Errorf("after half the retention: %v", err)
		}
		err := pass(10 * time.Second)
		var refused *rating.UnavailableError
		if !errors.As(err, &refused) || refused.Unknown || !errors.Is(err, queue.ErrNotAccepted) {
			t.Errorf("past half the retention: %v", err)
		}
		if _, err := w.ratings.Recalculate(t.Context(), actor.Actor{User: "s", Staff: true},
			c); !errors.Is(err, rating.ErrUnavailable) {
			t.Errorf("a recount past half the retention: %v", err)
		}
		q.silent = errors.New("no answer")
		if err := pass(10 * time.Second); !errors.Is(err, queue.ErrNotAccepted) {
			t.Errorf("a queue that does not answer: %v", err)
		}
		q.silent = nil
		told(1, 0)

		worker := must(worker.New(must(worker.NewRecalculator(w.ratings, w.store)), w.queue, w.contents))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = worker.Run(ctx) })
		synctest.Wait()
		time.Sleep(10 * time.Second)
		_ = submit()
		if err := submit(); err != nil {
			t.Errorf("with a worker: %v", err)
		}
		told(1, 1)
		stop()
		running.Wait()
	})
}

// A queue that keeps messages for good refuses none for their age, nor does one that cannot tell
// it.
func TestUnappliedInALogThatKeeps(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]func(*memqueue.Queue) queue.Publisher{
		"for good":    func(m *memqueue.Queue) queue.Publisher { return m },
		"cannot tell": func(m *memqueue.Queue) queue.Publisher { return struct{ queue.Publisher }{m} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, _, c := aged(t, q)
				for range 3 {
					w.submit("u", c, 3)
					synctest.Wait()
					time.Sleep(365 * 24 * time.Hour)
				}
			})
		})
	}
}
