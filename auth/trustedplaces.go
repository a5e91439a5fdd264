package auth

import (
	"context"
	"net/netip"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// A successful login makes its address and prefix trusted for trustFor. An account gets at most
// newPlaces new addresses a day.
const (
	trustFor  = 30 * 24 * time.Hour
	newPlaces = 50
)

// addressOf returns an IPv4 address, or the /64 in which a subscriber changes its IPv6 address at
// will.
func addressOf(ip netip.Addr) string {
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	return counter.GroupsOf(ip)[0].Name
}

// trusts reports whether the account was lately logged in to from a place, an address or a prefix.
func (t *throttle) trusts(ctx context.Context, account, place string) bool {
	if t.off {
		return false
	}
	n, _ := t.trust.Add(ctx, counter.KeyOf("trust", account, place), 0, trustFor)
	return n > 0
}

// trustPlace remembers that the owner of an account was at an address. The limit of newPlaces keeps
// somebody with many addresses from having the places of others forgotten.
func (t *throttle) trustPlace(ctx context.Context, account string, ip netip.Addr) {
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
