package httpapi_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// opener makes an empty store that ends with the test.
type opener func(t testing.TB, now func() time.Time) store.Store

// stores are the ones that every test of behaviour runs on. Without a server, tests on pgstore are
// skipped.
func stores() map[string]opener {
	return map[string]opener{
		"memstore": func(_ testing.TB, now func() time.Time) store.Store {
			return memstore.New(memstore.Config{Now: now})
		},
		"sqlitestore": func(t testing.TB, _ func() time.Time) store.Store {
			s, err := sqlitestore.Open(filepath.Join(t.TempDir(), "test.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s
		},
		"pgstore": func(t testing.TB, _ func() time.Time) store.Store {
			return inSchema(t, postgres(t))
		},
	}
}

// shared is the one handle of all tests: a server has few connections, and each costs more than a
// schema.
var shared struct {
	once sync.Once
	db   *sqlx.DB
	err  error
}

// postgres returns the handle that tests share, which ends with the process. Nothing here is meant
// to survive a power cut, so that commits need not wait for the disk.
func postgres(t testing.TB) *sqlx.DB {
	t.Helper()
	dsn := testserver.Postgres(t)
	shared.once.Do(func() {
		settings := "?options=-c%20synchronous_commit=off"
		switch {
		case !strings.Contains(dsn, "://"):
			settings = " options='-c synchronous_commit=off'"
		case strings.Contains(dsn, "?"):
			settings = "&" + settings[1:]
		}
		shared.db, shared.err = pgstore.Open(dsn+settings, pgstore.OpenConfig{MaxConns: 10,
			StatementTimeout: 30 * time.Second, LockTimeout: 20 * time.Second})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.db
}

// inSchema returns a store in a schema of its own, which is dropped when the test ends.
func inSchema(t testing.TB, db *sqlx.DB) store.Store {
	t.Helper()
	s, _ := newSchema(t, db)
	return s
}

// newSchema is inSchema with the name of the schema.
func newSchema(t testing.TB, db *sqlx.DB) (kept store.Store, schema string) {
	t.Helper()
	schema = "khodnevis_http_" + strings.ToLower(rand.Text())
	s, err := pgstore.New(db, pgstore.Config{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, schema
}

// onStores runs a test on every store.
func onStores(t *testing.T, test func(t *testing.T, open opener)) {
	t.Parallel()
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

// clock is the real one, ahead by what a test moves it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// The people of the tests. Each has an account and is logged in; the empty name is nobody.
const (
	nobody = ""
	ada    = "ada" // the one whose contents and ratings they are
	ben    = "ben" // somebody else
	sam    = "sam" // staff
)

const password = "correct horse battery"

// setup says what a test's server is like.
type setup struct {
	open opener
	// idle: nothing that is accepted gets stored before work is called.
	idle bool
	// beside, if not nil, is another server with the same store, clock and people.
	beside *server
	// config changes what the app is made of; may be nil.
	config func(*khodnevis.Config)
	// mount puts the handler below others; nil: it gets every request.
	mount func(http.Handler) http.Handler
}

// server is a running app behind a listener.
type server struct {
	app    *khodnevis.App
	store  store.Store
	queue  queue.Lagger
	url    string
	prefix string
	clock  *clock
	ids    map[string]string // of the people
	tokens map[string]string // their access tokens

	run func()
}

// serve starts a server that ends with the test.
func serve(t testing.TB, s setup) *server {
	t.Helper()
	now := &clock{}
	if s.beside != nil {
		now = s.beside.clock
		s.open = func(testing.TB, func() time.Time) store.Store { return s.beside.store }
	}
	cfg := khodnevis.Config{
		Now:    now.Now,
		Limits: httpapi.Limits{Off: true, RequestTimeout: time.Minute}, // beside all other tests, a database may be slow
		Auth:   auth.Config{Hash: auth.HashParams{Memory: 8, Time: 1, Threads: 1}, LimitsOff: true, MaxSessions: 1000},
	}
	if s.open == nil {
		s.open = stores()["memstore"]
	}
	cfg.Store = s.open(t, now.Now)
	accepted := memqueue.New(memqueue.Config{})
	cfg.Queue = accepted
	if s.config != nil {
		s.config(&cfg)
	}
	app, err := khodnevis.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = app.Handler()
	if s.mount != nil {
		handler = s.mount(handler)
	}
	web := httptest.NewServer(handler)
	v := &server{app: app, store: cfg.Store.(store.Store), queue: accepted, url: web.URL, prefix: "/api/", clock: now,
		ids: map[string]string{}, tokens: map[string]string{}}
	if cfg.Prefix != "" {
		v.prefix = cfg.Prefix
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	running := false
	v.run = func() {
		running = true
		go func() { done <- app.Run(ctx) }()
	}
	t.Cleanup(func() {
		app.Drain()
		web.Close()
		stop()
		if running {
			if err := <-done; err != nil {
				t.Errorf("the app did not stop cleanly: %v", err)
			}
		}
	})
	if !s.idle {
		v.run()
	}
	if s.beside != nil {
		v.ids, v.tokens = s.beside.ids, s.beside.tokens
	} else if app.Users != nil {
		for _, name := range []string{ada, ben, sam} {
			v.join(t, name)
		}
	}
	return v
}

// work stores what was accepted, from now on.
func (s *server) work() { s.run() }

// join makes an account and logs in.
func (s *server) join(t testing.TB, name string) {
	t.Helper()
	u, err := s.app.Users.Register(t.Context(), auth.Registration{Username: name, Password: password, Email: name +
		"@example.org"}, auth.Source{})
	if err != nil {
		t.Fatalf("register %s: %v", name, err)
	}
	s.ids[name] = u.ID
	if name == sam {
		if err := s.app.Users.SetStaff(t.Context(), name, true); err != nil {
			t.Fatalf("make %s staff: %v", name, err)
		}
	}
	s.login(t, name)
}

// login gives name a fresh token.
func (s *server) login(t testing.TB, name string) {
	t.Helper()
	tokens, err := s.app.Users.Login(t.Context(), auth.Credentials{Username: name, Password: password},
		auth.Source{Label: "test"})
	if err != nil {
		t.Fatalf("log %s in: %v", name, err)
	}
	s.tokens[name] = tokens.Access
}

// write makes a content by ada and returns its identifier.
func (s *server) write(t testing.TB, title string) string {
	t.Helper()
	c, err := s.app.Contents.Create(t.Context(), s.ids[ada], content.Draft{Title: title, Description: "About " + title})
	if err != nil {
		t.Fatalf("write %q: %v", title, err)
	}
	return c.ID
}

// rate stores a rating, waits until the numbers that are shown are those stored with it, and
// returns its identifier.
func (s *server) rate(t *testing.T, as, contentID string, score int) string {
	t.Helper()
	a := s.insist(t, request{method: "PUT", path: "contents/" + contentID + "/rating/", as: as,
		body: fmt.Sprintf(`{"score":%d}`, score), prefer: "wait=10"})
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		t.Fatalf("%s rates %s: %s", as, contentID, a)
	}
	s.settle(t, contentID)
	return contentID + ":" + s.ids[as]
}

// settle waits until the numbers of a content that are shown are those that are stored. They may be
// older for a moment.
func (s *server) settle(t *testing.T, contentID string) {
	t.Helper()
	testutil.Eventually(t, 30*time.Second, "the numbers are those that are stored", func() bool {
		stored, err := s.store.StatsByContent(t.Context(), []string{contentID})
		if err != nil {
			t.Fatal(err)
		}
		shown, err := s.app.Ratings.Stats(t.Context(), []string{contentID})
		if err != nil {
			t.Fatal(err)
		}
		return len(stored) == 0 || shown[contentID].Revision >= stored[0].Revision
	})
}

// fold folds the scores of all contents, so that nothing changes by itself any more.
func (s *server) fold(t *testing.T, contentID string) {
	t.Helper()
	a := s.do(t, request{method: "POST", path: "contents/" + contentID + "/stats/recalculate/", as: sam})
	if done := s.do(t, request{path: a.header.Get("Location"), as: sam, prefer: "wait=10"}); done.at(t,
		"state") != "SUCCESS" {
		t.Fatalf("recalculate: %s", done)
	}
	// by the worker, which may have claimed it a moment before
	testutil.Eventually(t, 30*time.Second, "the score is folded", func() bool {
		stored, err := s.store.StatsByContent(t.Context(), []string{contentID})
		if err != nil {
			t.Fatal(err)
		}
		return len(stored) == 0 || stored[0].Score.Computed
	})
	s.settle(t, contentID)
}

// lag returns how many messages wait to be stored.
func (s *server) lag(t *testing.T) int64 {
	t.Helper()
	n, err := s.queue.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
