package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/store/memstore"
)

const password = "correct horse battery"

// cheap makes tests fast; nobody should store such hashes.
var cheap = auth.HashParams{Memory: 8, Time: 1, Threads: 1}

// faultStore fails where a test says so.
type faultStore struct {
	auth.Store
	mu   sync.Mutex
	fail func(method string) error
	n    map[string]int
}

func (f *faultStore) on(fail func(method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faultStore) calls(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n[method]
}

func (f *faultStore) call(method string) error {
	f.mu.Lock()
	fail := f.fail
	f.n[method]++
	f.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(method)
}

func (f *faultStore) CreateUser(ctx context.Context, u auth.User) error {
	if err := f.call("CreateUser"); err != nil {
		return err
	}
	return f.Store.CreateUser(ctx, u)
}

func (f *faultStore) UserByName(ctx context.Context, canonical string) (auth.User, error) {
	if err := f.call("UserByName"); err != nil {
		return auth.User{}, err
	}
	return f.Store.UserByName(ctx, canonical)
}

func (f *faultStore) UpdateUser(ctx context.Context, u auth.User, end auth.SessionFilter) error {
	if err := f.call("UpdateUser"); err != nil {
		return err
	}
	return f.Store.UpdateUser(ctx, u, end)
}

func (f *faultStore) CreateSession(ctx context.Context, s auth.Session, tokens []auth.Token) error {
	if err := f.call("CreateSession"); err != nil {
		return err
	}
	return f.Store.CreateSession(ctx, s, tokens)
}

func (f *faultStore) GrantByToken(ctx context.Context, hash auth.Hash) (auth.Grant, error) {
	if err := f.call("GrantByToken"); err != nil {
		return auth.Grant{}, err
	}
	return f.Store.GrantByToken(ctx, hash)
}

func (f *faultStore) DeleteSessions(ctx context.Context, filter auth.SessionFilter) (int, error) {
	if err := f.call("DeleteSessions"); err != nil {
		return 0, err
	}
	return f.Store.DeleteSessions(ctx, filter)
}

// down fails every call, or those of the named methods.
func down(methods ...string) func(string) error {
	return func(method string) error {
		if len(methods) > 0 && !slices.Contains(methods, method) {
			return nil
		}
		return auth.ErrUnavailable
	}
}

// env is a service with everything around it.
type env struct {
	*auth.Service
	t     *testing.T
	store *faultStore
	clock *testutil.Clock
	log   *testutil.Log
}

func newEnv(t *testing.T, change func(*auth.Config)) *env {
	t.Helper()
	e := &env{t: t, store: &faultStore{Store: memstore.New(memstore.Config{}), n: map[string]int{}}, clock: newClock(),
		log: &testutil.Log{}}
	e.Service = e.another(change)
	return e
}

// another is a service of another process on the same store.
func (e *env) another(change func(*auth.Config)) *auth.Service {
	e.t.Helper()
	cfg := auth.Config{Now: e.clock.Now, Hash: cheap, Logger: slog.New(slog.NewJSONHandler(e.log, nil)),
		HashWait: time.Minute, HashQueue: 10_000}
	if change != nil {
		change(&cfg)
	}
	s, err := auth.New(e.store, cfg)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// from is a source in a /24 of its own for every number.
func from(n int) auth.Source {
	return auth.Source{IP: netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 7}), Label: "tests"}
}

// elsewhere is a source in a /48 of its own for every number.
func elsewhere(n int) auth.Source {
	ip := [16]byte{0x20, 0x01, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 15: 1}
	return auth.Source{IP: netip.AddrFrom16(ip)}
}

func (e *env) register(name string) auth.User {
	e.t.Helper()
	// Far from the sources that tests use, and never the same twice, so that registering throttles
	// and trusts nobody.
	src := auth.Source{IP: netip.AddrFrom4([4]byte{172, byte(len(name)), name[0], name[len(name)-1]})}
	u, err := e.Register(e.t.Context(), auth.Registration{Username: name, Password: password}, src)
	if err != nil {
		e.t.Fatalf("register %s: %v", name, err)
	}
	return u
}

func (e *env) login(name string) auth.Tokens {
	e.t.Helper()
	t, err := e.Login(e.t.Context(), auth.Credentials{Username: name, Password: password}, from(0))
	if err != nil {
		e.t.Fatalf("log in as %s: %v", name, err)
	}
	return t
}

func (e *env) wrong(name string, src auth.Source) error {
	_, err := e.Login(e.t.Context(), auth.Credentials{Username: name, Password: "wrong wrong wrong"}, src)
	return err
}

// who authenticates with an access token.
func (e *env) who(access string) (auth.Principal, error) { return whoAt(e.t, e.Service, access) }

func whoAt(t *testing.T, s *auth.Service, access string) (auth.Principal, error) {
	t.Helper()
	return s.Authenticate(t.Context(), bearer(t, "Bearer "+access))
}

func (e *env) mustBe(access string) auth.Principal {
	e.t.Helper()
	p, err := e.who(access)
	if err != nil {
		e.t.Fatalf("authenticate: %v", err)
	}
	return p
}

func (e *env) refresh(token string) (auth.Tokens, error) {
	return e.Refresh(e.t.Context(), token, from(0))
}

func (e *env) mustRefresh(token string) auth.Tokens {
	e.t.Helper()
	t, err := e.refresh(token)
	if err != nil {
		e.t.Fatalf("refresh: %v", err)
	}
	return t
}

func bearer(t *testing.T, values ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/api/users/me/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		r.Header.Add("Authorization", v)
	}
	return r
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

// wantField checks that err refuses exactly one field, under a code.
func wantField(t *testing.T, err error, field, code string) {
	t.Helper()
	var bad *auth.ValidationError
	if !errors.As(err, &bad) || len(bad.Fields) != 1 || bad.Fields[0].Name != field || bad.Fields[0].Code != code {
		t.Fatalf("got %v (%+v), want %s on %s", err, bad, code, field)
	}
}

// wantThrottled checks that err asks to wait between least and most.
func wantThrottled(t *testing.T, err error, least, most time.Duration) {
	t.Helper()
	var throttled *auth.ThrottledError
	if !errors.As(err, &throttled) {
		t.Fatalf("got %v, want to be throttled", err)
	}
	if throttled.RetryAfter < least || throttled.RetryAfter > most {
		t.Fatalf("retry after %v, want %v to %v", throttled.RetryAfter, least, most)
	}
}

// newClock returns a clock at some time.
func newClock() *testutil.Clock {
	return testutil.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
}

// events returns the names of what was logged as JSON, in order.
func events(t *testing.T, log *testutil.Log) []string {
	t.Helper()
	var names []string
	for d := json.NewDecoder(strings.NewReader(log.String())); d.More(); {
		var line struct{ Msg string }
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		names = append(names, line.Msg)
	}
	return names
}
