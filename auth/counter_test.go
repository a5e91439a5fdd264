package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// sharedCounter is a cache.Counter that can be made to fail, or to hang until it is given up.
type sharedCounter struct {
	clock *testutil.Clock

	mu     sync.Mutex
	counts map[string]sharedCount
	err    error
	hangs  bool
	calls  int
	keys   map[string]bool
}

type sharedCount struct {
	sum  int64
	ends time.Time
}

func (c *sharedCounter) Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	c.mu.Lock()
	c.calls++
	err, hangs := c.err, c.hangs
	c.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.counts[key]
	if now := c.clock.Now(); !ok || !now.Before(v.ends) {
		v = sharedCount{ends: now.Add(ttl)}
	}
	v.sum += n
	c.counts[key] = v
	c.keys[key] = true
	return v.sum, nil
}

func (c *sharedCounter) set(err error, hangs bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.hangs, c.calls = err, hangs, 0
}

// forget is what a cache may do at any time.
func (c *sharedCounter) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.counts)
}

// newFleet is an env whose throttles are shared, and the counter.
func newFleet(t *testing.T) (*env, *sharedCounter) {
	t.Helper()
	e := newEnv(t, nil)
	c := &sharedCounter{clock: e.clock, counts: map[string]sharedCount{}, keys: map[string]bool{}}
	e.Service = e.another(func(cfg *auth.Config) { cfg.Counter = c })
	return e, c
}

// A13, A14: with a counter, processes share their throttles and what they trust.
func TestThrottleShared(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	e.login("alice")
	other := e.another(func(cfg *auth.Config) { cfg.Counter = c })
	wrongAt := func(s *auth.Service, src auth.Source) error {
		_, err := s.Login(t.Context(), auth.Credentials{Username: "alice", Password: "wrong wrong wrong"}, src)
		return err
	}
	for range 5 {
		wantErr(t, wrongAt(e.Service, from(1)), auth.ErrInvalidLogin)
	}
	wantThrottled(t, wrongAt(other, from(1)), time.Millisecond, time.Second)
	e.clock.Advance(time.Second)
	wantErr(t, wrongAt(other, from(1)), auth.ErrInvalidLogin)
	wantThrottled(t, wrongAt(e.Service, from(1)), time.Millisecond, 2*time.Second)
	for n := range 300 {
		_ = wrongAt(other, from(10+n))
	}
	wantThrottled(t, wrongAt(e.Service, from(999)), time.Millisecond, time.Minute)
	if _, err := other.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0)); err != nil {
		t.Errorf("trusted by one process, not by the other: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.keys {
		if strings.Contains(key, "alice") || strings.Contains(key, "10.0") || len(key) > 64 {
			t.Errorf("key %q tells a name or an address", key)
		}
	}
}

// A13: attempts at once, from two processes, are held to the same bound.
func TestThrottleSharedAtomic(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	other := e.another(func(cfg *auth.Config) { cfg.Counter = c })
	var all sync.WaitGroup
	var mu sync.Mutex
	hashed := 0
	for n := range 200 {
		s := e.Service
		if n%2 == 1 {
			s = other
		}
		all.Go(func() {
			_, err := s.Login(t.Context(), auth.Credentials{Username: "alice", Password: "wrong wrong wrong"}, from(1))
			if errors.Is(err, auth.ErrInvalidLogin) {
				mu.Lock()
				defer mu.Unlock()
				hashed++
			}
		})
	}
	all.Wait()
	if hashed != 5 {
		t.Errorf("%d of 200 attempts were hashed, want 5", hashed)
	}
}

// A14: while the shared counter fails or is silent, attempts are counted in process: never
// unlimited, and never slow for long.
func TestThrottleFallsBack(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]struct {
		err   error
		hangs bool
	}{"fails": {errors.New("connection refused"), false}, "hangs": {nil, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, c := newFleet(t)
			e.register("alice")
			for range 3 {
				wantErr(t, e.wrong("alice", from(1)), auth.ErrInvalidLogin)
			}
			c.set(broken.err, broken.hangs)
			for range 2 { // this process saw three failures itself
				wantErr(t, e.wrong("alice", from(1)), auth.ErrInvalidLogin)
			}
			wantThrottled(t, e.wrong("alice", from(1)), time.Second, time.Second)
			if c.calls > 1 {
				t.Errorf("%d calls of a counter that is down", c.calls)
			}
			for n := range 60 {
				_ = e.wrong(fmt.Sprint("name", n), from(3))
			}
			wantThrottled(t, e.wrong("name99", from(3)), 10*time.Minute, 10*time.Minute)

			c.set(nil, false)
			e.clock.Advance(2 * time.Second)
			wantErr(t, e.wrong("alice", from(1)), auth.ErrInvalidLogin)
			if c.calls == 0 {
				t.Error("the counter is not asked again")
			}
			log := strings.Join(events(t, e.log), " ")
			if strings.Count(log, "auth.throttle_local") != 1 || !strings.Contains(log, "auth.throttle_shared") {
				t.Errorf("logged: %s", log)
			}
		})
	}
}

// A13, A14: a shared counter that forgets everything, as caches may, gives nobody more tries at an
// account, and locks no owner out.
func TestSharedThrottleIsEvicted(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	e.login("alice")
	hashes, _ := e.CountHashes()
	for n := range 300 {
		c.forget()
		_ = e.wrong("alice", from(1+n))
	}
	if n := hashes.Load(); n != 100 {
		t.Errorf("%d hashes, want 100", n)
	}
	c.forget()
	e.login("alice")
}

// A14: what other processes counted does not become credit in this one when the shared counter
// fails.
func TestThrottleFallsBackWithoutCredit(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	other := e.another(func(cfg *auth.Config) { cfg.Counter = c })
	for range 4 {
		_, err := other.Login(t.Context(), auth.Credentials{Username: "alice", Password: "wrong wrong wrong"}, from(1))
		wantErr(t, err, auth.ErrInvalidLogin)
	}
	if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(1)); err != nil {
		t.Fatal(err)
	}
	c.set(errors.New("connection refused"), false)
	for range 5 {
		wantErr(t, e.wrong("alice", from(1)), auth.ErrInvalidLogin)
	}
	wantThrottled(t, e.wrong("alice", from(1)), time.Second, time.Second)
}
