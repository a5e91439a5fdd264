package khodnevis_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// host is an App whose users and contents are the host's, so that another one may have contents of
// the same identifiers.
func host(t *testing.T, cfg khodnevis.Config) *khodnevis.App {
	t.Helper()
	cfg.Authenticator, cfg.RatedContents = nobody{}, everything{}
	if cfg.Store == nil {
		cfg.Store = memstore.New(memstore.Config{})
	}
	app, err := khodnevis.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// running runs the App until the test ends, or what it returns is called.
func running(t *testing.T, app *khodnevis.App) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := app.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); all.Wait() }
	t.Cleanup(stop)
	return stop
}

// rate submits a rating and returns its receipt.
func rate(t *testing.T, app *khodnevis.App, rater, content string) rating.Receipt {
	t.Helper()
	receipt, err := app.Ratings.Submit(t.Context(), actor.Actor{User: rater}, rating.Submission{Content: content,
		Score: 5})
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// stored fails the test unless the rating is stored in time.
func stored(t *testing.T, app *khodnevis.App, receipt rating.Receipt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done, err := app.Ratings.Wait(ctx, actor.Actor{User: receipt.Rating.Rater}, receipt.Task.ID)
	if err != nil || done.State != task.Success {
		t.Fatalf("the task is %s, %+v, %v", done.State, done.Error, err)
	}
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// Two installations share a cache: nothing that one remembers is an answer of the other one.
func TestInstallationsShareACache(t *testing.T) {
	t.Parallel()
	shared := lrucache.New(lrucache.Config{})
	a, b := host(t, khodnevis.Config{Cache: shared}), host(t, khodnevis.Config{Cache: shared})
	running(t, a)
	running(t, b)
	stored(t, a, rate(t, a, "ann", "post-1"))
	for name, x := range map[string]struct {
		app   *khodnevis.App
		count int64
	}{"a": {a, 1}, "b": {b, 0}} {
		stats, err := x.app.Ratings.Stats(t.Context(), []string{"post-1"})
		if err != nil || stats["post-1"].Count != x.count {
			t.Errorf("%s has %+v, %v, want %d ratings", name, stats, err, x.count)
		}
	}
	if _, _, err := b.Ratings.Get(t.Context(), actor.Actor{User: "ann"}, rating.Key{Content: "post-1",
		Rater: "ann"}); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("b has the rating of a: %v", err)
	}
}

// refusals is a cache that counts the calls it refuses.
type refusals struct {
	cache.Cache
	n atomic.Int64
}

func (c *refusals) SetMany(ctx context.Context, items []cache.Item) error {
	err := c.Cache.SetMany(ctx, items)
	if err != nil {
		c.n.Add(1)
	}
	return err
}

// Identifiers of the greatest length make keys that no cache takes as they are: the task of a
// withdrawal names the content, the rater and who withdrew.
func TestLongIdentifiersAreCached(t *testing.T) {
	t.Parallel()
	long := func(c string) string { return strings.Repeat(c, 128) }
	shared := &refusals{Cache: lrucache.New(lrucache.Config{})}
	app := host(t, khodnevis.Config{Cache: shared})
	running(t, app)
	stored(t, app, rate(t, app, long("r"), long("c")))
	staff := actor.Actor{User: long("s"), Staff: true}
	receipt, err := app.Ratings.Withdraw(t.Context(), staff, rating.Key{Content: long("c"), Rater: long("r")})
	if err != nil {
		t.Fatal(err)
	}
	if len(receipt.Task.ID) < 500 {
		t.Errorf("the identifier of the task has %d bytes", len(receipt.Task.ID))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if done, err := app.Ratings.Wait(ctx, staff, receipt.Task.ID); err != nil || done.State != task.Success {
		t.Errorf("the task is %s, %v", done.State, err)
	}
	if n := shared.n.Load(); n > 0 {
		t.Errorf("the cache refused %d calls", n)
	}
}

// A worker that finds the message of another installation neither stores nor rejects nor finishes
// it. It says so once, and is not ready until the message is gone.
func TestForeignMessage(t *testing.T) {
	t.Parallel()
	log, q := &testutil.Log{}, memqueue.New(memqueue.Config{})
	here, there := memstore.New(memstore.Config{}), memstore.New(memstore.Config{})
	a := host(t, khodnevis.Config{Store: here, Queue: q, Logger: slog.New(slog.NewTextHandler(log, nil))})
	b := host(t, khodnevis.Config{Store: there, Queue: q})
	receipt := rate(t, b, "ben", "post-1")
	stop := running(t, a)
	soon(t, "the worker of a stops", func() bool {
		return a.Ready() != nil &&
			log.Count("a batch is not stored yet") > 2
	})
	own, _ := here.Installation(t.Context())
	other, _ := there.Installation(t.Context())
	foreign := (*worker.ForeignError)(nil)
	if err := a.Ready(); !errors.As(err, &foreign) || foreign.Own != own || foreign.Other != other ||
		!strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), other) {
		t.Errorf("a says %v, want that it is %s and the message of %s", err, own, other)
	}
	if n := log.Count("level=ERROR"); n != 1 {
		t.Errorf("%d errors are logged, want 1", n)
	}
	if err := b.Ready(); err != nil {
		t.Errorf("b, which does not work: %v", err)
	}
	stop()
	if rejected, err := here.ListDeadLetters(t.Context(), rating.DeadLetterQuery{Limit: 1}); len(rejected) > 0 ||
		err != nil {
		t.Errorf("a has rejected %+v, %v", rejected, err)
	}
	if n, err := here.CountRatings(t.Context(), rating.Filter{}, 0); n > 0 || err != nil {
		t.Errorf("a has stored %d ratings of b, %v", n, err)
	}
	stop = running(t, b)
	stored(t, b, receipt)
	stop()
	running(t, a)
	stored(t, a, rate(t, a, "ann", "post-1"))
	if err := a.Ready(); err != nil {
		t.Errorf("a, after its own message: %v", err)
	}
}

// A message that names no installation was queued by an earlier release, and is one's own.
func TestMessageOfAnEarlierRelease(t *testing.T) {
	t.Parallel()
	q := &unnamed{Queue: memqueue.New(memqueue.Config{})}
	app := host(t, khodnevis.Config{Queue: q})
	running(t, app)
	stored(t, app, rate(t, app, "ann", "post-1"))
	if q.names.Load() != 1 {
		t.Errorf("%d messages named their installation, want 1", q.names.Load())
	}
}

// unnamed is a queue that takes off which installation a message is of.
type unnamed struct {
	queue.Queue
	names atomic.Int64
}

func (q *unnamed) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	for i, m := range msgs {
		if m.Header["installation"] != "" {
			q.names.Add(1)
		}
		msgs[i].Header = nil
	}
	return q.Queue.Publish(ctx, msgs...)
}

// mute is a store that does not return the identity of its database while it is away.
type mute struct {
	store.Store
	away atomic.Bool
}

func (m *mute) Installation(ctx context.Context) (string, error) {
	if m.away.Load() {
		return "", store.ErrUnavailable
	}
	return m.Store.Installation(ctx)
}

// watched is a cache that counts its calls, and counts nothing else.
type watched struct {
	cache.Cache
	calls atomic.Int64
}

func (w *watched) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	w.calls.Add(1)
	return w.Cache.GetMany(ctx, keys)
}

func (w *watched) SetMany(ctx context.Context, items []cache.Item) error {
	w.calls.Add(1)
	return w.Cache.SetMany(ctx, items)
}

// Until the store has answered once, nobody knows which installation this is: a rating is not
// accepted, though the contents are the host's and the queue is there, and the shared cache is
// neither asked nor told anything. It is well by itself then.
func TestInstallationIsNotKnownYet(t *testing.T) {
	t.Parallel()
	s, c := &mute{Store: memstore.New(memstore.Config{})}, &watched{Cache: lrucache.New(lrucache.Config{})}
	s.away.Store(true)
	q := memqueue.New(memqueue.Config{})
	app := host(t, khodnevis.Config{Store: s, Queue: q, Cache: c})
	_, err := app.Ratings.Submit(t.Context(), actor.Actor{User: "ann"}, rating.Submission{Content: "post-1", Score: 5})
	refused := (*rating.UnavailableError)(nil)
	if !errors.As(err, &refused) || refused.Unknown {
		t.Errorf("a rating: %v, want that it is not accepted", err)
	}
	if stats, err := app.Ratings.Stats(t.Context(), []string{"post-1"}); err != nil || stats["post-1"].Count != 0 {
		t.Errorf("the numbers are %v, %v", stats, err)
	}
	if n := c.calls.Load(); n != 0 {
		t.Errorf("the cache was called %d times", n)
	}
	if n, err := q.Lag(t.Context()); n != 0 || err != nil {
		t.Errorf("%d messages were published, %v", n, err)
	}
	s.away.Store(false)
	soon(t, "ratings are accepted", func() bool {
		_, err := app.Ratings.Submit(t.Context(), actor.Actor{User: "ann"}, rating.Submission{Content: "post-1", Score: 5})
		return err == nil
	})
	soon(t, "the cache is used", func() bool {
		_, _ = app.Ratings.Stats(t.Context(), []string{"post-1"})
		return c.calls.Load() > 0
	})
}
