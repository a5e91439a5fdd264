package auth

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// What costs hashes or room without being a failure: right passwords, and attempts that there was
// no room for. It is counted when it has happened; how much of it there may be at once, the hasher
// bounds.
var (
	rightAccount = rule{"right-account", 60, time.Minute, nil, false}
	rightPlace   = rule{"right", 600, time.Minute, nil, false}
	busyPlace    = rule{"busy", 100, time.Minute, nil, false}
)

// origin is who answers for the load that an attempt is.
type origin struct {
	// account is empty where there is none yet.
	account string
	// groups are where the attempt comes from. An address that is trusted answers in their place,
	// or neighbours could keep its owner out; it is empty otherwise.
	groups  []counter.Group
	address string
}

// attempts are those that count for the groups of o under a rule, whose keys begin with of.
func (o origin) attempts(r rule, of string, clears bool) []attempt {
	all := make([]attempt, len(o.groups))
	for i, g := range o.groups {
		all[i] = attempt{r.times(g.Factor), of + g.Name, clears}
	}
	return all
}

// answering are the groups that answer for what o has been the cause of.
func (o origin) answering() origin {
	if o.address != "" {
		o.groups = []counter.Group{{Name: o.address, Factor: 1}}
	}
	return o
}

func (t *throttle) origin(ctx context.Context, account string, ip netip.Addr) origin {
	o := origin{account: account, groups: counter.GroupsOf(ip)}
	if address := addressOf(ip); t.trusts(ctx, account, address) {
		o.address = address
	}
	return o
}

// loaded returns how long o must wait for what it was the cause of, or zero.
func (t *throttle) loaded(ctx context.Context, o origin) time.Duration {
	place := o.answering()
	attempts := append(place.attempts(rightPlace, "", false), place.attempts(busyPlace, "", false)...)
	for _, a := range append(attempts, attempt{rightAccount, o.account, false}) {
		if n, left := t.load.Add(ctx, a.key("first"), 0, a.window); n >= a.first {
			return atLeast(left)
		}
	}
	return 0
}

// right counts a right password.
func (t *throttle) right(ctx context.Context, o origin) {
	t.load.Add(ctx, attempt{rightAccount, o.account, false}.key("first"), 1, rightAccount.window)
	t.loads(ctx, rightPlace, o)
}

// loads counts what o was the cause of for its groups and, if that is trusted, for its address.
func (t *throttle) loads(ctx context.Context, r rule, o origin) {
	for _, a := range o.attempts(r, "", false) {
		t.load.Add(ctx, a.key("first"), 1, r.window)
	}
	if o.address != "" && o.address != o.groups[0].Name {
		t.load.Add(ctx, attempt{r, o.address, false}.key("first"), 1, r.window)
	}
}

// undo gives the reservation back, as the attempt came to nothing for this reason. That there was
// no room is counted.
func (r *reservation) undo(ctx context.Context, why error) {
	r.giveBack(ctx)
	if r.throttle != nil && errors.Is(why, ErrBusy) {
		r.throttle.loads(ctx, busyPlace, r.origin)
	}
}
