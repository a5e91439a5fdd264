package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/rediscache"
	"github.com/khodnevis/khodnevis/internal/testserver"
)

// everyMethod calls each method once and returns the first error; each must be wrong or none.
func everyMethod(t *testing.T, c *rediscache.Cache, key string) error {
	t.Helper()
	ctx := t.Context()
	_, got := c.GetMany(ctx, []string{key})
	set := c.SetMany(ctx, []cache.Item{{Key: key, Value: []byte(key)}})
	deleted := c.DeleteMany(ctx, []string{key})
	_, added := c.Add(ctx, key, 1, time.Hour)
	for _, err := range []error{set, deleted, added} {
		if (err == nil) != (got == nil) {
			t.Errorf("GetMany: %v, SetMany: %v, DeleteMany: %v, Add: %v; want an error of all or of none", got, set, deleted,
				added)
		}
	}
	return got
}

// recovers fails the test unless every method of c answers again soon. One that was late, as on a
// busy machine, is asked again. recovers returns the items of the last answer to GetMany for "k".
func recovers(t *testing.T, c *rediscache.Cache, within time.Duration) map[string]cache.Item {
	t.Helper()
	began := time.Now()
	for {
		found, got := c.GetMany(t.Context(), []string{"k"})
		set := c.SetMany(t.Context(), []cache.Item{{Key: "other", Value: []byte("other")}})
		deleted := c.DeleteMany(t.Context(), []string{"other"})
		_, added := c.Add(t.Context(), "other", 1, time.Hour)
		err, took := errors.Join(got, set, deleted, added), time.Since(began)
		if err == nil {
			t.Logf("answered again after %v", took.Round(time.Millisecond))
			return found
		}
		if took > within {
			t.Fatalf("no answer %v after Redis came back: %v", took, err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

func TestEvictionUnderLoad(t *testing.T) {
	t.Parallel()
	addr, _ := testserver.OwnRedis(t)
	c, pool := open(t, addr, patient())
	const flushes = 200
	done := make(chan struct{})
	var load sync.WaitGroup
	var hits, misses atomic.Int64
	for n := range 8 {
		load.Go(func() {
			for i := int64(0); ; i++ {
				select {
				case <-done:
					return
				default:
				}
				key := fmt.Sprint(n, " ", i%7)
				if err := c.SetMany(t.Context(), []cache.Item{{Key: key, Value: []byte(key), Version: i}}); err != nil {
					t.Error("setting:", err)
					return
				}
				found, err := c.GetMany(t.Context(), []string{key})
				if err != nil {
					t.Error("getting:", err)
					return
				}
				switch it, ok := found[key]; {
				case !ok:
					misses.Add(1)
				case string(it.Value) != key || it.Version != i:
					t.Errorf("%q has the value %q of version %d, want version %d", key, it.Value, it.Version, i)
					return
				default:
					hits.Add(1)
				}
				if sum, err := c.Add(t.Context(), key, 1, time.Hour); err != nil || sum < 1 {
					t.Errorf("adding 1 gave %d, %v", sum, err)
					return
				}
			}
		})
	}
	for i := range flushes {
		name := []string{"FLUSHALL", "SCRIPT"}[i%2]
		args := [][]any{nil, {"FLUSH"}}[i%2]
		command(t, pool, name, args...)
	}
	close(done)
	load.Wait()
	t.Logf("%d hits, %d misses during %d flushes", hits.Load(), misses.Load(), flushes)
	set(t, c, cache.Item{Key: "k", Value: []byte("v")})
	command(t, pool, "FLUSHALL")
	holds(t, c, []string{"k"})
}

func TestSilence(t *testing.T) {
	t.Parallel()
	addr, server := testserver.OwnRedis(t)
	cfg := rediscache.Config{} // the defaults, which are what a host gets
	const timeout = 100 * time.Millisecond
	c, _ := open(t, addr, cfg)
	recovers(t, c, 10*time.Second)
	it := cache.Item{Key: "k", Value: []byte("as it was"), Version: 1}
	set(t, c, it)

	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	var down atomic.Int64
	for range 8 {
		callers.Go(func() {
			for range 20 {
				began := time.Now()
				_, err := c.GetMany(t.Context(), []string{"k"})
				if took := time.Since(began); err == nil || took > timeout+time.Second {
					t.Errorf("a stopped Redis: %v after %v", err, took)
				}
				if errors.Is(err, rediscache.ErrDown) {
					down.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if down.Load() == 0 {
		t.Error("160 calls, and Redis was never taken to be down")
	}
	if err := everyMethod(t, c, "other"); err == nil {
		t.Error("a stopped Redis answered")
	}
	if err := server.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := recovers(t, c, 10*time.Second)["k"]; got.Version != it.Version || string(got.Value) != string(it.Value) {
		t.Errorf("after the silence %q of version %d, an answer to another question", got.Value, got.Version)
	}
}

func TestDeadConnectionsDoNotLast(t *testing.T) {
	t.Parallel()
	addr, _ := testserver.OwnRedis(t)
	c, pool := open(t, addr, patient())
	fill(t, pool, 32)
	own, err := redis.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if n, err := redis.Int(own.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")); err != nil || n < 32 {
		t.Fatalf("ended %d connections, %v", n, err)
	}
	// One a second would take half a minute.
	recovers(t, c, 5*time.Second)
}

// fill makes n idle connections.
func fill(t *testing.T, pool *redis.Pool, n int) {
	t.Helper()
	for range n {
		conn := pool.Get()
		defer conn.Close()
		if _, err := conn.Do("PING"); err != nil {
			t.Fatal(err)
		}
	}
}

// silent listens and never answers; it counts who came.
func silent(t *testing.T) (addr string, came *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came = new(atomic.Int64)
	var served sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return l.Addr().String(), came
}

func TestASilentRedisIsLeftAlone(t *testing.T) {
	t.Parallel()
	addr, came := silent(t)
	c, _ := open(t, addr, rediscache.Config{Timeout: 20 * time.Millisecond})
	began := time.Now()
	for i := range 5 {
		if _, err := c.GetMany(t.Context(), []string{"k"}); err == nil || errors.Is(err, rediscache.ErrDown) {
			t.Fatalf("call %d: %v", i, err)
		}
		if want := i == 4; c.Down() != want {
			t.Errorf("after call %d: Down is %v", i, c.Down())
		}
	}
	down := 0
	for range 1000 {
		if err := everyMethod(t, c, "k"); errors.Is(err, rediscache.ErrDown) {
			down++
		}
	}
	probes := int64(time.Since(began)/time.Second) + 1
	if n := came.Load(); n > 5+probes || down < 900 {
		t.Errorf("%d connections in %v, and %d of 1000 calls were kept away", n, time.Since(began), down)
	}
}

func TestADeadlineIsHeeded(t *testing.T) {
	t.Parallel()
	addr, _ := silent(t)
	c, _ := open(t, addr, rediscache.Config{Timeout: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.GetMany(ctx, []string{"k"}); err == nil {
		t.Error("got an answer from nobody")
	}
}

func TestCallersWhoLeaveDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	cfg := patient()
	cfg.Timeout, cfg.MaxConns = time.Hour, 1
	pool := standIn(t, cfg)
	c := on(t, pool, cfg)
	only := pool.Get()
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		leave := time.AfterFunc(5*time.Millisecond, cancel)
		if _, err := c.GetMany(ctx, []string{"k"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the error of the context", err)
		}
		leave.Stop()
		cancel()
	}
	if c.Down() {
		t.Error("Down, though nobody waited for an answer in vain")
	}
	if err := only.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, c, []string{"k"})
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	c, _ := open(t, "127.0.0.1:1", rediscache.Config{})
	for range 3 {
		if err := everyMethod(t, c, "k"); err == nil {
			t.Error("got an answer from nobody")
		}
	}
	if _, err := c.GetMany(t.Context(), []string{"k"}); !errors.Is(err, rediscache.ErrDown) {
		t.Errorf("after twelve failures: %v, want ErrDown", err)
	}
}

func TestAWrongPasswordIsNoAnswer(t *testing.T) {
	t.Parallel()
	addr, _ := testserver.OwnRedis(t)
	c, _ := open(t, "redis://:wrong@"+addr, rediscache.Config{Timeout: 5 * time.Second})
	for range 2 {
		if err := everyMethod(t, c, "k"); err == nil {
			t.Error("got an answer with a wrong password")
		}
	}
	if _, err := c.GetMany(t.Context(), []string{"k"}); !errors.Is(err, rediscache.ErrDown) {
		t.Errorf("after eight failures: %v, want ErrDown", err)
	}
}
