package counter_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/internal/counter"
)

// L1: there is a bound in total, one of a group, and one of a /48, which has four times as much.
func TestLimiter(t *testing.T) {
	t.Parallel()
	l := counter.NewLimiter(12, 2)
	at := func(ip string) []counter.Group { return counter.GroupsOf(netip.MustParseAddr(ip)) }
	take := func(ip string, n int64, full string) {
		t.Helper()
		if ok, by := l.Acquire(n, at(ip)...); ok != (full == "taken") || !ok && by != full {
			t.Errorf("%d of %s: %v, %q is full, want %q", n, ip, ok, by, full)
		}
	}
	take("192.0.2.1", 2, "taken")
	take("192.0.2.9", 1, "192.0.2.0/24")
	for _, ip := range []string{"2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1", "2001:db8:0:4::1"} {
		take(ip, 3, ip[:len("2001:db8:0:1")]+"::/64")
		take(ip, 2, "taken")
	}
	take("2001:db8:0:1::1", 1, "2001:db8:0:1::/64")
	take("2001:db8:0:5::1", 1, "2001:db8::/48")
	take("2001:db8:1:1::1", 2, "taken")
	take("198.51.100.1", 1, "")
	if n := l.Held(); n != 12 {
		t.Errorf("%d are held", n)
	}
	l.Release(2, at("2001:db8:0:1::1")...)
	take("2001:db8:0:5::1", 1, "taken")
	take("198.51.100.1", 1, "taken")
}

// What is taken at once stays within the bounds, and what is given back leaves nothing behind.
func TestLimiterIsConcurrent(t *testing.T) {
	t.Parallel()
	l := counter.NewLimiter(5, 2)
	groups := counter.GroupsOf(netip.MustParseAddr("192.0.2.1"))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 1000 {
				if ok, _ := l.Acquire(1, groups...); ok {
					if n := l.Held(); n > 2 {
						t.Errorf("%d are held", n)
					}
					l.Release(1, groups...)
				}
			}
		})
	}
	all.Wait()
	if l.Held() != 0 || l.Groups() != 0 {
		t.Errorf("%d are held by %d groups", l.Held(), l.Groups())
	}
}
