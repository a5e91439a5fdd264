package lrucache_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/cachetest"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

func TestContract(t *testing.T) {
	cachetest.Run(t, func(*testing.T) cache.Cache { return lrucache.New(lrucache.Config{}) }, cachetest.Config{})
}

func newClock() *testutil.Clock {
	return testutil.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}

func set(t *testing.T, c *lrucache.Cache, items ...cache.Item) {
	t.Helper()
	if err := c.SetMany(t.Context(), items); err != nil {
		t.Fatal(err)
	}
}

// holds fails the test unless c has exactly those of keys that are in want.
func holds(t *testing.T, c *lrucache.Cache, keys []string, want string) {
	t.Helper()
	var got string
	for _, key := range keys { // one call each, so that their order of use is known
		found, err := c.GetMany(t.Context(), []string{key})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := found[key]; ok {
			got += key
		}
	}
	if got != want {
		t.Errorf("the cache has %q, want %q", got, want)
	}
}

func TestLeastUsedLeavesWhenThereAreTooManyItems(t *testing.T) {
	t.Parallel()
	c := lrucache.New(lrucache.Config{MaxItems: 3})
	set(t, c, cache.Item{Key: "a"}, cache.Item{Key: "b"}, cache.Item{Key: "c"})
	holds(t, c, []string{"a"}, "a") // used
	set(t, c, cache.Item{Key: "d"})
	holds(t, c, []string{"a", "b", "c", "d"}, "acd")
	set(t, c, cache.Item{Key: "a", Version: 1}, cache.Item{Key: "e"}) // writing uses, too
	holds(t, c, []string{"a", "b", "c", "d", "e"}, "ade")
}

func TestLeastUsedLeaveWhenThereAreTooManyBytes(t *testing.T) {
	t.Parallel()
	c := lrucache.New(lrucache.Config{MaxBytes: 3 * (lrucache.Overhead + 101)})
	value := make([]byte, 100)
	set(t, c, cache.Item{Key: "a", Value: value}, cache.Item{Key: "b", Value: value}, cache.Item{Key: "c", Value: value})
	holds(t, c, []string{"a", "b", "c"}, "abc")
	set(t, c, cache.Item{Key: "d", Value: make([]byte, 101)})
	holds(t, c, []string{"a", "b", "c", "d"}, "cd")
	set(t, c, cache.Item{Key: "c", Value: make([]byte, 4*(lrucache.Overhead+101)), Version: 1})
	holds(t, c, []string{"c", "d"}, "d") // too great to keep, and what it replaced is out of date
	if got, want := c.Usage(), (lrucache.Usage{Items: 1, Bytes: lrucache.Overhead + 102}); got != want {
		t.Errorf("usage is %+v, want %+v", got, want)
	}
}

func TestEndedItemsLeaveBeforeLiveOnes(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := lrucache.New(lrucache.Config{MaxItems: 3, Now: clock.Now})
	set(t, c, cache.Item{Key: "a"}, cache.Item{Key: "b", TTL: time.Second}, cache.Item{Key: "c"})
	clock.Advance(time.Second)
	set(t, c, cache.Item{Key: "d"})
	holds(t, c, []string{"a", "b", "c", "d"}, "acd")

	const small = lrucache.Overhead + 1
	c = lrucache.New(lrucache.Config{MaxBytes: 11 * small, Now: clock.Now})
	set(t, c, cache.Item{Key: "a"})
	for i := range 10 {
		set(t, c, cache.Item{Key: fmt.Sprint(i), TTL: time.Second})
	}
	clock.Advance(time.Second)
	set(t, c, cache.Item{Key: "b", Value: make([]byte, 9*small)}) // takes the room of all that have ended
	holds(t, c, []string{"a", "b"}, "ab")
}

func TestTTLEndsToTheNanosecond(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := lrucache.New(lrucache.Config{Now: clock.Now})
	set(t, c, cache.Item{Key: "a", TTL: time.Second})
	clock.Advance(time.Second - 1)
	holds(t, c, []string{"a"}, "a")
	clock.Advance(1)
	holds(t, c, []string{"a"}, "")
	if items := c.Usage().Items; items != 0 {
		t.Errorf("%d items are kept after one was found past its TTL", items)
	}
}

func TestWritersClearAwayAFewEndedItems(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := lrucache.New(lrucache.Config{Now: clock.Now})
	const n = 1000
	for i := range n {
		set(t, c, cache.Item{Key: fmt.Sprint("old ", i), TTL: time.Duration(n-i) * time.Millisecond})
		if _, err := c.Add(t.Context(), fmt.Sprint("old ", i), 1, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(time.Second)
	set(t, c, cache.Item{Key: "new"})
	if left := c.Usage().Items; left >= n || left < n-10 {
		t.Errorf("one write left %d of %d ended items", left, n)
	}
	for i := range n / 2 {
		set(t, c, cache.Item{Key: fmt.Sprint("new ", i)})
		if _, err := c.Add(t.Context(), fmt.Sprint("new ", i), 1, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Usage(); got.Items != n/2+1 || got.Counts != n/2 {
		t.Errorf("usage is %+v after %d writes, want only what was written last", got, n/2)
	}
}

func TestCountsHaveABoundOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := lrucache.New(lrucache.Config{MaxItems: 3, MaxCounts: 2})
	add := func(key string, n, want int64) {
		t.Helper()
		if got, err := c.Add(t.Context(), key, n, time.Hour); err != nil || got != want {
			t.Errorf("adding %d to %q gave %d, %v, want %d", n, key, got, err, want)
		}
	}
	add("a", 1, 1)
	add("b", 1, 1)
	for i := range 10 {
		set(t, c, cache.Item{Key: fmt.Sprint(i)})
	}
	add("a", 1, 2)
	add("c", 1, 1) // drives out b
	add("a", 1, 3)
	add("b", 1, 1)
	if got := c.Usage(); got.Items != 3 || got.Counts != 2 {
		t.Errorf("usage is %+v, want 3 items and 2 counts", got)
	}
}

func TestOutOfBoundsIsRefused(t *testing.T) {
	t.Parallel()
	c := lrucache.New(lrucache.Config{})
	for _, it := range []cache.Item{{}, {Key: "k", TTL: -1}, {Key: "k", TTL: cache.MinTTL - 1},
		{Key: "k", Value: make([]byte, cache.MaxValue+1)}} {
		if err := c.SetMany(t.Context(), []cache.Item{it}); !errors.Is(err, cache.ErrInvalid) {
			t.Errorf("key %q, TTL %v, %d bytes: %v", it.Key, it.TTL, len(it.Value), err)
		}
	}
	for _, ttl := range []time.Duration{0, -1, 1} {
		if _, err := c.Add(t.Context(), "k", 1, ttl); !errors.Is(err, cache.ErrInvalid) {
			t.Errorf("a count with the TTL %v: %v", ttl, err)
		}
	}
	if _, err := c.Add(t.Context(), "", 1, time.Second); !errors.Is(err, cache.ErrInvalid) {
		t.Errorf("a count without key: %v", err)
	}
}

// A random walk keeps the bookkeeping in step with what is there, and the bounds.
func TestUsageAgreesWithWhatIsThere(t *testing.T) {
	t.Parallel()
	clock := newClock()
	const maxItems, maxBytes = 40, 30 * (lrucache.Overhead + 20)
	c := lrucache.New(lrucache.Config{MaxItems: maxItems, MaxBytes: maxBytes, Now: clock.Now})
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, 60)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	for range 20_000 {
		key := keys[rng.IntN(len(keys))]
		switch rng.IntN(10) {
		case 0:
			if err := c.DeleteMany(t.Context(), []string{key}); err != nil {
				t.Fatal(err)
			}
		case 1:
			clock.Advance(time.Duration(rng.IntN(5)) * time.Millisecond)
		default:
			set(t, c, cache.Item{
				Key: key, Value: make([]byte, rng.IntN(30)), Version: rng.Int64N(5),
				TTL: time.Duration(rng.IntN(20)) * time.Millisecond,
			})
		}
		if u := c.Usage(); u.Items > maxItems || u.Bytes > maxBytes {
			t.Fatalf("usage is %+v, over the bounds", u)
		}
	}
	found, err := c.GetMany(t.Context(), keys) // drops what has ended
	if err != nil {
		t.Fatal(err)
	}
	want := lrucache.Usage{Items: len(found)}
	for key, it := range found {
		want.Bytes += int64(len(key)+len(it.Value)) + lrucache.Overhead
	}
	if got := c.Usage(); got != want {
		t.Errorf("usage is %+v, there is %+v", got, want)
	}
	if err := c.DeleteMany(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	if got := c.Usage(); got != (lrucache.Usage{}) {
		t.Errorf("usage is %+v after everything was deleted", got)
	}
}

func BenchmarkGet(b *testing.B) {
	c := lrucache.New(lrucache.Config{})
	items, keys := make([]cache.Item, 1000), make([]string, 1000)
	for i := range items {
		keys[i] = fmt.Sprint("key ", i)
		items[i] = cache.Item{Key: keys[i], Value: make([]byte, 200), TTL: time.Hour}
	}
	if err := c.SetMany(b.Context(), items); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n := i % len(keys)
			if _, err := c.GetMany(b.Context(), keys[n:n+1]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSetFull(b *testing.B) {
	c := lrucache.New(lrucache.Config{MaxItems: 10_000})
	value := make([]byte, 200)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := c.SetMany(b.Context(),
			[]cache.Item{{Key: fmt.Sprint("key ", i), Value: value, TTL: time.Hour}}); err != nil {
			b.Fatal(err)
		}
	}
}
