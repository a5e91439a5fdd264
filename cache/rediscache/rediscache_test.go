package rediscache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/cachetest"
	"github.com/khodnevis/khodnevis/cache/rediscache"
)

func TestContract(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) cache.Cache {
		c, _, _ := openEmpty(t)
		return c
	}, cachetest.Config{Timeout: time.Minute})
}

// holds fails the test unless c has want, and nothing else of keys.
func holds(t *testing.T, c *rediscache.Cache, keys []string, want ...cache.Item) {
	t.Helper()
	found, err := c.GetMany(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != len(want) {
		t.Errorf("found %d items, want %d", len(found), len(want))
	}
	for _, w := range want {
		if got, ok := found[w.Key]; !ok || got.Version != w.Version || !bytes.Equal(got.Value, w.Value) {
			t.Errorf("%q is there: %t, with the value %.40q of version %d, want %.40q of %d", w.Key, ok, got.Value,
				got.Version, w.Value, w.Version)
		}
	}
}

func set(t *testing.T, c *rediscache.Cache, items ...cache.Item) {
	t.Helper()
	if err := c.SetMany(t.Context(), items); err != nil {
		t.Fatal(err)
	}
}

func TestOrderHoldsAcrossCommands(t *testing.T) {
	t.Parallel()
	c, _, _ := openEmpty(t)
	var items []cache.Item
	for i := range 1100 { // three commands, with both keys in each
		switch i % 10 {
		case 0:
			items = append(items, cache.Item{Key: "falls", Value: fmt.Append(nil, i), Version: int64(-i)})
		case 5:
			items = append(items, cache.Item{Key: "stays", Value: fmt.Append(nil, i), Version: 7})
		default:
			items = append(items, cache.Item{Key: fmt.Sprint("other ", i), Version: 1})
		}
	}
	set(t, c, items...)
	holds(t, c, []string{"falls", "stays"}, items[0], items[1095])
}

func TestGreatValues(t *testing.T) {
	t.Parallel()
	c, _, _ := openEmpty(t)
	var items []cache.Item
	var keys []string
	for i := range 6 {
		it := cache.Item{Key: fmt.Sprint(i), Value: bytes.Repeat([]byte{byte(i)}, cache.MaxValue-i%2), Version: int64(i)}
		items, keys = append(items, it), append(keys, it.Key)
	}
	set(t, c, items...)
	holds(t, c, keys, items...)
}

func TestWhatSomethingElseStored(t *testing.T) {
	t.Parallel()
	c, pool, cfg := openEmpty(t)
	command(t, pool, "RPUSH", cfg.Prefix+"i:list", "x")
	command(t, pool, "HSET", cfg.Prefix+"i:hash", "f", "x")
	command(t, pool, "SET", cfg.Prefix+"i:text", "x")
	command(t, pool, "RPUSH", cfg.Prefix+"n:list", "x")
	command(t, pool, "SET", cfg.Prefix+"n:text", "x")

	keys := []string{"list", "hash", "text", "own"}
	own := cache.Item{Key: "own", Value: []byte("own"), Version: 1}
	set(t, c, own)
	holds(t, c, keys, own)
	var items []cache.Item
	for _, key := range keys {
		items = append(items, cache.Item{Key: key, Value: []byte(key), Version: 1})
	}
	set(t, c, items...)
	holds(t, c, keys, items...)

	for i := range 10 {
		key := []string{"list", "text"}[i%2]
		if sum, err := c.Add(t.Context(), key, 1, time.Hour); err == nil {
			t.Errorf("adding to a %s gave %d, want an error", key, sum)
		}
	}
	holds(t, c, keys, items...) // an answer that is an error is an answer: Redis is not taken to be down
}

func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	c, pool, _ := openEmpty(t)
	for i := range int64(3) {
		it := cache.Item{Key: "k", Value: fmt.Append(nil, i), Version: i}
		set(t, c, it)
		holds(t, c, []string{"k"}, it)
		if sum, err := c.Add(t.Context(), "k", 1, time.Hour); err != nil || sum != i+1 {
			t.Errorf("adding 1 gave %d, %v, want %d", sum, err, i+1)
		}
		command(t, pool, "SCRIPT", "FLUSH")
	}
}

func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	c, pool, cfg := openEmpty(t)
	cfg.Prefix += "other:"
	other := on(t, pool, cfg)
	it := cache.Item{Key: "k", Value: []byte("v"), Version: 1}
	set(t, c, it)
	holds(t, other, []string{"k"})
	if err := other.DeleteMany(t.Context(), []string{"k"}); err != nil {
		t.Error(err)
	}
	holds(t, c, []string{"k"}, it)
}

func TestCountsEndAlthoughTheyGrow(t *testing.T) {
	t.Parallel()
	c, pool, cfg := openEmpty(t)
	for range 3 {
		if _, err := c.Add(t.Context(), "k", 1, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := redis.Int64(command(t, pool, "PTTL", cfg.Prefix+"n:k"), nil); err != nil || left <= 0 ||
		left > time.Hour.Milliseconds() {
		t.Errorf("a count of an hour has %d ms left, %v", left, err)
	}
}

func TestSumsAreExact(t *testing.T) {
	t.Parallel()
	c, _, _ := openEmpty(t)
	const odd = 1<<53 + 1 // no floating-point number, as no sum below is
	for _, step := range []struct{ n, want int64 }{{1 << 53, 1 << 53}, {1, odd}, {0, odd}, {2, odd + 2}, {-odd - 2, 0},
		{-odd, -odd}} {
		if sum, err := c.Add(t.Context(), "k", step.n, time.Hour); err != nil || sum != step.want {
			t.Errorf("adding %d gave %d, %v, want %d", step.n, sum, err, step.want)
		}
	}
}

func TestOutOfBoundsIsRefused(t *testing.T) {
	t.Parallel()
	c, _, _ := openEmpty(t)
	ctx := t.Context()
	for _, it := range []cache.Item{{}, {Key: "k", TTL: -1}, {Key: "k", TTL: cache.MinTTL - 1},
		{Key: "k", Value: make([]byte, cache.MaxValue+1)}} {
		if err := c.SetMany(ctx, []cache.Item{{Key: "beside"}, it}); !errors.Is(err, cache.ErrInvalid) {
			t.Errorf("setting %d bytes under %q for %v: %v, want ErrInvalid", len(it.Value), it.Key, it.TTL, err)
		}
	}
	holds(t, c, []string{"beside", "k"})
	for _, ttl := range []time.Duration{0, -1, cache.MinTTL - 1} {
		if _, err := c.Add(ctx, "k", 1, ttl); !errors.Is(err, cache.ErrInvalid) {
			t.Errorf("a count of %v: %v, want ErrInvalid", ttl, err)
		}
	}
	if _, err := c.Add(ctx, "", 1, time.Hour); !errors.Is(err, cache.ErrInvalid) {
		t.Errorf("a count without a key: %v, want ErrInvalid", err)
	}
}

func TestACallThatIsOverSendsNothing(t *testing.T) {
	t.Parallel()
	c, _, _ := openEmpty(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if err := c.SetMany(over, []cache.Item{{Key: "k"}}); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want the error of the context", err)
		}
	}
	holds(t, c, []string{"k"}) // and Redis is not taken to be down
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	bad := rediscache.Config{Timeout: -1, MaxConns: -1}
	_, err := rediscache.Open("127.0.0.1:6379", bad)
	for _, name := range []string{"Timeout", "MaxConns"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("opening with %+v: %v, which does not name %s", bad, err, name)
		}
	}
	if _, err := rediscache.New(&redis.Pool{}, bad); err == nil {
		t.Errorf("New took %+v", bad)
	}
	if _, err := rediscache.New(nil, rediscache.Config{}); err == nil {
		t.Error("New took no pool")
	}
}

func TestServersAreChecked(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"127.0.0.1:6379", "redis", "redis://redis", "rediss://:secret@redis:6380/15",
		"redis://user:secret@[::1]:6379/"} {
		pool, err := rediscache.Open(server, rediscache.Config{})
		if err != nil {
			t.Errorf("%s: %v", server, err)
			continue
		}
		if err := pool.Close(); err != nil {
			t.Errorf("%s: closing: %v", server, err)
		}
	}
	for _, server := range []string{"", "http://:secret@redis", "redis://:sec ret@redis:6379",
		"redis://:secret@redis:port", "redis://:secret@redis/name", "redis:secret", "redis://"} {
		_, err := rediscache.Open(server, rediscache.Config{})
		if err == nil {
			t.Errorf("%s was taken", server)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error %q tells the password", server, err)
		}
	}
}

func BenchmarkGetMany(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _, _ := openEmpty(b)
			items, keys := make([]cache.Item, n), make([]string, n)
			for i := range items {
				keys[i] = fmt.Sprint("content ", i)
				items[i] = cache.Item{Key: keys[i], Value: make([]byte, 100), Version: 1, TTL: time.Hour}
			}
			if err := c.SetMany(b.Context(), items); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if found, err := c.GetMany(b.Context(), keys); err != nil || len(found) != n {
					b.Fatal(len(found), err)
				}
			}
		})
	}
}
