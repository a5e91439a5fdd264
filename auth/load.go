package auth

import (
	"context"
	"errors"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// The limits of load: attempts that take a hash without being wrong guesses, and attempts that were
// refused because the hasher was busy. They count after they happened; how many hash at once, the
// hasher limits.
var (
	verifiedPerAccount = rule{name: "right-account", first: 60, window: time.Minute}
	verifiedPerPlace   = rule{name: "right", first: 600, window: time.Minute}
	busyPerPlace       = rule{name: "busy", first: 100, window: time.Minute}
)

// overload returns how long o must wait because of the load that it caused, or zero.
func (t *throttle) overload(ctx context.Context, o origin) time.Duration {
	place := o
	if o.trusted != "" {
		place.groups = []counter.Group{{Name: o.trusted, Factor: 1}}
	}
	attempts := append(place.attempts(verifiedPerPlace, "", false), place.attempts(busyPerPlace, "", false)...)
	for _, a := range append(attempts, attempt{verifiedPerAccount, o.account, false}) {
		if n, left := t.load.Add(ctx, a.key("first"), 0, a.window); n >= a.first {
			return atLeast(left)
		}
	}
	return 0
}

// countVerified counts a right password.
func (t *throttle) countVerified(ctx context.Context, o origin) {
	t.load.Add(ctx, attempt{verifiedPerAccount, o.account, false}.key("first"), 1, verifiedPerAccount.window)
	t.countLoad(ctx, verifiedPerPlace, o)
}

// countLoad counts load for the groups of o and, if it is trusted, for its address.
func (t *throttle) countLoad(ctx context.Context, r rule, o origin) {
	for _, a := range o.attempts(r, "", false) {
		t.load.Add(ctx, a.key("first"), 1, r.window)
	}
	if o.trusted != "" && o.trusted != o.groups[0].Name {
		t.load.Add(ctx, attempt{r, o.trusted, false}.key("first"), 1, r.window)
	}
}

// fail undoes the reservation of an attempt that ended with err, which is not a wrong guess. It
// counts as load that the hasher was busy.
func (r *reservation) fail(ctx context.Context, err error) {
	r.undo(ctx)
	if r.throttle != nil && errors.Is(err, ErrBusy) {
		r.throttle.countLoad(ctx, busyPerPlace, r.origin)
	}
}
