package auth

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

// Bounds of counting.
const (
	maxCounts     = 100_000                // counts kept in process
	sharedTimeout = 100 * time.Millisecond // for one call to the shared counter
	sharedPause   = time.Second            // how long a shared counter that failed is left alone
)

// countKey is the digest of what is counted, so that a count costs the same memory however long a name is.
type countKey [16]byte

type count struct {
	sum  int64
	ends time.Time
}

// counter counts in process and, where there is a shared counter, in that as well. The shared sum is the one that holds while it is
// to be had; the one in process goes on from what this process has seen.
type counter struct {
	now func() time.Time
	log *slog.Logger

	mu     sync.Mutex
	counts *lru[countKey, count]

	shared cache.Counter // may be nil
	// sharedDown is until when, in Unix nanoseconds, the shared counter is left alone; 0 if it worked.
	sharedDown atomic.Int64
}

func newCounter(cfg Config, maxItems int) *counter {
	return &counter{now: cfg.Now, log: cfg.Logger, counts: newLRU[countKey, count](maxItems, nil), shared: cfg.Counter}
}

// add adds n to a count that ends ttl after it began, and returns the sum and, as well as is known, when the count ends from now.
func (c *counter) add(ctx context.Context, key countKey, n int64, ttl time.Duration) (int64, time.Duration) {
	sum, left := c.addLocal(key, n, ttl)
	if shared, ok := c.addShared(ctx, key, n, ttl); ok {
		return shared, left
	}
	return sum, left
}

func (c *counter) addLocal(key countKey, n int64, ttl time.Duration) (int64, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	v, ok := c.counts.get(key)
	if !ok || !now.Before(v.ends) {
		v = count{ends: now.Add(ttl)}
		if n <= 0 {
			c.counts.remove(key)
			return 0, ttl
		}
	}
	v.sum = max(0, v.sum+n)
	c.counts.put(key, v)
	return v.sum, v.ends.Sub(now)
}

func (c *counter) addShared(ctx context.Context, key countKey, n int64, ttl time.Duration) (int64, bool) {
	down := c.sharedDown.Load()
	if c.shared == nil || down > c.now().UnixNano() {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedTimeout)
	defer cancel()
	sum, err := c.shared.Add(ctx, "khodnevis:auth:"+hex.EncodeToString(key[:]), n, ttl)
	if err != nil {
		c.sharedDown.Store(c.now().Add(sharedPause).UnixNano())
		if down == 0 {
			c.log.LogAttrs(ctx, slog.LevelWarn, "auth.throttle_local", slog.Any("error", err))
		}
		return 0, false
	}
	if down != 0 && c.sharedDown.CompareAndSwap(down, 0) {
		c.log.LogAttrs(ctx, slog.LevelInfo, "auth.throttle_shared")
	}
	return sum, true
}
