package khodnevis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// fleet is what happened in three processes that share a store.
type fleet struct {
	claims chan claim
	trap   atomic.Bool // the next run does not end
	stuck  chan claim  // it
}

// claim is a tick of the recalculation and who does it.
type claim struct {
	at     time.Time
	member int
}

// member is the store as one process of a fleet sees it.
type member struct {
	store.Store
	*fleet
	number int
	last   claim // of the goroutine that does the recalculation
	killed chan struct{}
	kill   func()
}

var errKilled = errors.New("killed")

func (m *member) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	claimed, err := m.Store.ClaimLease(ctx, job, at, lease)
	if claimed && job == task.Recalculate {
		m.last = claim{at, m.number}
		m.claims <- m.last
	}
	return claimed, err
}

func (m *member) RefreshScores(ctx context.Context, limit int, fold func(rating.History) score.Score) ([]rating.Stats,
	error) {
	if m.trap.CompareAndSwap(true, false) {
		m.stuck <- m.last
		<-m.killed
		return nil, errKilled
	}
	return m.Store.RefreshScores(ctx, limit, fold)
}

// ReleaseLease does nothing for a process that is no more.
func (m *member) ReleaseLease(ctx context.Context, job string, at time.Time) error {
	select {
	case <-m.killed:
		return errKilled
	default:
		return m.Store.ReleaseLease(ctx, job, at)
	}
}

// sharedStores open one database several times, as processes do.
var sharedStores = map[string]func(t *testing.T, n int) []store.Store{
	"sqlitestore": func(t *testing.T, n int) []store.Store {
		path := filepath.Join(t.TempDir(), "shared.db")
		var all []store.Store
		for range n {
			s, err := sqlitestore.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			all = append(all, s)
		}
		return all
	},
	"pgstore": func(t *testing.T, n int) []store.Store {
		dsn, schema := testserver.Postgres(t), "khodnevis_cron_"+strings.ToLower(rand.Text())
		var all []store.Store
		for i := range n {
			db, err := pgstore.Open(dsn, pgstore.OpenConfig{MaxConns: 4})
			if err != nil {
				t.Fatal(err)
			}
			s, err := pgstore.New(db, pgstore.Config{Schema: schema})
			if err == nil {
				err = s.Migrate(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if i == 0 { // the last one to end
					if _, err := db.Exec(`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`); err != nil {
						t.Error(err)
					}
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			all = append(all, s)
		}
		return all
	},
}

// TestCronOfAFleet: of three processes one does each tick, and one that is killed while it does
// holds up nobody.
func TestCronOfAFleet(t *testing.T) {
	t.Parallel()
	for name, open := range sharedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fleet{claims: make(chan claim, 1000), stuck: make(chan claim, 1)}
			var members []*member
			var running sync.WaitGroup
			var stops []context.CancelFunc
			for i, s := range open(t, 3) {
				m := &member{Store: s, fleet: f, number: i, killed: make(chan struct{})}
				m.kill = sync.OnceFunc(func() { close(m.killed) })
				app, err := khodnevis.New(khodnevis.Config{Store: m, Queue: memqueue.New(memqueue.Config{}),
					Recalculate: "@every 1s"})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(context.Background())
				running.Go(func() {
					if err := app.Run(ctx); err != nil {
						t.Error(err)
					}
				})
				members, stops = append(members, m), append(stops, stop)
			}
			t.Cleanup(func() {
				for i, m := range members {
					m.kill()
					stops[i]()
				}
				running.Wait()
			})
			timeout := time.After(60 * time.Second)
			var last claim
			next := func() claim {
				t.Helper()
				select {
				case c := <-f.claims:
					if !c.at.After(last.at) {
						t.Errorf("the tick at %s is done by %d, after the one at %s by %d", c.at, c.member, last.at, last.member)
					}
					last = c
				case <-timeout:
					t.Fatalf("no tick since %s", last.at)
				}
				return last
			}
			for range 3 {
				next()
			}
			f.trap.Store(true)
			var held claim
			select {
			case held = <-f.stuck:
			case <-timeout:
				t.Fatal("nobody runs into the trap")
			}
			members[held.member].kill()
			stops[held.member]()
			for last.at.Before(held.at) {
				next()
			}
			if after := next(); after.member == held.member {
				t.Errorf("the tick at %s is done by a process that was killed", after.at)
			} else {
				t.Logf("%d was killed with the tick at %s, %d did the one %s later", held.member, held.at.Format(time.TimeOnly),
					after.member, after.at.Sub(held.at))
			}
		})
	}
}
