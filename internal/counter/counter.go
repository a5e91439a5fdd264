// Package counter counts attempts and requests in fixed windows: in process and, where a cache
// counts for all processes, in that cache too. It also decides which groups an address is counted
// in (GroupsOf), and limits what is in flight in a process, with a fair share for each group
// (Limiter).
package counter

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/lru"
)

// Bounds of counting.
const (
	SharedTimeout = 100 * time.Millisecond // for one call to the shared counter
	sharedPause   = time.Second            // how long a shared counter that failed is not asked
)

// Key is the digest of what is counted, so that a count costs the same memory however long a name
// is.
type Key [16]byte

// KeyOf returns the key of what has these parts.
func KeyOf(parts ...string) Key {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return Key(sum[:16])
}

// Config configures a Counter. All but Shared must be set.
type Config struct {
	// Name begins the keys of shared counts and the events in the log.
	Name string
	// Max is how many counts are kept in process; those used longest ago are forgotten.
	Max int
	// Pooled counts are never forgotten before they end, however many there are: keys beyond Max share
	// a count with other keys. So a count may be too high and never too low. Which keys share is drawn
	// in every process: nobody can choose it.
	Pooled bool
	// Lasting counts are the greater of the shared count and this process's, so that the shared
	// counter may forget them. It is for counts that are never reset: other processes would not see
	// the reset.
	Lasting bool
	// Shared counts for all processes. Nil: none does.
	Shared cache.Counter
	Now    func() time.Time
	Logger *slog.Logger
}

type count struct {
	sum  int64
	ends time.Time
}

// Counter counts in process and, where there is a shared counter, in that as well. The shared sum
// is used while the shared counter answers; otherwise the sum of this process. It may be used
// concurrently.
type Counter struct {
	cfg  Config
	seed maphash.Seed

	mu     sync.Mutex
	counts *lru.Map[Key, count]

	// sharedDown is until when, in Unix nanoseconds, the shared counter is not asked; 0 if it worked.
	sharedDown *atomic.Int64
}

// New returns a Counter.
func New(cfg Config) *Counter {
	return &Counter{cfg: cfg, seed: maphash.MakeSeed(), counts: lru.New[Key, count](cfg.Max, nil),
		sharedDown: new(atomic.Int64)}
}

// Beside returns a Counter on the same shared counter. When that is down, both know as soon as one
// of them does.
func (c *Counter) Beside(cfg Config) *Counter {
	beside := New(cfg)
	beside.sharedDown = c.sharedDown
	return beside
}

// Add adds n to a count that ends ttl after it began, and returns the sum and, as far as this
// process knows, in how long the count ends.
func (c *Counter) Add(ctx context.Context, key Key, n int64, ttl time.Duration) (int64, time.Duration) {
	sum, left := c.addLocal(key, n, ttl)
	shared, ok := c.AddShared(ctx, key, n, ttl)
	switch {
	case !ok:
		return sum, left
	case c.cfg.Lasting:
		return max(sum, shared), left
	}
	return shared, left
}

// pool returns the key under which a pooled count is kept.
func (c *Counter) pool(key Key) (pool Key) {
	binary.LittleEndian.PutUint64(pool[:], maphash.Bytes(c.seed, key[:])%uint64(c.cfg.Max))
	return pool
}

func (c *Counter) addLocal(key Key, n int64, ttl time.Duration) (int64, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.Pooled {
		key = c.pool(key)
	}
	now := c.cfg.Now()
	v, ok := c.counts.Get(key)
	if !ok || !now.Before(v.ends) {
		v = count{ends: now.Add(ttl)}
	}
	v.sum = max(0, v.sum+n)
	if v.sum > 0 {
		c.counts.Put(key, v)
	} else {
		c.counts.Remove(key) // or attempts that came to nothing would push out those that did not
	}
	return v.sum, v.ends.Sub(now)
}

// AddShared adds n to the shared count alone. It returns false if the shared counter does not
// answer. A count that was reduced after it had ended begins below zero. The next addition counts
// as the first nevertheless, or each undo at the end of a window would let one more attempt pass.
func (c *Counter) AddShared(ctx context.Context, key Key, n int64, ttl time.Duration) (int64, bool) {
	down := c.sharedDown.Load()
	if c.cfg.Shared == nil || down > c.cfg.Now().UnixNano() {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), SharedTimeout)
	defer cancel()
	name := "khodnevis:" + c.cfg.Name + ":" + hex.EncodeToString(key[:])
	sum, err := c.cfg.Shared.Add(ctx, name, n, ttl)
	if err == nil && sum < n {
		sum, err = c.cfg.Shared.Add(ctx, name, n-sum, ttl)
	}
	if err != nil {
		c.sharedDown.Store(c.cfg.Now().Add(sharedPause).UnixNano())
		if down == 0 {
			c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, c.cfg.Name+".throttle_local", slog.Any("error", err))
		}
		return 0, false
	}
	if down != 0 && c.sharedDown.CompareAndSwap(down, 0) {
		c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, c.cfg.Name+".throttle_shared")
	}
	return sum, true
}

// Len returns how many counts are kept in process.
func (c *Counter) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts.Len()
}
