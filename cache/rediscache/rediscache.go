// Package rediscache is a cache in Redis that all processes share, over redigo.
//
// It takes the host's pool and never closes it; Open makes a suitable one. It needs Redis 6.2 or
// later, or a compatible server, but not Redis Cluster: one command may name keys of several slots.
//
// # Keys
//
// An item is a string under PREFIX + "i:" + key: eight bytes of version, in which greater versions
// are greater bytes, and the value. A count is a decimal string under PREFIX + "n:" + key. A value
// that another program put under the key of an item is a miss, and the next SetMany replaces it.
// Items without a TTL stay until Redis evicts them, so give it a maxmemory and a policy that
// evicts.
//
// # Errors
//
// A call waits at most Config.Timeout for a connection, and as long for sending its command and for
// the answer. More than 512 keys or 1 MiB of values are sent in several commands, and an error
// leaves those before it done. After five failures in a row the circuit breaker opens: every call
// returns ErrDown at once, except one a second that tries again. A count that failed may have been
// added to.
//
// A Redis that accepts no writes, as a replica or because it is full with the policy noeviction,
// still answers reads, with old values. A connection that refuses a write because it leads to a
// replica is closed.
//
// A context that is done ends a wait for a connection, and no later part is sent. A wait for an
// answer heeds the context's deadline, and Config.Timeout bounds it for a context that is
// cancelled.
package rediscache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/breaker"
)

// Bounds of one command, so that none holds up the other clients of Redis for long.
const (
	maxKeys  = 512
	maxBytes = 1 << 20 // of values to set; one value may have as many by itself
)

// versionSize is how many bytes of a stored item are its version.
const versionSize = 8

// Config is for New and Open; the zero value is usable.
type Config struct {
	// Prefix begins every key. Hosts that share a Redis have different ones. Empty: "khodnevis:".
	Prefix string
	// Timeout bounds each wait: for a connection, for a command to be taken, for its answer. Zero:
	// 100 ms. Raise it for a Redis that is far away, or for large values that take longer.
	Timeout time.Duration
	// MaxConns is how many connections Open's pool has at most; a call that finds all of them busy
	// waits, at most for Timeout. Zero: 32. New ignores it.
	MaxConns int
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = "khodnevis:"
	}
	if c.Timeout == 0 {
		c.Timeout = 100 * time.Millisecond
	}
	if c.MaxConns == 0 {
		c.MaxConns = 32
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Timeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("rediscache: Timeout is %v, must be at least 1ms", c.Timeout))
	}
	if c.MaxConns < 0 {
		errs = append(errs, fmt.Errorf("rediscache: MaxConns is %d, must not be negative", c.MaxConns))
	}
	return errors.Join(errs...)
}

// Cache keeps items and counts in Redis.
type Cache struct {
	pool    *redis.Pool
	items   string // begins the keys of items
	counts  string // begins the keys of counts
	timeout time.Duration
	breaker breaker.Breaker
}

var (
	_ cache.Cache   = (*Cache)(nil)
	_ cache.Counter = (*Cache)(nil)
	_ cache.Breaker = (*Cache)(nil)
)

// New returns a cache on pool, which stays the caller's. It does not connect. Dial functions of a
// pool that Open did not make must set timeouts for connecting and for writing: redigo has none by
// default, and a Cache can set none for them.
func New(pool *redis.Pool, cfg Config) (*Cache, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errors.New("rediscache: the pool is nil")
	}
	return &Cache{pool: pool, items: cfg.Prefix + "i:", counts: cfg.Prefix + "n:", timeout: cfg.Timeout}, nil
}

// Down implements cache.Breaker.
func (c *Cache) Down() bool { return c.breaker.Open() }

// GetMany implements cache.Cache.
func (c *Cache) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	found := make(map[string]cache.Item, len(keys))
	for len(keys) > 0 {
		part := keys[:min(len(keys), maxKeys)]
		keys = keys[len(part):]
		// MGET answers nil for a key of another type, where GET answers an error.
		values, err := redis.Values(c.ask(ctx, "MGET", c.named(part)))
		if err == nil && len(values) != len(part) {
			err = fmt.Errorf("%d values for %d keys", len(values), len(part))
		}
		if err != nil {
			return nil, wrap("get", err)
		}
		for i, value := range values {
			if stored, ok := value.([]byte); ok && len(stored) >= versionSize {
				found[part[i]] = cache.Item{Key: part[i], Value: stored[versionSize:], Version: version(stored)}
			}
		}
	}
	return found, nil
}

// SetMany implements cache.Cache. It refuses items outside the bounds.
func (c *Cache) SetMany(ctx context.Context, items []cache.Item) error {
	if err := cache.Validate(items...); err != nil {
		return fmt.Errorf("rediscache: %w", err)
	}
	for len(items) > 0 {
		n, size := 0, 0
		for n < min(len(items), maxKeys) && (n == 0 || size+len(items[n].Value) <= maxBytes) {
			size += len(items[n].Value)
			n++
		}
		if _, err := c.run(ctx, setScript, c.setArgs(items[:n])); err != nil {
			return wrap("set", err)
		}
		items = items[n:]
	}
	return nil
}

// DeleteMany implements cache.Cache.
func (c *Cache) DeleteMany(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		part := keys[:min(len(keys), maxKeys)]
		keys = keys[len(part):]
		if _, err := c.ask(ctx, "UNLINK", c.named(part)); err != nil {
			return wrap("delete", err)
		}
	}
	return nil
}

// Add implements cache.Counter. It refuses a key or ttl outside the bounds.
func (c *Cache) Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	if ttl == 0 {
		return 0, fmt.Errorf("rediscache: %w: a count needs a TTL", cache.ErrInvalid)
	}
	if err := cache.Validate(cache.Item{Key: key, TTL: ttl}); err != nil {
		return 0, fmt.Errorf("rediscache: %w", err)
	}
	sum, err := redis.Int64(c.run(ctx, addScript, []any{1, c.counts + key, n, ttl.Milliseconds()}))
	if err != nil {
		return 0, wrap("add", err)
	}
	return sum, nil
}

// named returns the names that keys have in Redis.
func (c *Cache) named(keys []string) []any {
	args := make([]any, len(keys))
	for i, key := range keys {
		args[i] = c.items + key
	}
	return args
}

// setArgs returns what setScript takes.
func (c *Cache) setArgs(items []cache.Item) []any {
	args := make([]any, 1+3*len(items))
	args[0] = len(items)
	for i, item := range items {
		stored := make([]byte, versionSize, versionSize+len(item.Value))
		binary.BigEndian.PutUint64(stored, uint64(item.Version)^signBit)
		args[1+i] = c.items + item.Key
		args[1+len(items)+2*i] = append(stored, item.Value...)
		args[2+len(items)+2*i] = item.TTL.Milliseconds()
	}
	return args
}

// signBit is flipped in stored versions: negative ones have fewer bytes of value than positive ones
// then.
const signBit = 1 << 63

// version reads the version of a stored item.
func version(stored []byte) int64 { return int64(binary.BigEndian.Uint64(stored) ^ signBit) }

// wrap names the operation in err. ErrDown says enough by itself, and may come often.
func wrap(op string, err error) error {
	if errors.Is(err, ErrDown) {
		return err
	}
	return fmt.Errorf("rediscache: %s: %w", op, err)
}
