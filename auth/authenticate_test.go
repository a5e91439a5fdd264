package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// A16, A21: a token comes in one Authorization header and nowhere else.
func TestAuthenticateHeader(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	tokens := e.login("alice")
	for name, tt := range map[string]struct {
		values []string
		want   error
	}{
		"none":            {nil, auth.ErrNoCredentials},
		"good":            {[]string{"Bearer " + tokens.Access}, nil},
		"lower case":      {[]string{"bearer " + tokens.Access}, nil},
		"upper case":      {[]string{"BEARER " + tokens.Access}, nil},
		"two spaces":      {[]string{"Bearer  " + tokens.Access}, nil},
		"empty":           {[]string{""}, auth.ErrInvalidCredentials},
		"no token":        {[]string{"Bearer"}, auth.ErrInvalidCredentials},
		"no scheme":       {[]string{tokens.Access}, auth.ErrInvalidCredentials},
		"another scheme":  {[]string{"Basic dXNlcjpwYXNz"}, auth.ErrInvalidCredentials},
		"Token":           {[]string{"Token " + tokens.Access}, auth.ErrInvalidCredentials},
		"twice":           {[]string{"Bearer " + tokens.Access, "Bearer " + tokens.Access}, auth.ErrInvalidCredentials},
		"list":            {[]string{"Bearer " + tokens.Access + ", Bearer " + tokens.Access}, auth.ErrInvalidCredentials},
		"refresh token":   {[]string{"Bearer " + tokens.Refresh}, auth.ErrInvalidCredentials},
		"a mebibyte":      {[]string{"Bearer " + strings.Repeat("x", 1<<20)}, auth.ErrInvalidCredentials},
		"one sign off":    {[]string{"Bearer " + tokens.Access[:54] + "x"}, auth.ErrInvalidCredentials},
		"good with comma": {[]string{"Bearer " + tokens.Access + ","}, auth.ErrInvalidCredentials},
	} {
		before := e.store.calls("GrantByToken")
		p, err := e.Authenticate(t.Context(), bearer(t, tt.values...))
		if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
		if err != nil && (p != auth.Principal{} || e.store.calls("GrantByToken") != before) {
			t.Errorf("%s: principal %+v, or a look-up of junk", name, p)
		}
	}
	r := bearer(t)
	r.URL.RawQuery = "access_token=" + tokens.Access + "&token=" + tokens.Access
	r.AddCookie(&http.Cookie{Name: "access", Value: tokens.Access})
	_, err := e.Authenticate(t.Context(), r)
	wantErr(t, err, auth.ErrNoCredentials)
}

// A20: a good token is looked up every 30 s, a bad one every 5 s.
func TestTokenCache(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	good := e.login("alice").Access
	bad, _ := auth.NewToken(auth.Access)
	lookups := func(token string) int {
		before := e.store.calls("GrantByToken")
		for range 10 {
			if _, err := e.who(token); (err == nil) != (token == good) {
				t.Errorf("got %v", err)
			}
		}
		return e.store.calls("GrantByToken") - before
	}
	for _, step := range []struct {
		token string
		wait  time.Duration
		want  int
	}{
		{good, 0, 1}, {good, 0, 0}, {good, 30*time.Second - 1000, 0}, {good, 1000, 1}, {good, 0, 0},
		{bad, 0, 1}, {bad, 0, 0}, {bad, 5*time.Second - 1000, 0}, {bad, 1000, 1},
	} {
		e.clock.Advance(step.wait)
		if n := lookups(step.token); n != step.want {
			t.Errorf("%d look-ups, want %d: %+v", n, step.want, step)
		}
	}
}

// A20: the cache is bounded, for tokens that are good and for those that are not.
func TestTokenCacheBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	access := e.login("alice").Access
	for n := range auth.MaxKnown + 1000 {
		if n%(auth.MaxKnown/2) == 0 {
			e.mustBe(access) // used again and again, so it stays
		}
		e.SeeToken(auth.Hash{byte(n), byte(n >> 8), byte(n >> 16), 1}, auth.Principal{Subject: fmt.Sprint(n % 3000)}, true)
		if n < auth.MaxUnknown+1000 {
			e.SeeToken(auth.Hash{byte(n), byte(n >> 8), byte(n >> 16), 2}, auth.Principal{}, false)
		}
	}
	if good, bad := e.Known(); good != auth.MaxKnown || bad != auth.MaxUnknown {
		t.Errorf("%d good and %d bad tokens are kept", good, bad)
	}
	if n := e.store.calls("GrantByToken"); n != 1 {
		t.Errorf("%d look-ups of a token in use, want 1", n)
	}
}

// A20: many requests with one token at the same time ask the store once.
func TestTokenCacheSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, nil)
		e.register("alice")
		access := e.login("alice").Access
		gate := make(chan struct{})
		e.store.on(func(string) error { <-gate; return nil })
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				if _, err := e.who(access); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		if n := e.store.calls("GrantByToken"); n != 1 {
			t.Errorf("%d look-ups, want 1", n)
		}
	})
}

// A20: one caller that goes away does not take the answer from those who wait with it.
func TestTokenCheckOutlivesCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, nil)
		e.register("alice")
		access := e.login("alice").Access
		gate := make(chan struct{})
		e.store.on(func(string) error { <-gate; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := e.Authenticate(ctx, bearer(t, "Bearer "+access)); !errors.Is(err, context.Canceled) ||
				!errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("the one that left: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := e.who(access); err != nil {
				t.Errorf("the one that stayed: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		all.Wait()
	})
}

// A20: while the store is down, a token that it vouched for passes for ten minutes more, never past
// its expiry; any other is unavailable, and not invalid.
func TestStaleTokens(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		stale time.Duration
		after time.Duration
		want  error
	}{
		"fresh":                     {0, 29 * time.Second, nil},
		"ten minutes":               {0, 10 * time.Minute, nil},
		"past ten minutes":          {0, 10*time.Minute + time.Microsecond, auth.ErrUnavailable},
		"expired":                   {2 * time.Hour, time.Hour, auth.ErrInvalidCredentials},
		"off, but checked just now": {-1, 29 * time.Second, nil},
		"off":                       {-1, 30 * time.Second, auth.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, func(c *auth.Config) { c.StaleTokens = tt.stale })
			e.register("alice")
			access := e.login("alice").Access
			e.mustBe(access)
			e.store.on(down())
			e.clock.Advance(tt.after)
			for range 3 {
				if _, err := e.who(access); !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
			}
			unknown, _ := auth.NewToken(auth.Access)
			_, err := e.who(unknown)
			wantErr(t, err, auth.ErrUnavailable)
			if errors.Is(err, auth.ErrInvalidCredentials) {
				t.Error("unknown and unavailable at once")
			}
			e.store.on(nil)
			_, err = e.who(unknown)
			wantErr(t, err, auth.ErrInvalidCredentials) // unavailability is not remembered
		})
	}
}

// A20: what a check found to have ended is not accepted because of what an older one said.
func TestStaleTokenEnded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	tokens := e.login("alice")
	me := e.mustBe(tokens.Access)
	if err := e.another(nil).Logout(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	e.clock.Advance(time.Minute)
	_, err := e.who(tokens.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	e.clock.Advance(time.Minute)
	e.store.on(down())
	_, err = e.who(tokens.Access)
	wantErr(t, err, auth.ErrUnavailable)
}

// A20: whatever goes wrong with a check is unavailable: an error of any kind, a panic, silence.
func TestTokenCheckFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(string) error{
		"unknown error": func(string) error { return errors.New("pq: something") },
		"panic":         func(string) error { panic("nil map") },
		"deadline":      func(string) error { return context.DeadlineExceeded },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, nil)
			e.register("alice")
			access := e.login("alice").Access
			e.store.on(fail)
			_, err := e.who(access)
			wantErr(t, err, auth.ErrUnavailable)
		})
	}
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, func(c *auth.Config) { c.Now = time.Now })
			e.register("alice")
			known, unknown := e.login("alice").Access, e.login("alice").Access
			e.mustBe(known)
			time.Sleep(time.Minute) // of the bubble's clock
			gate := make(chan struct{})
			e.store.on(func(string) error { <-gate; return nil }) // ignores its context, as drivers do
			start := time.Now()
			_, err := e.who(unknown)
			wantErr(t, err, auth.ErrUnavailable)
			e.mustBe(known)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("answered after %v, want 2s at most for both", took)
			}
			close(gate)
		})
	})
}

// A19: a check that began before a logout does not bring the token back after it.
func TestLogoutDuringCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, nil)
		e.register("alice")
		tokens := e.login("alice")
		me := auth.Principal{Subject: tokens.User.ID, Session: tokens.Session.ID}
		slow := &slowGrants{Store: e.store, read: make(chan struct{}), answer: make(chan struct{})}
		s, err := auth.New(slow, auth.Config{Now: e.clock.Now, Hash: cheap})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { _, _ = whoAt(t, s, tokens.Access) }) // began before, may say either
		<-slow.read
		if err := s.Logout(t.Context(), me); err != nil {
			t.Error(err)
		}
		slow.off.Store(true)
		if _, err := whoAt(t, s, tokens.Access); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("during the check: %v", err)
		}
		close(slow.answer)
		all.Wait()
		if _, err := whoAt(t, s, tokens.Access); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("after the check: %v", err)
		}
	})
}

// slowGrants reads a grant, and answers later.
type slowGrants struct {
	auth.Store
	read, answer chan struct{}
	off          atomic.Bool
}

func (s *slowGrants) GrantByToken(ctx context.Context, h auth.Hash) (auth.Grant, error) {
	g, err := s.Store.GrantByToken(ctx, h)
	if !s.off.Load() {
		close(s.read)
		<-s.answer
	}
	return g, err
}

// A Service may be used concurrently: everything at once, for the race detector.
func TestServiceAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.LimitsOff = true })
	e.register("alice")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				tokens, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
				if err != nil {
					t.Error(err)
					return
				}
				me, err := e.who(tokens.Access)
				if err != nil && !errors.Is(err, auth.ErrInvalidCredentials) { // another one may have ended all sessions
					t.Error(err)
				}
				_, _ = e.refresh(tokens.Refresh)
				_ = e.Logout(t.Context(), me)
				_ = e.SetStaff(t.Context(), "alice", true)
				_ = e.SetStaff(t.Context(), "alice", false)
				runtime.Gosched()
			}
		})
	}
	all.Wait()
}
