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
	// RetryAfter is when the next attempt may pass; more than zero.
	RetryAfter time.Duration
}

// Error implements error.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("auth: too many attempts, the next in %v", e.RetryAfter.Round(time.Second))
}

// rule lets the first attempts of a fixed window pass, and then one at a time, delay(n) before the
// nth further one. Without a delay no further one passes until the window ends.
type rule struct {
	name   string
	first  int64
	window time.Duration
	delay  func(further int64) time.Duration
	// account says that the rule counts attempts on one account from all clients.
	account bool
}

func (r rule) named(name string) rule {
	r.name = name
	return r
}

// times returns the rule for a group that may have factor times as much.
func (r rule) times(factor int64) rule {
	r.first *= factor
	if delay := r.delay; delay != nil {
		r.delay = func(further int64) time.Duration { return delay(further) / time.Duration(factor) }
	}
	return r
}

// The limits of guesses: SECURITY.md, A10, A13, A24. An attempt counts when it begins, and is taken
// off again if it turns out not to be a wrong guess.
var (
	perPrefix   = rule{name: "prefix", first: 50, window: 10 * time.Minute}
	perAccount  = rule{name: "account", first: 100, window: 24 * time.Hour, delay: every(time.Minute), account: true}
	perPair     = rule{name: "pair", first: 5, window: 24 * time.Hour, delay: doubling}
	perRegister = rule{name: "register", first: 5, window: 24 * time.Hour, delay: every(6 * time.Minute)} // 10 an hour
	reauthPair  = perPair.named("reauth")
	reauthAll   = perAccount.named("reauth-account")
)

// maxCounts is how many counts of each kind are kept in process.
const maxCounts = 100_000

const maxDelay = 15 * time.Minute

func every(d time.Duration) func(int64) time.Duration {
	return func(int64) time.Duration { return d }
}

// doubling is exponential backoff that the attempts are held to.
func doubling(further int64) time.Duration {
	if further >= 10 { // 2^10 seconds exceed maxDelay
		return maxDelay
	}
	return min(maxDelay, time.Second<<max(0, further))
}

// throttle counts attempts before they are made, so that any number of them at once is held to the
// same limits. What it decides stands in three files: how many guesses pass (here), which places an
// account trusts (trustedplaces.go), and how much load a place may cause (load.go).
type throttle struct {
	off bool
	// gates has all gates, and the counts that have no counter of their own.
	gates *counter.Counter
	// accounts has the first attempts at each account. They are all that keeps many places from
	// guessing at one account, so they must not be forgotten because many names were tried; and
	// whether a name exists must not show in what is forgotten (A9).
	accounts *counter.Counter
	// pairs has counts that a success resets, in whichever process.
	pairs *counter.Counter
	// trust has the trusted places: they must not be forgotten because many names were tried.
	trust *counter.Counter
	// load is counted in this process alone: other processes have their own processors.
	load *counter.Counter
}

func newThrottle(cfg Config) *throttle {
	counting := counter.Config{Name: "auth", Max: maxCounts, Shared: cfg.Counter, Now: cfg.Now, Logger: cfg.Logger}
	t := &throttle{off: cfg.LimitsOff, pairs: counter.New(counting)}
	counting.Lasting = true
	t.gates, t.trust = t.pairs.Beside(counting), t.pairs.Beside(counting)
	counting.Pooled = true
	t.accounts = t.pairs.Beside(counting)
	t.load = counter.New(counter.Config{Name: "auth", Max: maxCounts, Now: cfg.Now, Logger: cfg.Logger})
	return t
}

// origin is the account that is attempted at, and where the attempt comes from.
type origin struct {
	account string // empty: none yet
	groups  []counter.Group
	// trusted is the address, if the account trusts it; empty otherwise. It then answers in place of
	// the groups, or neighbours could lock the account's owner out.
	trusted string
}

func (t *throttle) origin(ctx context.Context, account string, ip netip.Addr) origin {
	o := origin{account: account, groups: counter.GroupsOf(ip)}
	if address := addressOf(ip); t.trusts(ctx, account, address) {
		o.trusted = address
	}
	return o
}

// attempts returns the counts of an attempt for each group of o under a rule. subject is what the
// counts are about beside the group.
func (o origin) attempts(r rule, subject string, resets bool) []attempt {
	all := make([]attempt, len(o.groups))
	for i, g := range o.groups {
		all[i] = attempt{r.times(g.Factor), subject + g.Name, resets}
	}
	return all
}

// login reserves an attempt to log in. An address that the account trusts is held to its own limit
// alone, so that nobody elsewhere can lock the owner out. Other addresses of a prefix that the
// account trusts may be the owner, whose address changed, or anybody: they are held to the limit of
// the prefix, and not to that of the account from everywhere. Otherwise neighbours could lock each
// other out, and learn from the refusals past the prefix's limit which accounts are used there.
func (t *throttle) login(ctx context.Context, account string, ip netip.Addr) (*reservation, error) {
	if t.off {
		return &reservation{}, nil
	}
	o := t.origin(ctx, account, ip)
	if o.trusted != "" {
		return t.reserve(ctx, o, attempt{perPair, account + "\x00" + o.trusted, true})
	}
	attempts := o.attempts(perPrefix, "", false)
	if !t.trusts(ctx, account, o.groups[0].Name) {
		attempts = append(attempts, attempt{perAccount, account, false})
	}
	return t.reserve(ctx, o, append(attempts, o.attempts(perPair, account+"\x00", true)...)...)
}

// reauth reserves an attempt to give the current password of a user who is logged in.
func (t *throttle) reauth(ctx context.Context, u User, ip netip.Addr) (*reservation, error) {
	o := t.origin(ctx, accountKey(u.Username), ip)
	all := attempt{reauthAll, u.ID, false}
	return t.reserve(ctx, o, append([]attempt{all}, o.attempts(reauthPair, u.ID+"\x00", true)...)...)
}

// register reserves a registration.
func (t *throttle) register(ctx context.Context, ip netip.Addr) (*reservation, error) {
	o := origin{groups: counter.GroupsOf(ip)}
	return t.reserve(ctx, o, o.attempts(perRegister, "", false)...)
}

// attempt is one count that an attempt falls under.
type attempt struct {
	rule
	subject string // whose attempts are counted
	resets  bool   // a success resets the count
}

func (a attempt) key(kind string) counter.Key { return counter.KeyOf(a.name+"-"+kind, a.subject) }

// reservation is an attempt that may be made.
type reservation struct {
	throttle *throttle // nil if limits are off
	origin   origin
	attempts []attempt
	counted  []counted
}

type counted struct {
	counter *counter.Counter
	key     counter.Key
	ttl     time.Duration
}

// reserve lets an attempt pass if every rule does, and otherwise counts it under no rule.
func (t *throttle) reserve(ctx context.Context, o origin, attempts ...attempt) (*reservation, error) {
	if t.off {
		return &reservation{}, nil
	}
	if wait := t.overload(ctx, o); wait > 0 {
		return nil, &ThrottledError{RetryAfter: wait}
	}
	r := &reservation{throttle: t, origin: o, attempts: attempts}
	for _, a := range attempts {
		if wait := r.count(ctx, a); wait > 0 {
			r.undo(ctx)
			return nil, &ThrottledError{RetryAfter: wait}
		}
	}
	return r, nil
}

// counters returns where the further attempts are counted, and where the first ones are.
func (t *throttle) counters(a attempt) (further, first *counter.Counter) {
	switch {
	case a.resets:
		return t.pairs, t.pairs
	case a.account:
		return t.gates, t.accounts
	}
	return t.gates, t.gates
}

// count counts an attempt under one rule and returns zero, or returns how long the rule makes it
// wait.
func (r *reservation) count(ctx context.Context, a attempt) time.Duration {
	c, first := r.throttle.counters(a)
	n, left := first.Add(ctx, a.key("first"), 1, a.window)
	if n <= a.first {
		r.add(first, a.key("first"), a.window)
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
		return min(wait, a.delay(further)) // for which the attempt before closed the gate, perhaps in another process
	}
	c.Add(ctx, a.key("further"), 1, a.window)
	r.add(c, a.key("further"), a.window)
	return 0
}

// pass goes through a gate that closes behind it for d, or returns how long it is closed.
func (r *reservation) pass(ctx context.Context, a attempt, d time.Duration) time.Duration {
	c := r.throttle.gates
	n, left := c.Add(ctx, a.key("gate"), 1, d)
	if n > 1 {
		c.Add(ctx, a.key("gate"), -1, d)
		return atLeast(left)
	}
	r.add(c, a.key("gate"), d)
	return 0
}

func atLeast(wait time.Duration) time.Duration { return max(wait, time.Millisecond) }

func (r *reservation) add(c *counter.Counter, key counter.Key, ttl time.Duration) {
	r.counted = append(r.counted, counted{c, key, ttl})
}

// undo takes the attempt off every count again: it was not a wrong guess.
func (r *reservation) undo(ctx context.Context) {
	for _, k := range r.counted {
		k.counter.Add(ctx, k.key, -1, k.ttl)
	}
	r.counted = nil
}

// succeed undoes the reservation, resets the counts that a success resets, and counts the hash that
// the attempt took as load.
func (r *reservation) succeed(ctx context.Context) {
	r.undo(ctx)
	if r.throttle == nil {
		return
	}
	r.throttle.countVerified(ctx, r.origin)
	for _, a := range r.attempts {
		if !a.resets {
			continue
		}
		for _, kind := range []string{"first", "further"} {
			if n, _ := r.throttle.pairs.Add(ctx, a.key(kind), 0, a.window); n > 0 {
				r.throttle.pairs.Add(ctx, a.key(kind), -n, a.window)
			}
		}
	}
}
