package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// loginFrom logs in with the right password.
func (e *env) loginFrom(name string, src auth.Source) error {
	_, err := e.Login(e.t.Context(), auth.Credentials{Username: name, Password: password}, src)
	return err
}

// L7: logins with right passwords take a fair share of the waiting slots, so that logins from other
// networks are admitted.
func TestHashShares(t *testing.T) {
	t.Parallel()
	at := func(ip string) auth.Source { return auth.Source{IP: netip.MustParseAddr(ip)} }
	login := func(src auth.Source) func(*env) error {
		return func(e *env) error { return e.loginFrom("alice", src) }
	}
	change := func(user *auth.User, src auth.Source) func(*env) error {
		return func(e *env) error {
			_, err := e.ChangeEmail(e.t.Context(), auth.Principal{Subject: user.ID}, "a@example.org", password, src)
			return err
		}
	}
	var alice, bobby auth.User
	for name, tt := range map[string]struct {
		first, second, refused, elsewhere func(*env) error
	}{
		"IPv4 /24": {login(at("192.0.2.1")), login(at("192.0.2.2")), login(at("::ffff:192.0.2.3")), login(at("192.0.3.1"))},
		"IPv6 /48": {login(at("2001:db8:1:1::1")), login(at("2001:db8:1:2::1")), login(at("2001:db8:1:3::1")),
			login(at("2001:db8:2::1"))},
		"user":    {change(&alice, from(1)), change(&alice, from(2)), change(&alice, from(3)), change(&bobby, from(3))},
		"nowhere": {login(auth.Source{}), login(auth.Source{}), login(auth.Source{}), login(from(1))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, func(c *auth.Config) { c.MaxHashes, c.HashQueue = 1, 16 }) // a share is 2
				alice, bobby = e.register("alice"), e.register("bobby")
				gate := make(chan struct{})
				e.OnHash(func(next func()) { <-gate; next() })
				var all sync.WaitGroup
				start := func(call func(*env) error) {
					all.Go(func() {
						if err := call(e); err != nil {
							t.Error(err)
						}
					})
					synctest.Wait()
				}
				start(tt.first)
				start(tt.second)
				wantErr(t, tt.refused(e), auth.ErrBusy)
				start(tt.elsewhere)
				close(gate)
				all.Wait()
				if err := tt.refused(e); err != nil {
					t.Errorf("the places were not given back: %v", err)
				}
			})
		})
	}
}

// L7: while one place fills its share with right passwords, logins from elsewhere work.
func TestRightPasswordsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(c *auth.Config) { c.MaxHashes, c.HashQueue, c.HashWait, c.Now = 1, 64, time.Second, time.Now })
		for n := range 5 {
			e.register(fmt.Sprint("attacker", n))
		}
		e.register("alice")
		e.OnHash(func(next func()) {
			time.Sleep(50 * time.Millisecond) // of the bubble's clock
			next()
		})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for n := range 80 {
			all.Go(func() {
				for ctx.Err() == nil {
					_, _ = e.Login(ctx, auth.Credentials{Username: fmt.Sprint("attacker", n%5), Password: password}, from(0))
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		for n := range 10 {
			time.Sleep(500 * time.Millisecond)
			if err := e.loginFrom("alice", from(1)); err != nil {
				t.Errorf("login %d: %v", n, err)
			}
		}
		cancel()
		all.Wait()
	})
}

// A8, A13: fifty people behind one address log in at once. Some are asked to come again, and all
// are in within seconds.
func TestOfficeLogsIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(c *auth.Config) { c.MaxHashes, c.HashQueue, c.HashWait, c.Now = 1, 64, time.Second, time.Now })
		const people = 50
		for n := range people {
			e.register(fmt.Sprintf("%cperson%d", 'a'+n/2, n%2))
		}
		e.OnHash(func(next func()) {
			time.Sleep(50 * time.Millisecond) // of the bubble's clock
			next()
		})
		start := time.Now()
		var all sync.WaitGroup
		for n := range people {
			all.Go(func() {
				for {
					err := e.loginFrom(fmt.Sprintf("%cperson%d", 'a'+n/2, n%2), from(0))
					var busy *auth.BusyError
					if err == nil {
						return
					}
					if !errors.As(err, &busy) {
						t.Errorf("person %d: %v", n, err)
						return
					}
					time.Sleep(busy.RetryAfter)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A24, L7: what is right is bounded as well, since it costs a hash: of one account, and of one
// place.
func TestRightPasswordsAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	alice := e.register("alice")
	hashes, _ := e.CountHashes()
	for n := range 60 {
		if n%2 == 0 {
			e.login("alice")
		} else if _, err := e.ChangeEmail(t.Context(), auth.Principal{Subject: alice.ID}, "a@example.org", password,
			from(n)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 50 {
		wantThrottled(t, e.loginFrom("ALICE", from(n)), time.Minute, time.Minute)
		_, err := e.ChangeEmail(t.Context(), auth.Principal{Subject: alice.ID}, "a@example.org", password, from(n))
		wantThrottled(t, err, time.Minute, time.Minute)
	}
	if n := hashes.Load(); n != 60 {
		t.Errorf("%d hashes of one account, want 60", n)
	}
	e.clock.Advance(time.Minute)
	person := func(n int) string { return fmt.Sprintf("%cperson", 'a'+n) }
	for n := range 12 {
		e.register(person(n))
		if err := e.loginFrom(person(n), from(300)); err != nil {
			t.Fatal(err)
		}
	}
	e.clock.Advance(time.Minute)
	for n := range 600 {
		if err := e.loginFrom(person(n%11), from(300)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{person(11), "alice"} { // where it is trusted, and where it is not
		wantThrottled(t, e.loginFrom(name, from(300)), time.Minute, time.Minute)
	}
	if err := e.loginFrom("alice", from(301)); err != nil {
		t.Errorf("another place: %v", err)
	}
	e.clock.Advance(time.Minute)
	if err := e.loginFrom("alice", from(300)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// A8, A13: an attempt that there is no room for counts for its place, and neither for the account
// nor as a failure.
func TestNoRoomIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(c *auth.Config) { c.MaxHashes, c.HashQueue = 1, 1 })
		e.register("alice")
		gate := make(chan struct{})
		e.OnHash(func(next func()) { <-gate; next() })
		var all sync.WaitGroup
		for n := range 2 { // one hashes, one waits
			all.Go(func() {
				if err := e.wrong("nobody_here", from(n)); !errors.Is(err, auth.ErrInvalidLogin) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		var refused [3]error
		for range 100 {
			refused[0] = errors.Join(refused[0], e.wrong("alice", from(2)))
		}
		refused[1], refused[2] = e.wrong("alice", from(2)), e.wrong("alice", from(3))
		asked := e.store.calls("UserByName")
		close(gate)
		all.Wait()
		wantErr(t, refused[0], auth.ErrBusy)
		if asked != 2 {
			t.Errorf("the store was asked for %d users, want those of the 2 who found a place", asked)
		}
		wantThrottled(t, refused[1], time.Minute, time.Minute)
		wantErr(t, refused[2], auth.ErrBusy)
		wantThrottled(t, e.wrong("alice", from(2)), time.Minute, time.Minute)
		e.clock.Advance(time.Minute)
		for range 5 {
			wantErr(t, e.wrong("alice", from(2)), auth.ErrInvalidLogin)
		}
		if n := e.Counts(); n > 10 {
			t.Errorf("%d counts of 105 attempts from 4 places", n)
		}
	})
}
