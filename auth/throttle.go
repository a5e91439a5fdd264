package auth

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// ThrottledError says that there were too many attempts.
type ThrottledError struct {
	// RetryAfter is when the next attempt may be let through; more than zero.
	RetryAfter time.Duration
}

// Error implements error.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("auth: too many attempts, the next in %v", e.RetryAfter.Round(time.Second))
}

// rule lets the first attempts of a window through, and then one at a time, delay(n) before the nth
// further one. Without a delay there is none until the window ends.
type rule struct {
	name   string
	first  int64
	window time.Duration
	delay  func(further int64) time.Duration
	// account says that it is an account that the attempts are at, from wherever.
	account bool
}

// times returns the rule for a group that may have factor times as much.
func (r rule) times(factor int64) rule {
	r.first *= factor
	if delay := r.delay; delay != nil {
		r.delay = func(further int64) time.Duration { return delay(further) / time.Duration(factor) }
	}
	return r
}

// The rules: SECURITY.md, A10, A13, A24. Attempts that turn out not to be failures are given back.
var (
	perPrefix   = rule{"prefix", 50, 10 * time.Minute, nil, false}
	perAccount  = rule{"account", 100, 24 * time.Hour, every(time.Minute), true}
	perPair     = rule{"pair", 5, 24 * time.Hour, doubling, false}
	perRegister = rule{"register", 5, 24 * time.Hour, every(6 * time.Minute), false} // 10 an hour
	reauthAll   = rule{"reauth-account", 100, 24 * time.Hour, every(time.Minute), true}
	reauthPair  = rule{"reauth", 5, 24 * time.Hour, doubling, false}
)

// trustFor is how long a successful login makes its source trusted, and newPlaces how many of them
// a day.
const (
	trustFor  = 30 * 24 * time.Hour
	newPlaces = 50
)

// maxCounts is how many counts of each kind are kept in process.
const maxCounts = 100_000

const maxDelay = 15 * time.Minute

func every(d time.Duration) func(int64) time.Duration {
	return func(int64) time.Duration { return d }
}

func doubling(further int64) time.Duration {
	if further >= 10 { // 2^10 seconds exceed maxDelay
		return maxDelay
	}
	return min(maxDelay, time.Second<<max(0, further))
}

// throttle counts attempts before they are made, so that any number of them at once is held to the
// same bounds.
type throttle struct {
	off bool
	// counts has what has no counts of its own, and all gates.
	counts *counter.Counter
	// accounts are the first attempts at each account. They are all that keeps many places from
	// guessing at one, so they must not be forgotten because many names were tried; and whether a
	// name exists must not show in what is forgotten (A9).
	accounts *counter.Counter
	// pairs are counts that a success clears, in whichever process.
	pairs *counter.Counter
	// trust has counts of its own: successes must not be forgotten because many names were tried.
	trust *counter.Counter
	// load is what this process was made to do for nothing that it refuses. Other processes have
	// their own processors.
	load *counter.Counter
}

func newThrottle(cfg Config) *throttle {
	counting := counter.Config{Name: "auth", Max: maxCounts, Shared: cfg.Counter, Now: cfg.Now, Logger: cfg.Logger}
	t := &throttle{off: cfg.LimitsOff, pairs: counter.New(counting)}
	counting.Lasting = true
	t.counts, t.trust = t.pairs.Beside(counting), t.pairs.Beside(counting)
	counting.Pooled = true
	t.accounts = t.pairs.Beside(counting)
	t.load = counter.New(counter.Config{Name: "auth", Max: maxCounts, Now: cfg.Now, Logger: cfg.Logger})
	return t
}

// login reserves an attempt to log in. The address from which the account was logged in to lately
// is held to its own bound alone, so that nobody can lock its owner out from elsewhere. Others of
// the same prefix may be the owner, whose address changed, or anybody: they are spared what is
// counted of the account from everywhere, and held to what is counted of the prefix. Or neighbours
// could lock each other out, and learn from what is answered past the bound of the prefix which
// accounts are used there.
func (t *throttle) login(ctx context.Context, account string, ip netip.Addr) (*reservation, error) {
	if t.off {
		return &reservation{}, nil
	}
	o := t.origin(ctx, account, ip)
	if o.address != "" {
		return t.reserve(ctx, o, attempt{perPair, account + "\x00" + o.address, true})
	}
	attempts := o.attempts(perPrefix, "", false)
	if !t.trusts(ctx, account, o.groups[0].Name) {
		attempts = append(attempts, attempt{perAccount, account, false})
	}
	return t.reserve(ctx, o, append(attempts, o.attempts(perPair, account+"\x00", true)...)...)
}

// addressOf returns an IPv4 address, or the /64 in which a subscriber changes his IPv6 address at
// will.
func addressOf(ip netip.Addr) string {
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	return counter.GroupsOf(ip)[0].Name
}

// trusts reports whether the account was logged in to at a place, an address or a prefix, lately.
func (t *throttle) trusts(ctx context.Context, account, place string) bool {
	if t.off {
		return false
	}
	n, _ := t.trust.Add(ctx, counter.KeyOf("trust", account, place), 0, trustFor)
	return n > 0
}

// reauth reserves an attempt to give the current password of a user who is logged in.
func (t *throttle) reauth(ctx context.Context, u User, ip netip.Addr) (*reservation, error) {
	o := t.origin(ctx, "name:"+u.Canonical, ip)
	all := attempt{reauthAll, u.ID, false}
	return t.reserve(ctx, o, append([]attempt{all}, o.attempts(reauthPair, u.ID+"\x00", true)...)...)
}

// register reserves a registration.
func (t *throttle) register(ctx context.Context, ip netip.Addr) (*reservation, error) {
	o := origin{groups: counter.GroupsOf(ip)}
	return t.reserve(ctx, o, o.attempts(perRegister, "", false)...)
}

// trusted remembers that the owner of an account was at an address. Of one account it remembers
// newPlaces a day, or whoever has many addresses could make the places of others forgotten.
func (t *throttle) trusted(ctx context.Context, account string, ip netip.Addr) {
	if t.off || !ip.IsValid() {
		return
	}
	address := addressOf(ip)
	if t.trusts(ctx, account, address) {
		return
	}
	if n, _ := t.load.Add(ctx, counter.KeyOf("places", account), 1, 24*time.Hour); n > newPlaces {
		return
	}
	for _, place := range []string{address, counter.GroupsOf(ip)[0].Name} {
		if !t.trusts(ctx, account, place) {
			t.trust.Add(ctx, counter.KeyOf("trust", account, place), 1, trustFor)
		}
	}
}

// attempt is one count that an attempt falls under.
type attempt struct {
	rule
	who string
	// clears says that a success wipes the failures before it.
	clears bool
}

func (a attempt) key(what string) counter.Key { return counter.KeyOf(a.name+"-"+what, a.who) }

// reservation is an attempt that was let through.
type reservation struct {
	throttle *throttle
	origin   origin
	attempts []attempt
	taken    []taken
}

type taken struct {
	counter *counter.Counter
	key     counter.Key
	ttl     time.Duration
}

// reserve lets an attempt through if every rule does, and otherwise counts it under none.
func (t *throttle) reserve(ctx context.Context, o origin, attempts ...attempt) (*reservation, error) {
	r := &reservation{throttle: t, origin: o, attempts: attempts}
	if t.off {
		return &reservation{}, nil
	}
	if wait := t.loaded(ctx, o); wait > 0 {
		return nil, &ThrottledError{RetryAfter: wait}
	}
	for _, a := range attempts {
		if wait := r.take(ctx, a); wait > 0 {
			r.giveBack(ctx)
			return nil, &ThrottledError{RetryAfter: wait}
		}
	}
	return r, nil
}

// of returns where attempts are counted, and where the first ones are.
func (t *throttle) of(a attempt) (further, first *counter.Counter) {
	switch {
	case a.clears:
		return t.pairs, t.pairs
	case a.account:
		return t.counts, t.accounts
	}
	return t.counts, t.counts
}

// take counts an attempt under one rule and returns zero, or returns how long the rule makes it
// wait.
func (r *reservation) take(ctx context.Context, a attempt) time.Duration {
	c, first := r.throttle.of(a)
	n, left := first.Add(ctx, a.key("first"), 1, a.window)
	if n <= a.first {
		r.took(first, a.key("first"), a.window)
		if n < a.first || a.delay == nil {
			return 0
		}
		return r.pass(ctx, a, a.delay(0)) // the last of the first: from here on one at a time
	}
	first.Add(ctx, a.key("first"), -1, a.window)
	if a.delay == nil {
		return atLeast(left)
	}
	further, _ := c.Add(ctx, a.key("further"), 0, a.window)
	if wait := r.pass(ctx, a, a.delay(further+1)); wait > 0 {
		return min(wait, a.delay(further)) // what the one before closed the gate for, perhaps in another process
	}
	c.Add(ctx, a.key("further"), 1, a.window)
	r.took(c, a.key("further"), a.window)
	return 0
}

// pass goes through a gate that closes behind it for d.
func (r *reservation) pass(ctx context.Context, a attempt, d time.Duration) time.Duration {
	c := r.throttle.counts
	n, left := c.Add(ctx, a.key("gate"), 1, d)
	if n > 1 {
		c.Add(ctx, a.key("gate"), -1, d)
		return atLeast(left)
	}
	r.took(c, a.key("gate"), d)
	return 0
}

func atLeast(wait time.Duration) time.Duration { return max(wait, time.Millisecond) }

func (r *reservation) took(c *counter.Counter, key counter.Key, ttl time.Duration) {
	r.taken = append(r.taken, taken{c, key, ttl})
}

// giveBack undoes the reservation: the attempt was none.
func (r *reservation) giveBack(ctx context.Context) {
	for _, k := range r.taken {
		k.counter.Add(ctx, k.key, -1, k.ttl)
	}
	r.taken = nil
}

// succeed gives the reservation back, wipes the failures before it that a success wipes, and counts
// the hash that it took.
func (r *reservation) succeed(ctx context.Context) {
	r.giveBack(ctx)
	if r.throttle == nil {
		return
	}
	r.throttle.right(ctx, r.origin)
	for _, a := range r.attempts {
		if !a.clears {
			continue
		}
		for _, what := range []string{"first", "further"} {
			if n, _ := r.throttle.pairs.Add(ctx, a.key(what), 0, a.window); n > 0 {
				r.throttle.pairs.Add(ctx, a.key(what), -n, a.window)
			}
		}
	}
}
