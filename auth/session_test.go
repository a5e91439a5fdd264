package auth_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// A17: an access token lasts an hour, a session 14 days unless it is refreshed, and 30 days in any
// case.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	e := newEnv(t, nil)
	alice := e.register("alice")
	tokens := e.login("alice")
	if tokens.ExpiresIn != time.Hour || tokens.RefreshExpiresIn != 14*day || tokens.User.ID != alice.ID ||
		tokens.Session.Label != "tests" {
		t.Errorf("got %+v", tokens)
	}
	if p := e.mustBe(tokens.Access); p != (auth.Principal{Subject: alice.ID, Session: tokens.Session.ID}) {
		t.Errorf("got %+v", p)
	}
	e.clock.Advance(time.Hour - time.Microsecond)
	e.mustBe(tokens.Access)
	e.clock.Advance(time.Microsecond)
	_, err := e.who(tokens.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)

	idle := e.login("alice")
	e.clock.Advance(14 * day)
	_, err = e.refresh(idle.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)

	tokens = e.login("alice")
	for range 2 {
		e.clock.Advance(14*day - time.Second)
		tokens = e.mustRefresh(tokens.Refresh)
	}
	if want := 2*day + 2*time.Second; tokens.RefreshExpiresIn != want {
		t.Errorf("the session ends in %v, want %v", tokens.RefreshExpiresIn, want)
	}
	e.clock.Advance(2*day - time.Second)
	tokens = e.mustRefresh(tokens.Refresh)
	if tokens.ExpiresIn != 3*time.Second || tokens.RefreshExpiresIn != 3*time.Second {
		t.Errorf("tokens outlive their session: %v, %v", tokens.ExpiresIn, tokens.RefreshExpiresIn)
	}
	e.mustBe(tokens.Access)
	e.clock.Advance(3 * time.Second)
	_, err = e.who(tokens.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	_, err = e.refresh(tokens.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
}

// A17: a user has at most so many sessions; a login beyond them ends the oldest.
func TestMaxSessions(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.MaxSessions = 3 })
	e.register("alice")
	var all []auth.Tokens
	for range 5 {
		all = append(all, e.login("alice"))
		e.clock.Advance(time.Second)
	}
	for i, tokens := range all {
		_, err := e.who(tokens.Access)
		if i < 2 {
			wantErr(t, err, auth.ErrInvalidCredentials)
		} else if err != nil {
			t.Errorf("session %d: %v", i, err)
		}
	}
	sessions, err := e.Sessions(t.Context(), e.mustBe(all[4].Access))
	if err != nil || len(sessions) != 3 || sessions[0].ID != all[4].Session.ID {
		t.Errorf("got %d sessions, %v, want 3, the newest first", len(sessions), err)
	}
}

// A18: refreshing rotates, and a token that was spent, past the grace, ends its session.
func TestRefreshReuse(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	first := e.login("alice")
	e.mustBe(first.Access)
	second := e.mustRefresh(first.Refresh)
	if second.Refresh == first.Refresh || second.Access == first.Access || second.Session.ID != first.Session.ID {
		t.Error("nothing was rotated")
	}
	e.mustBe(second.Access)
	e.clock.Advance(11 * time.Second)
	_, err := e.refresh(first.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	_, err = e.refresh(second.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	for _, access := range []string{first.Access, second.Access} { // at once, though they were just checked
		_, err = e.who(access)
		wantErr(t, err, auth.ErrInvalidCredentials)
	}
	if !strings.Contains(e.log.String(), `"level":"WARN","msg":"auth.refresh_reuse"`) {
		t.Errorf("not logged: %s", e.log)
	}
}

// A18, L3: of the tokens of a session those of its last generations are kept, and reuse of the
// others ends it all the same.
func TestRefreshReuseOfOldTokens(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	first, other := e.login("alice"), e.login("alice")
	all := []auth.Tokens{first}
	for range 100 {
		all = append(all, e.mustRefresh(all[len(all)-1].Refresh))
	}
	for n, tokens := range all {
		hash, ok := auth.ParseToken(tokens.Refresh, auth.Refresh)
		_, err := e.store.GrantByToken(t.Context(), hash)
		if kept := n >= 100-auth.KeptGenerations; !ok || (err == nil) != kept {
			t.Errorf("token %d of 100: %v, want it kept: %v", n, err, kept)
		}
	}
	e.mustBe(all[100-auth.KeptGenerations].Access)

	e.store.on(down("DeleteSessions"))
	_, err := e.refresh(first.Refresh)
	wantErr(t, err, auth.ErrUnavailable)
	e.store.on(nil)
	last := e.mustRefresh(all[100].Refresh)

	for _, token := range []string{first.Refresh, last.Refresh, all[100].Refresh, first.Refresh} {
		_, err = e.refresh(token)
		wantErr(t, err, auth.ErrInvalidToken)
	}
	if n := strings.Count(e.log.String(), `"msg":"auth.refresh_reuse"`); n != 1 {
		t.Errorf("reuse was logged %d times: %s", n, e.log)
	}
	e.mustRefresh(other.Refresh)
}

// A18: a token that is gone is no newer one, whatever the generation of its session.
func TestRefreshReuseOfOldTokensIsNoGrace(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	for generation := range 2 {
		tokens := e.login("alice")
		for range generation {
			tokens = e.mustRefresh(tokens.Refresh)
		}
		_, err := e.refresh(auth.Sibling(tokens.Refresh)) // one that the store does not have
		wantErr(t, err, auth.ErrInvalidToken)
		_, err = e.refresh(tokens.Refresh)
		wantErr(t, err, auth.ErrInvalidToken)
	}
}

// A18: within the grace a spent token works once more, for a client that lost the answer, but only
// the one before the present.
func TestRefreshGrace(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func(*testing.T, *env, auth.Tokens){
		"a lost answer": func(t *testing.T, e *env, first auth.Tokens) {
			e.clock.Advance(30 * time.Minute)
			e.mustRefresh(first.Refresh)
			e.clock.Advance(10 * time.Second)
			again := e.mustRefresh(first.Refresh)
			e.mustBe(again.Access)
			e.clock.Advance(time.Hour)
			e.mustRefresh(again.Refresh)
		},
		"the successor was used": func(t *testing.T, e *env, first auth.Tokens) {
			third := e.mustRefresh(e.mustRefresh(first.Refresh).Refresh)
			e.clock.Advance(3 * time.Second)
			_, err := e.refresh(first.Refresh)
			wantErr(t, err, auth.ErrInvalidToken)
			_, err = e.refresh(third.Refresh)
			wantErr(t, err, auth.ErrInvalidToken)
		},
		"five siblings": func(t *testing.T, e *env, first auth.Tokens) {
			last := e.mustRefresh(first.Refresh)
			for range 5 {
				last = e.mustRefresh(first.Refresh)
			}
			_, err := e.refresh(first.Refresh)
			wantErr(t, err, auth.ErrInvalidToken)
			next := e.mustRefresh(last.Refresh) // refused, but nobody stole anything
			e.mustRefresh(last.Refresh)         // the next generation has siblings of its own
			e.mustRefresh(next.Refresh)
		},
		"it does not last longer for being used": func(t *testing.T, e *env, first auth.Tokens) {
			e.mustRefresh(first.Refresh)
			e.clock.Advance(6 * time.Second)
			e.mustRefresh(first.Refresh)
			e.clock.Advance(6 * time.Second)
			_, err := e.refresh(first.Refresh)
			wantErr(t, err, auth.ErrInvalidToken)
			if !strings.Contains(e.log.String(), "auth.refresh_reuse") {
				t.Error("not taken for reuse")
			}
		},
		"the clock went far back": func(t *testing.T, e *env, first auth.Tokens) {
			e.mustRefresh(first.Refresh)
			e.clock.Advance(-61 * time.Second)
			_, err := e.refresh(first.Refresh)
			wantErr(t, err, auth.ErrInvalidToken)
		},
		"another node's clock is ahead (F18)": func(t *testing.T, e *env, first auth.Tokens) {
			e.mustRefresh(first.Refresh)
			e.clock.Advance(-60 * time.Second)
			e.mustRefresh(first.Refresh)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, nil)
			e.register("alice")
			check(t, e, e.login("alice"))
		})
	}
}

// A18: of many at once, one wins; without a grace the others end the session, with it the siblings
// are counted.
func TestRefreshAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		grace time.Duration
		want  int64
		alive bool
	}{"no grace": {-1, 1, false}, "grace": {0, 6, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, func(c *auth.Config) { c.Grace = tt.grace })
			e.register("alice")
			refresh := e.login("alice").Refresh
			var won atomic.Int64
			var all sync.WaitGroup
			winners := make(chan auth.Tokens, 50)
			for range 50 {
				all.Go(func() {
					tokens, err := e.refresh(refresh)
					if err == nil {
						won.Add(1)
						winners <- tokens
					} else if !errors.Is(err, auth.ErrInvalidToken) {
						t.Errorf("got %v", err)
					}
				})
			}
			all.Wait()
			if won.Load() != tt.want {
				t.Errorf("%d won, want %d", won.Load(), tt.want)
			}
			if _, err := e.refresh((<-winners).Refresh); (err == nil) != tt.alive {
				t.Errorf("refresh afterwards: %v, want alive %v", err, tt.alive)
			}
		})
	}
}

// A18: without a grace, a spent token ends the session at once.
func TestRefreshNoGrace(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.Grace = -1 })
	e.register("alice")
	first := e.login("alice")
	second := e.mustRefresh(first.Refresh)
	_, err := e.refresh(first.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	_, err = e.refresh(second.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
}

// A18: a reuse that cannot be acted upon is unavailability, not an answer.
func TestRefreshReuseStoreDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	first := e.login("alice")
	second := e.mustRefresh(first.Refresh)
	e.clock.Advance(time.Minute)
	e.store.on(down("DeleteSessions"))
	_, err := e.refresh(first.Refresh)
	wantErr(t, err, auth.ErrUnavailable)
	e.store.on(down("GrantByToken"))
	_, err = e.refresh(second.Refresh)
	wantErr(t, err, auth.ErrUnavailable)
	e.store.on(nil)
	e.mustRefresh(second.Refresh)
}

// A18: refresh tokens of disabled users, access tokens and junk are refused; junk is not looked up.
func TestRefreshRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	tokens := e.login("alice")
	before := e.store.calls("GrantByToken")
	for _, junk := range []string{"", "x", tokens.Access, strings.ToUpper(tokens.Refresh), tokens.Refresh + "0",
		tokens.Refresh[:54] + "g"} {
		_, err := e.refresh(junk)
		wantErr(t, err, auth.ErrInvalidToken)
	}
	if n := e.store.calls("GrantByToken") - before; n != 0 {
		t.Errorf("%d look-ups of junk", n)
	}
	unknown, _ := auth.NewToken(auth.Refresh)
	_, err := e.refresh(unknown)
	wantErr(t, err, auth.ErrInvalidToken)
}

// A19: logging out acts at once, also on what was just checked, and on other nodes within 30 s.
func TestLogout(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	mine, other := e.login("alice"), e.login("alice")
	node := e.another(nil)
	me := e.mustBe(mine.Access)
	if _, err := whoAt(t, node, mine.Access); err != nil {
		t.Fatal(err)
	}
	if err := e.Logout(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	_, err := e.who(mine.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	_, err = e.refresh(mine.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	e.mustBe(other.Access)
	e.clock.Advance(30 * time.Second)
	_, err = whoAt(t, node, mine.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	if err := e.Logout(t.Context(), me); err != nil {
		t.Errorf("logging out twice: %v", err)
	}
	wantErr(t, e.Logout(t.Context(), auth.Principal{Subject: me.Subject}), auth.ErrInvalidCredentials)
	e.mustBe(other.Access) // no session of ours is no reason to end them all
}

// A19: with a shared counter, other nodes follow within a second; while it is down, within 30 s as
// without.
func TestLogoutShared(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	node := e.another(func(cfg *auth.Config) { cfg.Counter = c })
	for _, tt := range []struct {
		broken       error
		until, after time.Duration
	}{{nil, auth.CompareEvery, time.Second}, {errors.New("connection refused"), 30 * time.Second, 30 * time.Second}} {
		mine, other := e.login("alice"), e.login("alice")
		c.set(tt.broken, false)
		for _, access := range []string{mine.Access, other.Access} {
			if _, err := whoAt(t, node, access); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Logout(t.Context(), e.mustBe(mine.Access)); err != nil {
			t.Fatal(err)
		}
		e.clock.Advance(tt.until - time.Microsecond)
		if _, err := whoAt(t, node, mine.Access); err != nil {
			t.Errorf("the test shows nothing: the node looked before %v: %v", tt.until, err)
		}
		e.clock.Advance(tt.after - tt.until + time.Microsecond)
		_, err := whoAt(t, node, mine.Access)
		wantErr(t, err, auth.ErrInvalidCredentials)
		if _, err := whoAt(t, node, other.Access); err != nil {
			t.Errorf("another session of the user ended too: %v", err)
		}
	}
}

// A19: unavailability does not pretend to have logged anybody out.
func TestLogoutStoreDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	me := e.mustBe(e.login("alice").Access)
	e.store.on(down())
	wantErr(t, e.Logout(t.Context(), me), auth.ErrUnavailable)
	wantErr(t, e.EndOtherSessions(t.Context(), me), auth.ErrUnavailable)
	wantErr(t, e.EndSession(t.Context(), me, me.Session), auth.ErrUnavailable)
}

// Users end sessions of their own, and of nobody else.
func TestEndSessions(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	e.register("bobby")
	mine, second, third, bob := e.login("alice"), e.login("alice"), e.login("alice"), e.login("bobby")
	me := e.mustBe(mine.Access)
	for _, tokens := range []auth.Tokens{second, third, bob} {
		e.mustBe(tokens.Access)
	}
	for _, id := range []string{bob.Session.ID, "", "..", "nothing", "no\x00id"} {
		wantErr(t, e.EndSession(t.Context(), me, id), auth.ErrNotFound)
	}
	if err := e.EndSession(t.Context(), me, second.Session.ID); err != nil {
		t.Fatal(err)
	}
	_, err := e.who(second.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	e.mustBe(third.Access)
	if err := e.EndOtherSessions(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	_, err = e.who(third.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	e.mustBe(mine.Access)
	e.mustBe(bob.Access)
}

// A label is what a client sends: it is cleaned and cut.
func TestLabel(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	for in, want := range map[string]string{
		"Firefox\r\nX: y\x00\u202e\xff": "FirefoxX: y",
		strings.Repeat("é", 300):        strings.Repeat("é", 200),
		"":                              "",
	} {
		src := from(0)
		src.Label = in
		tokens, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, src)
		if err != nil || tokens.Session.Label != want {
			t.Errorf("%q became %q, want %q (%v)", in, tokens.Session.Label, want, err)
		}
	}
}

// What expired is removed, in pieces, now and every hour, whatever the store does in between.
func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(c *auth.Config) { c.Now = time.Now })
		alice := e.register("alice")
		for range 3 {
			e.login("alice")
		}
		time.Sleep(13 * 24 * time.Hour) // of the bubble's clock
		e.login("alice")
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- e.Run(ctx) }()
		time.Sleep(27 * time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, err := e.store.SessionsByUser(t.Context(), alice.ID); err != nil || len(left) != 1 {
			t.Errorf("%d sessions are left, want the one that goes on (%v)", len(left), err)
		}
	})
}

// However many sessions expired, each call of the store removes a bounded number.
func TestSweepInPieces(t *testing.T) {
	t.Parallel()
	pieces := &sweepStore{Store: newEnv(t, nil).store, left: 2500}
	s, err := auth.New(pieces, auth.Config{Hash: cheap})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context()); n != 2500 || err != nil || pieces.calls != 3 {
		t.Errorf("%d removed in %d calls, %v", n, pieces.calls, err)
	}
}

type sweepStore struct {
	auth.Store
	left, calls int
}

func (s *sweepStore) SweepSessions(_ context.Context, _ time.Time, limit int) (int, error) {
	s.calls++
	n := min(limit, s.left)
	s.left -= n
	return n, nil
}

// olderRelease is a store in which sessions begin as an older release has left them.
type olderRelease struct{ auth.Store }

func (o olderRelease) CreateSession(ctx context.Context, s auth.Session, tokens []auth.Token) error {
	return o.Store.CreateSession(ctx, s, slices.DeleteFunc(slices.Clone(tokens), func(t auth.Token) bool {
		return t.Kind == auth.Family
	}))
}

// A18: of a session that an older release has begun, spent tokens are told from the first refresh
// on.
func TestReuseInASessionOfAnOlderRelease(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.store.Store = olderRelease{e.store.Store}
	e.register("alice")
	mine := e.login("alice")
	all := []string{mine.Refresh}
	for range auth.KeptGenerations + 5 {
		e.clock.Advance(time.Minute)
		mine = e.mustRefresh(all[len(all)-1])
		all = append(all, mine.Refresh)
	}
	if _, err := e.Refresh(t.Context(), all[0], from(1)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("a token that was spent long ago: %v", err)
	}
	if _, err := e.Refresh(t.Context(), mine.Refresh, from(1)); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("the session lives on: %v", err)
	}
}
