package counter_test

import (
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/internal/counter"
)

func newCounter(maxCounts int, now func() time.Time) *counter.Counter {
	return counter.New(counter.Config{Name: "test", Max: maxCounts, Now: now, Logger: slog.New(slog.DiscardHandler)})
}

// A14: however many are counted, so many counts are kept, and those that are used stay.
func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := newCounter(1000, func() time.Time { return start })
	for n := range 10_000 {
		c.Add(t.Context(), counter.KeyOf("name", strconv.Itoa(n)), 1, time.Minute)
		c.Add(t.Context(), counter.KeyOf("busy"), 1, time.Minute)
	}
	if c.Len() != 1000 {
		t.Errorf("%d counts are kept", c.Len())
	}
	if sum, _ := c.Add(t.Context(), counter.KeyOf("busy"), 0, time.Minute); sum != 10_000 {
		t.Errorf("the busy count is %d", sum)
	}
}

// A14: what was given back takes no room, or attempts that came to nothing would make others
// forgotten.
func TestEmptyCountsAreNotKept(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := newCounter(10, func() time.Time { return start })
	c.Add(t.Context(), counter.KeyOf("kept"), 7, time.Minute)
	for n := range 100 {
		for _, by := range []int64{2, -1, -1} {
			c.Add(t.Context(), counter.KeyOf("name", strconv.Itoa(n)), by, time.Minute)
		}
	}
	if sum, _ := c.Add(t.Context(), counter.KeyOf("kept"), 0, time.Minute); sum != 7 || c.Len() != 1 {
		t.Errorf("%d counts are kept, the one of 7 is %d", c.Len(), sum)
	}
}

// A13, A14: pooled counts are bounded, and none is ever lower than what was counted; where there is
// room they are what was counted.
func TestPooledCountsAreNotForgotten(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := counter.New(counter.Config{
		Name: "test", Max: 1000, Pooled: true, Now: func() time.Time { return start }, Logger: slog.New(slog.DiscardHandler),
	})
	c.Add(t.Context(), counter.KeyOf("kept"), 7, time.Minute)
	for n := range 10_000 {
		c.Add(t.Context(), counter.KeyOf("name", strconv.Itoa(n)), 1, time.Minute)
	}
	if c.Len() > 1000 || c.Len() < 900 {
		t.Errorf("%d counts are kept", c.Len())
	}
	if sum, _ := c.Add(t.Context(), counter.KeyOf("kept"), 0, time.Minute); sum < 7 || sum > 100 {
		t.Errorf("the count of 7 is %d", sum)
	}
	for n := range 10_000 {
		if sum, _ := c.Add(t.Context(), counter.KeyOf("name", strconv.Itoa(n)), 0, time.Minute); sum < 1 {
			t.Fatalf("the count of 1 is %d", sum)
		}
	}
	start = start.Add(time.Minute)
	if sum, _ := c.Add(t.Context(), counter.KeyOf("kept"), 1, time.Minute); sum != 1 {
		t.Errorf("the next count begins with %d", sum)
	}
}

// A14: a lasting count outlives a shared counter that forgets, and knows what other processes
// counted.
func TestLastingCounts(t *testing.T) {
	t.Parallel()
	shared := lrucache.New(lrucache.Config{MaxCounts: 1})
	process := func() *counter.Counter {
		return counter.New(counter.Config{Name: "test", Max: 10, Lasting: true, Shared: shared, Now: time.Now,
			Logger: slog.New(slog.DiscardHandler)})
	}
	one, other := process(), process()
	one.Add(t.Context(), counter.KeyOf("k"), 3, time.Hour)
	if sum, _ := other.Add(t.Context(), counter.KeyOf("k"), 1, time.Hour); sum != 4 {
		t.Errorf("another process has %d, want 4", sum)
	}
	one.Add(t.Context(), counter.KeyOf("another"), 1, time.Hour) // the shared counter has room for no more
	if sum, _ := one.Add(t.Context(), counter.KeyOf("k"), 1, time.Hour); sum != 4 {
		t.Errorf("after the shared counter forgot it is %d, want the 4 of this process", sum)
	}
}

func TestCountEnds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCounter(10, func() time.Time { return now })
	add := func(n, want int64, left time.Duration) {
		t.Helper()
		if sum, ends := c.Add(t.Context(), counter.KeyOf("k"), n, time.Minute); sum != want || ends != left {
			t.Errorf("%d ends in %v, want %d in %v", sum, ends, want, left)
		}
	}
	add(0, 0, time.Minute)
	add(2, 2, time.Minute)
	now = now.Add(20 * time.Second)
	add(1, 3, 40*time.Second)
	add(-5, 0, 40*time.Second)
	now = now.Add(40 * time.Second)
	add(1, 1, time.Minute)
}

// A13: what is taken off a count that has ended meanwhile lets nobody through.
func TestSharedCountIsNeverBelowZero(t *testing.T) {
	t.Parallel()
	now := time.Now()
	shared := lrucache.New(lrucache.Config{Now: func() time.Time { return now }})
	c := counter.New(counter.Config{Name: "test", Max: 10, Shared: shared, Now: func() time.Time {
		return now
	}, Logger: slog.New(slog.DiscardHandler)})
	add := func(n, want int64) {
		t.Helper()
		if sum, _ := c.Add(t.Context(), counter.KeyOf("k"), n, time.Second); sum != want {
			t.Errorf("after %+d the count is %d, want %d", n, sum, want)
		}
	}
	for n := range int64(5) {
		add(1, n+1)
	}
	now = now.Add(time.Second)
	for range 4 {
		c.Add(t.Context(), counter.KeyOf("k"), -1, time.Second)
	}
	add(1, 1)
	add(1, 2)
	add(3, 5)
	add(0, 5)
}

// L1, L2: an IPv4 address is counted by its /24, one of IPv6 by its /64 and by its /48, which has
// four times as much.
func TestGroupsOf(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string][]counter.Group{
		"203.0.113.77":         {{Name: "203.0.113.0/24", Factor: 1}},
		"::ffff:203.0.113.77":  {{Name: "203.0.113.0/24", Factor: 1}},
		"2001:db8:1:2:3::4":    {{Name: "2001:db8:1:2::/64", Factor: 1}, {Name: "2001:db8:1::/48", Factor: 4}},
		"2001:db8:1:ffff::1":   {{Name: "2001:db8:1:ffff::/64", Factor: 1}, {Name: "2001:db8:1::/48", Factor: 4}},
		"fe80::1%eth0":         {{Name: "fe80::/64", Factor: 1}, {Name: "fe80::/48", Factor: 4}},
		"::ffff:0:203.0.113.7": {{Name: "::/64", Factor: 1}, {Name: "::/48", Factor: 4}}, // is not mapped
	} {
		if got := counter.GroupsOf(netip.MustParseAddr(ip)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", ip, got, want)
		}
	}
	unknown := []counter.Group{{Name: "unknown", Factor: 1}}
	if got := counter.GroupsOf(netip.Addr{}); !slices.Equal(got, unknown) {
		t.Errorf("no address: %v", got)
	}
}
