package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// slowQueue takes its time for each call of Publish, so that requests in flight bound what a server
// takes in a second.
type slowQueue struct {
	queue.Queue
	takes time.Duration
}

func (q slowQueue) Publish(ctx context.Context, messages ...queue.Message) ([]queue.Position, error) {
	<-time.After(q.takes)
	return q.Queue.Publish(ctx, messages...)
}

// bearers takes what comes after Bearer for the user, so that there are as many as a test needs.
type bearers struct{}

func (bearers) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return auth.Principal{}, auth.ErrNoCredentials
	}
	return auth.Principal{Subject: name}, nil
}

// L1, L4: a server that is offered four times what it can take serves as much as it can and refuses
// the rest at once, cuts off nobody, lives, loses nothing that it accepted, and is as before when
// that is over.
func TestOverload(t *testing.T) {
	t.Parallel()
	const (
		inFlight, takes = 4, 80 * time.Millisecond // at most 50 a second
		rate, span      = 200, 5 * time.Second
	)
	db, err := sqlitestore.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	accepted, err := sqlitequeue.New(db.File(), sqlitequeue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	app, err := khodnevis.New(khodnevis.Config{
		Store: db, Queue: slowQueue{accepted, takes}, Batch: embeddedBatch, Authenticator: bearers{},
		Limits: httpapi.Limits{Off: true, InFlight: inFlight}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := app.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(routes(&backend{app: app, role: "all"}, true, app.Ready))
	t.Cleanup(func() {
		server.Close()
		stop()
		running.Wait()
	})
	film, err := app.Contents.Create(t.Context(), "author", content.Draft{Title: "Stalker"})
	if err != nil {
		t.Fatal(err)
	}
	clients := make([]*client, 200)
	for i := range clients {
		clients[i] = connect(t, server.Listener.Addr().String())
		_ = clients[i].SetDeadline(time.Now().Add(2 * time.Minute))
	}
	rater := func(n int) string { return fmt.Sprint("rater", n) }
	body := fmt.Sprintf(`{"content":%q,"score":4}`, film.ID)
	post := func(c *client, n int) reply { return c.send(t, http.MethodPost, "/api/ratings/", rater(n), body) }

	answers := make([]reply, rate*int(span/time.Second))
	var over atomic.Bool
	var asking sync.WaitGroup
	lives := connect(t, server.Listener.Addr().String())
	asking.Go(func() {
		for ; !over.Load(); <-time.After(takes) {
			if got := lives.send(t, http.MethodGet, "/livez", "", ""); got.status != http.StatusOK {
				t.Errorf("/livez: %d %s", got.status, got.body)
				return
			}
		}
	})
	offer(clients, rate, span, func(c *client, n int) bool {
		answers[n] = post(c, n)
		return answers[n].status != 0
	})
	over.Store(true)
	asking.Wait()

	var refused int
	served := make([]int, span/time.Second) // by the second in which they were due
	for n, a := range answers {
		switch a.status {
		case http.StatusAccepted:
			served[n/rate]++
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			refused++
			if a.retryAfter == "" {
				t.Errorf("refused without Retry-After: %d %s", a.status, a.body)
			}
		default:
			t.Errorf("request %d: %d %s", n, a.status, a.body)
		}
	}
	t.Logf("served %v, refused %d of %d", served, refused, len(answers))
	if refused == 0 {
		t.Error("nothing was refused: that was no overload")
	}
	for second, n := range served {
		if n == 0 {
			t.Errorf("of the requests of second %d none was served", second)
		}
	}
	late := len(answers)
	testutil.Eventually(t, 30*time.Second, "ratings are taken as before", func() bool {
		return post(clients[0], late).status == http.StatusAccepted
	})
	answers = append(answers, reply{status: http.StatusAccepted})
	testutil.Eventually(t, 30*time.Second, "all is stored", func() bool {
		lag, err := accepted.Lag(t.Context())
		return err == nil && lag == 0
	})
	var stored int64
	for n, a := range answers {
		rows, err := db.RatingsByKey(t.Context(), []rating.Key{{Content: film.ID, Rater: rater(n)}})
		if err != nil {
			t.Fatal(err)
		}
		stored += int64(len(rows))
		unknown := bytes.Contains(a.body, []byte(`"unknown"`))
		if there := len(rows) == 1; there != (a.status == http.StatusAccepted) && !unknown {
			t.Errorf("request %d was answered %d %s; stored: %v", n, a.status, a.body, there)
		}
	}
	if stats, err := db.StatsByContent(t.Context(), []string{film.ID}); err != nil || len(stats) != 1 ||
		stats[0].Count != stored || stats[0].Sum != 4*stored {
		t.Errorf("%d ratings are stored, counted are %+v, %v", stored, stats, err)
	}
}

// BenchmarkOverload finds how many ratings a second 64 clients get accepted that send one after the
// other, then offers three times as many, each when it is due. It reports both rates of acceptance
// and their ratio, which should be 0.8 or more.
func BenchmarkOverload(b *testing.B) {
	address, access, contents := serveBench(b)
	clients := make([]*client, 1024)
	for i := range clients {
		clients[i] = connect(b, address)
	}
	run := func(clients []*client, rate int) (accepted float64) {
		var taken, refused atomic.Int64
		start := time.Now()
		offer(clients, rate, 3*time.Second, func(c *client, n int) bool {
			got := c.send(b, http.MethodPost, "/api/ratings/", access,
				fmt.Sprintf(`{"content":%q,"score":%d}`, contents[n%len(contents)], 1+n%5))
			switch got.status {
			case http.StatusAccepted:
				taken.Add(1)
			case http.StatusServiceUnavailable:
				refused.Add(1)
			default:
				b.Errorf("%d %s", got.status, got.body)
				return false
			}
			return true
		})
		took := time.Since(start)
		b.Logf("%d a second offered: %d accepted, %d refused, in %v", rate, taken.Load(), refused.Load(), took)
		return float64(taken.Load()) / took.Seconds()
	}
	var peak, goodput float64
	for b.Loop() {
		peak = run(clients[:64], 0)
		goodput = run(clients, int(3*peak))
	}
	b.ReportMetric(peak, "peak/s")
	b.ReportMetric(goodput, "goodput/s")
	b.ReportMetric(goodput/peak, "goodput-ratio")
}
