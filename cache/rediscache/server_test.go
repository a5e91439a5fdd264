package rediscache_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis/cache/rediscache"
	"github.com/khodnevis/khodnevis/internal/testserver"
)

// patient is a Config for tests that are about anything but slowness, on a machine that may be
// slow.
func patient() rediscache.Config {
	return rediscache.Config{Prefix: ours + rand.Text() + ":", Timeout: 5 * time.Second}
}

// open opens a cache on the server at addr.
func open(t testing.TB, addr string, cfg rediscache.Config) (*rediscache.Cache, *redis.Pool) {
	t.Helper()
	pool, err := rediscache.Open(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return on(t, pool, cfg), pool
}

func on(t testing.TB, pool *redis.Pool, cfg rediscache.Config) *rediscache.Cache {
	t.Helper()
	c, err := rediscache.New(pool, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openEmpty opens a cache that nobody else uses on the test server, or on a stand-in.
func openEmpty(t testing.TB) (*rediscache.Cache, *redis.Pool, rediscache.Config) {
	t.Helper()
	cfg := patient()
	addr := testserver.Redis(t)
	if addr == "" {
		t.Log("no Redis: miniredis stands in for it")
		pool := standIn(t, cfg)
		return on(t, pool, cfg), pool, cfg
	}
	c, pool := open(t, addr, cfg)
	return c, pool, cfg
}

// ours begins the prefixes of all caches here, so that they are cleared away in one walk over what
// may be many keys.
var ours = "test:" + rand.Text() + ":"

func TestMain(m *testing.M) {
	code := m.Run()
	if addr := os.Getenv("KHODNEVIS_TEST_REDIS"); addr != "" {
		if err := remove(addr, ours); err != nil {
			fmt.Fprintln(os.Stderr, "clearing away what the tests stored:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// remove deletes the keys that begin with prefix.
func remove(addr, prefix string) error {
	conn, err := redis.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for cursor := "0"; ; {
		reply, err := redis.Values(conn.Do("SCAN", cursor, "MATCH", prefix+"*", "COUNT", 10_000))
		if err != nil {
			return err
		}
		var keys []any
		if _, err := redis.Scan(reply, &cursor, &keys); err != nil {
			return err
		}
		if len(keys) > 0 {
			if _, err := conn.Do("UNLINK", keys...); err != nil {
				return err
			}
		}
		if cursor == "0" {
			return nil
		}
	}
}

// standIn starts a miniredis of its own and returns a pool on it.
func standIn(t testing.TB, cfg rediscache.Config) *redis.Pool {
	t.Helper()
	server := miniredis.RunT(t)
	pool, err := rediscache.Open(server.Addr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	clock := &clock{server: server, last: time.Now()}
	dial := pool.DialContext
	pool.DialContext = nil
	pool.Dial = func() (redis.Conn, error) {
		conn, err := dial(t.Context())
		return clocked{conn, clock}, err
	}
	return pool
}

// clock moves the clock of a miniredis, which stands still by itself. Its own mode of following the
// time looks at all keys many times a command.
type clock struct {
	server *miniredis.Miniredis
	mu     sync.Mutex
	last   time.Time
}

func (c *clock) move() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.server.FastForward(now.Sub(c.last))
	c.last = now
}

// clocked is a connection that moves the clock before each command.
type clocked struct {
	redis.Conn
	clock *clock
}

func (c clocked) DoWithTimeout(timeout time.Duration, command string, args ...any) (any, error) {
	c.clock.move()
	return redis.DoWithTimeout(c.Conn, timeout, command, args...)
}

func (c clocked) ReceiveWithTimeout(timeout time.Duration) (any, error) {
	return redis.ReceiveWithTimeout(c.Conn, timeout)
}

// command sends a command beside the cache.
func command(t testing.TB, pool *redis.Pool, name string, args ...any) any {
	t.Helper()
	conn := pool.Get()
	defer conn.Close()
	reply, err := conn.Do(name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return reply
}
