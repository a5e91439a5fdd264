package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// A9: an unknown name, a wrong password and a disabled account answer alike, after the same work.
func TestFailedLoginsRevealNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	e.register("disabled")
	if err := e.SetDisabled(t.Context(), "disabled", true); err != nil {
		t.Fatal(err)
	}
	hashes, _ := e.CountHashes()
	for name, c := range map[string]auth.Credentials{
		"unknown":            {Username: "nobody_here", Password: password},
		"no name at all":     {Username: "no name\x00 at all", Password: password},
		"wrong":              {Username: "alice", Password: "wrong wrong wrong"},
		"disabled":           {Username: "disabled", Password: password},
		"disabled and wrong": {Username: "disabled", Password: "wrong wrong wrong"},
		"too long":           {Username: "alice", Password: strings.Repeat(password, 1000)},
		"bad UTF-8":          {Username: "alice", Password: password + "\xff"},
	} {
		before := hashes.Load()
		tokens, err := e.Login(t.Context(), c, from(1))
		if err != auth.ErrInvalidLogin { // the very value: a wrapped one could tell
			t.Errorf("%s: %v", name, err)
		}
		if tokens != (auth.Tokens{}) {
			t.Errorf("%s: got tokens", name)
		}
		if n := hashes.Load() - before; n != 1 {
			t.Errorf("%s: %d hashes, want 1", name, n)
		}
		e.clock.Advance(time.Hour) // past every throttle
	}
}

func TestLoginBlank(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	hashes, _ := e.CountHashes()
	_, err := e.Login(t.Context(), auth.Credentials{Username: " ", Password: password}, from(0))
	wantField(t, err, "username", "blank")
	_, err = e.Login(t.Context(), auth.Credentials{Username: "alice"}, from(0))
	wantField(t, err, "password", "blank")
	if n := hashes.Load(); n != 0 {
		t.Errorf("%d hashes for nothing", n)
	}
}

// A8: as many hashes at once as configured, so many waiting, and the rest is refused at once.
func TestHashLimit(t *testing.T) {
	t.Parallel()
	const slots, queue = 2, 8
	e := newEnv(t, func(c *auth.Config) { c.MaxHashes, c.HashQueue, c.LimitsOff = slots, queue, true })
	total, most := e.CountHashes()
	gate := make(chan struct{})
	e.OnHash(func(next func()) { <-gate; next() })

	var busy, invalid atomic.Int64
	var all sync.WaitGroup
	for range slots + queue {
		all.Go(func() {
			if err := e.wrong("alice", from(0)); errors.Is(err, auth.ErrInvalidLogin) {
				invalid.Add(1)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); e.Hashing() < queue; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", e.Hashing(), queue)
		}
	}
	for range 500 {
		all.Go(func() {
			err := e.wrong("alice", from(0))
			var b *auth.BusyError
			if errors.Is(err, auth.ErrBusy) && errors.As(err, &b) && b.RetryAfter >= time.Second &&
				b.RetryAfter <= 5*time.Second {
				busy.Add(1)
			}
			if busy.Load() == 500 {
				close(gate)
			}
		})
	}
	all.Wait()
	if busy.Load() != 500 || invalid.Load() != slots+queue {
		t.Errorf("%d busy, %d hashed, want 500 and %d", busy.Load(), invalid.Load(), slots+queue)
	}
	if n := e.Hashing(); n != 0 {
		t.Errorf("%d wait for ever", n)
	}
	if total.Load() != slots+queue || most.Load() > slots {
		t.Errorf("%d hashes, %d at once, want %d, %d", total.Load(), most.Load(), slots+queue, slots)
	}
}

// A8: nobody waits for a hash longer than configured, or than its context; and registering and
// changing a password wait in the same queue.
func TestHashWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(c *auth.Config) { c.MaxHashes, c.HashWait = 1, time.Second })
		alice := e.register("alice")
		gate := make(chan struct{})
		e.OnHash(func(next func()) { <-gate; next() })
		var all sync.WaitGroup
		all.Go(func() {
			if err := e.wrong("alice", from(0)); !errors.Is(err, auth.ErrInvalidLogin) {
				t.Errorf("the one that hashes: %v", err)
			}
		})
		synctest.Wait()

		me := auth.Principal{Subject: alice.ID, Session: "s"}
		start := time.Now()
		for what, call := range map[string]func(context.Context) error{
			"login": func(ctx context.Context) error {
				_, err := e.Login(ctx, auth.Credentials{Username: "alice", Password: password}, from(1))
				return err
			},
			"register": func(ctx context.Context) error {
				_, err := e.Register(ctx, auth.Registration{Username: "bobby", Password: password}, from(1))
				return err
			},
			"change password": func(ctx context.Context) error {
				return e.ChangePassword(ctx, me, password, "another one entirely", from(1))
			},
			"delete account": func(ctx context.Context) error { return e.DeleteAccount(ctx, me, password, "", from(1)) },
		} {
			all.Go(func() {
				if err := call(t.Context()); !errors.Is(err, auth.ErrBusy) {
					t.Errorf("%s: %v, want busy", what, err)
				}
				if waited := time.Since(start); waited != time.Second {
					t.Errorf("%s waited %v, want 1s", what, waited)
				}
			})
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v, want the context's error", what, err)
				}
			})
		}
		time.Sleep(2 * time.Second) // of the bubble's clock
		close(gate)
		all.Wait()
	})
}

// A13: five failures of an account from one place, then one attempt after 1 s, 2 s, 4 s … 15 min.
func TestLoginThrottlePair(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"alice", "nobody_here", "not a name"} { // unknown names alike
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, nil)
			e.register("alice")
			hashes, _ := e.CountHashes()
			for range 5 {
				wantErr(t, e.wrong(name, from(1)), auth.ErrInvalidLogin)
			}
			for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900} {
				wait *= time.Second
				wantThrottled(t, e.wrong(name, from(1)), wait, wait)
				e.clock.Advance(wait - time.Millisecond)
				wantThrottled(t, e.wrong(name, from(1)), time.Millisecond, time.Millisecond)
				e.clock.Advance(time.Millisecond)
				wantErr(t, e.wrong(name, from(1)), auth.ErrInvalidLogin)
			}
			if n := hashes.Load(); n != 17 {
				t.Errorf("%d hashes, want 17", n)
			}
			// Another place of the same kind is not affected, the same /24 is.
			wantErr(t, e.wrong(name, from(2)), auth.ErrInvalidLogin)
			wantThrottled(t, e.wrong(name, auth.Source{IP: netip.MustParseAddr("::ffff:10.0.1.200")}), time.Second, time.Hour)
		})
	}
}

// A13: a /24 or a /64 is one place, whatever names are tried from it.
func TestLoginThrottlePrefix(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	hashes, _ := e.CountHashes()
	for name, ip := range map[string]func(int) netip.Addr{
		"IPv4": func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) },
		"IPv6": func(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1:%x::1", n)) },
		"none": func(int) netip.Addr { return netip.Addr{} },
	} {
		before := hashes.Load()
		for n := range 50 {
			wantErr(t, e.wrong(fmt.Sprint(name, n), auth.Source{IP: ip(n)}), auth.ErrInvalidLogin)
		}
		e.clock.Advance(9 * time.Minute)
		wantThrottled(t, e.wrong("someone_else", auth.Source{IP: ip(99)}), time.Minute, time.Minute)
		e.clock.Advance(time.Minute)
		wantErr(t, e.wrong("someone_else", auth.Source{IP: ip(99)}), auth.ErrInvalidLogin)
		if n := hashes.Load() - before; n != 51 {
			t.Errorf("%s: %d hashes, want 51", name, n)
		}
	}
}

// A10, A13, L7: of IPv6 addresses a /48 has four times what a /64 has: of names, of tries at one
// account, of registrations and of right passwords.
func TestThrottlesOfASite(t *testing.T) {
	t.Parallel()
	at := func(network int) auth.Source {
		return auth.Source{IP: netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", network))}
	}
	elsewhere := auth.Source{IP: netip.MustParseAddr("2001:db8:1:4::1")}
	t.Run("names", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, nil)
		for n := range 200 {
			wantErr(t, e.wrong(fmt.Sprint("name", n), at(n%8)), auth.ErrInvalidLogin)
		}
		wantThrottled(t, e.wrong("someone_else", at(8)), 10*time.Minute, 10*time.Minute)
		wantErr(t, e.wrong("someone_else", elsewhere), auth.ErrInvalidLogin)
	})
	t.Run("an account", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, nil)
		for n := range 20 {
			wantErr(t, e.wrong("alice", at(n%8)), auth.ErrInvalidLogin)
		}
		for _, wait := range []time.Duration{1, 2, 4, 8} {
			wait *= time.Second / 4
			wantThrottled(t, e.wrong("alice", at(8)), wait, wait)
			e.clock.Advance(wait)
			wantErr(t, e.wrong("alice", at(8)), auth.ErrInvalidLogin)
		}
		wantErr(t, e.wrong("alice", elsewhere), auth.ErrInvalidLogin)
	})
	t.Run("the current password", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, nil)
		alice := auth.Principal{Subject: e.register("alice").ID}
		wrong := func(src auth.Source) error {
			_, err := e.ChangeEmail(t.Context(), alice, "a@example.org", "wrong wrong wrong", src)
			return err
		}
		for n := range 20 {
			wantErr(t, wrong(at(n%8)), auth.ErrReauth)
		}
		wantThrottled(t, wrong(at(8)), time.Second/4, time.Second/4)
		wantErr(t, wrong(elsewhere), auth.ErrReauth)
	})
	t.Run("registrations", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, nil)
		n := 0
		register := func(src auth.Source) error {
			n++
			person := auth.Registration{Username: fmt.Sprint("person", n), Password: password}
			_, err := e.Register(t.Context(), person, src)
			return err
		}
		for n := range 20 {
			if err := register(at(n % 8)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			wantThrottled(t, register(at(8)), 90*time.Second, 90*time.Second)
			e.clock.Advance(90 * time.Second)
			if err := register(at(8)); err != nil {
				t.Fatal(err)
			}
		}
		if err := register(elsewhere); err != nil {
			t.Error(err)
		}
	})
	t.Run("right passwords", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t, nil)
		person := func(n int) string { return fmt.Sprintf("%cperson%s", 'a'+n%26, strings.Repeat("x", n/26)) }
		for n := range 41 {
			e.register(person(n))
		}
		for n := range 2400 {
			// At a new /64 each time: where somebody logged in before, that address alone is
			// counted.
			if err := e.loginFrom(person(n%40), at(n)); err != nil {
				t.Fatal(err)
			}
		}
		wantThrottled(t, e.loginFrom(person(40), at(2400)), time.Minute, time.Minute)
		if err := e.loginFrom(person(40), elsewhere); err != nil {
			t.Error(err)
		}
	})
}

// A13: attempts at once are held to the same bound, since they are counted before they are hashed.
func TestLoginThrottleAtomic(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	hashes, _ := e.CountHashes()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			err := e.wrong("alice", from(1))
			var throttled *auth.ThrottledError
			if !errors.Is(err, auth.ErrInvalidLogin) && !errors.As(err, &throttled) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	if n := hashes.Load(); n != 5 {
		t.Errorf("%d hashes of 200 attempts at once, want 5", n)
	}
}

// A13: many places may try one account 100 times a day and then once a minute, and never keep its
// owner out.
func TestLoginThrottleAccount(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	e.login("alice") // from(0) is trusted from here on
	hashes, _ := e.CountHashes()
	for n := range 1000 {
		_ = e.wrong("alice", from(1+n%50))
	}
	if n := hashes.Load(); n != 100 {
		t.Errorf("%d hashes of 1000 attempts, want 100", n)
	}
	wantThrottled(t, e.wrong("alice", from(77)), time.Minute, time.Minute)
	e.clock.Advance(time.Minute)
	wantErr(t, e.wrong("alice", from(77)), auth.ErrInvalidLogin)
	wantThrottled(t, e.wrong("alice", from(78)), time.Minute, time.Minute)

	e.login("alice") // the victim gets in
	for range 5 {
		wantErr(t, e.wrong("alice", from(0)), auth.ErrInvalidLogin)
	}
	wantThrottled(t, e.wrong("alice", from(0)), time.Second, time.Second) // trust is a bound of its own, not none
	e.clock.Advance(time.Second)
	e.login("alice")

	e.clock.Advance(23 * time.Hour)
	for range 5 {
		wantErr(t, e.wrong("alice", from(0)), auth.ErrInvalidLogin)
	}
	e.clock.Advance(time.Second)
	e.clock.Advance(30 * 24 * time.Hour) // trust ends
	for n := range 100 {
		wantErr(t, e.wrong("alice", from(100+n)), auth.ErrInvalidLogin)
	}
	_, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
	wantThrottled(t, err, time.Minute, time.Minute)
}

// A13: where its owner was, an account has a bound that no neighbour of the same /24 fills; and
// neighbours do not learn from answers which accounts were used there.
func TestLoginThrottleNeighbours(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	at := func(last byte) auth.Source { return auth.Source{IP: netip.AddrFrom4([4]byte{10, 0, 1, last})} }
	for n := range 10 {
		e.register(fmt.Sprintf("%cneighbour", 'a'+n))
	}
	e.register("alice")
	mustLogin := func(what string) {
		t.Helper()
		if err := e.loginFrom("alice", at(7)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustLogin("at first")
	for range 5 {
		wantErr(t, e.wrong("alice", at(8)), auth.ErrInvalidLogin)
	}
	wantThrottled(t, e.wrong("alice", at(8)), time.Second, time.Second)
	mustLogin("after a neighbour's wrong passwords")
	wantThrottled(t, e.wrong("alice", at(8)), time.Second, time.Second) // which the success does not clear
	for range 5 {
		wantErr(t, e.wrong("alice", at(7)), auth.ErrInvalidLogin)
	}
	wantThrottled(t, e.wrong("alice", at(7)), time.Second, time.Second)
	e.clock.Advance(10 * time.Minute)

	for n := range 50 {
		wantErr(t, e.wrong(fmt.Sprint("name", n), at(8)), auth.ErrInvalidLogin)
	}
	for _, name := range []string{"alice", "nobody_here"} {
		wantThrottled(t, e.wrong(name, at(8)), 10*time.Minute, 10*time.Minute)
	}
	mustLogin("after a neighbour tried names")
	e.clock.Advance(10 * time.Minute)

	for n := range 600 {
		if err := e.loginFrom(fmt.Sprintf("%cneighbour", 'a'+n%10), at(8)); err != nil {
			t.Fatal(err)
		}
	}
	wantThrottled(t, e.wrong("nobody_here", at(9)), time.Minute, time.Minute)
	mustLogin("while neighbours log in")

	for n := range 200 {
		_ = e.wrong("alice", from(100+n))
	}
	e.clock.Advance(time.Minute)
	wantErr(t, e.wrong("alice", from(99)), auth.ErrInvalidLogin)
	if err := e.loginFrom("alice", at(77)); err != nil {
		t.Errorf("from another address of the same /24, while many places guess: %v", err)
	}
}

// A13: a refresh proves as much as a login: after a restart, its place is trusted again.
func TestRefreshTrusts(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	refresh := e.login("alice").Refresh
	e.Service = e.another(nil)
	e.mustRefresh(refresh)
	for n := range 200 {
		_ = e.wrong("alice", from(1+n))
	}
	e.login("alice")
}

// A13: successes and attempts that came to nothing are not failures.
func TestLoginThrottleGivesBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	for range 4 {
		for range 4 {
			wantErr(t, e.wrong("alice", from(1)), auth.ErrInvalidLogin)
		}
		if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range []string{"UserByName", "CreateSession"} {
		e.store.on(down(method))
		for range 60 {
			_, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(2))
			wantErr(t, err, auth.ErrUnavailable)
		}
		e.store.on(nil)
	}
	if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(2)); err != nil {
		t.Fatal(err)
	}
}

// A13: an attempt that one rule refuses is counted by none, or the neighbours of a stubborn client
// would pay for it.
func TestThrottleRefusedIsNotCounted(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	for range 200 {
		_ = e.wrong("alice", from(1))
	}
	for n := range 45 {
		wantErr(t, e.wrong(fmt.Sprint("name", n), from(1)), auth.ErrInvalidLogin)
	}
	wantThrottled(t, e.wrong("name99", from(1)), 10*time.Minute, 10*time.Minute)
}

// A14: what is counted is bounded, and one place cannot make others forgotten by trying names.
func TestThrottleBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.OnHash(func(func()) {}) // every password is wrong, and costs nothing
	for n := range 5000 {
		_ = e.wrong(fmt.Sprint("name", n), from(0))
	}
	if n := e.Counts(); n > 1000 {
		t.Errorf("one place made %d counts", n)
	}
	for n := range auth.MaxCounts + 1000 {
		if err := e.TryLogin(t.Context(), fmt.Sprint("name", n), elsewhere(n)); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.Counts(); n != auth.MaxCounts {
		t.Errorf("%d counts, want the %d that are kept", n, auth.MaxCounts)
	}
}

// A13, A14: one account cannot make places trusted without end, and so the places of others
// forgotten.
func TestTrustIsBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	refresh := e.login("alice").Refresh
	for n := range 200 {
		for range 2 { // the same place again is no other
			tokens, err := e.Refresh(t.Context(), refresh, from(n))
			if err != nil {
				t.Fatal(err)
			}
			refresh = tokens.Refresh
		}
	}
	for n := range 100 {
		wantErr(t, e.wrong("alice", from(1000+n)), auth.ErrInvalidLogin)
	}
	trusted := 0
	for n := range 200 {
		if errors.Is(e.wrong("alice", from(n)), auth.ErrInvalidLogin) { // and not throttled, as it is from everywhere else
			trusted++
		}
	}
	if want := auth.NewPlaces - 1; trusted != want { // one is where it was registered
		t.Errorf("%d places of 200 are trusted, want %d", trusted, want)
	}
}

// A13, A14: however many names are tried, what one account was tried is not forgotten. Names that
// do not exist are treated alike (A9).
func TestLoginThrottleAccountIsKept(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	names := []string{"alice", "nobody_here"}
	for _, name := range names {
		for n := range 100 {
			wantErr(t, e.wrong(name, from(1+n)), auth.ErrInvalidLogin)
		}
		e.clock.Advance(10 * time.Minute) // past the throttles of the places
	}
	for n := range auth.MaxCounts + 1000 {
		if err := e.TryLogin(t.Context(), fmt.Sprint("name", n), elsewhere(n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		wantErr(t, e.wrong(name, from(200)), auth.ErrInvalidLogin) // one a minute
		wantThrottled(t, e.wrong(name, from(201)), time.Minute, time.Minute)
	}
}

// A14: KHODNEVIS_LIMITS=off lifts the throttles, and says so.
func TestLimitsOff(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.LimitsOff = true })
	if !strings.Contains(e.log.String(), `"level":"WARN","msg":"auth.limits_off"`) {
		t.Errorf("no warning: %s", e.log)
	}
	for n := range 60 {
		if _, err := e.Register(t.Context(), auth.Registration{Username: fmt.Sprint("user", n), Password: password},
			from(0)); err != nil {
			t.Fatal(err)
		}
		wantErr(t, e.wrong("user0", from(0)), auth.ErrInvalidLogin)
	}
}

// A10: five registrations from one place, then ten an hour; and names that are taken cost a hash
// and count as well.
func TestRegisterThrottle(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	hashes, _ := e.CountHashes()
	register := func(name string) error {
		_, err := e.Register(t.Context(), auth.Registration{Username: name, Password: password, Email: "same@example.org"},
			from(0))
		return err
	}
	if err := register("user0"); err != nil {
		t.Fatal(err)
	}
	wantField(t, register("User0"), "username", "unique")
	if n := hashes.Load(); n != 2 {
		t.Errorf("%d hashes, want 2: one for a name that is taken", n)
	}
	wantField(t, register("x"), "username", "min_length") // refused before it counts
	for n := range 3 {
		if err := register(fmt.Sprint("user", 1+n)); err != nil {
			t.Fatal(err) // the same e-mail address twice is fine
		}
	}
	wantThrottled(t, register("user9"), 6*time.Minute, 6*time.Minute)
	for n := range 10 {
		e.clock.Advance(6 * time.Minute)
		if err := register(fmt.Sprint("later", n)); err != nil {
			t.Fatal(err)
		}
		wantThrottled(t, register("user9"), 6*time.Minute, 6*time.Minute)
	}
	if _, err := e.Register(t.Context(), auth.Registration{Username: "neighbour", Password: password},
		from(1)); err != nil {
		t.Fatal(err)
	}
	e.clock.Advance(6 * time.Minute)
	e.store.on(down("CreateUser"))
	for range 3 {
		wantErr(t, register("user9"), auth.ErrUnavailable)
	}
	e.store.on(nil)
	if err := register("user9"); err != nil {
		t.Errorf("failures were counted: %v", err)
	}
}
