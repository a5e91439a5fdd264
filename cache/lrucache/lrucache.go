// Package lrucache is a cache in the memory of one process that is bounded in items and in bytes.
//
// When it is full it forgets what is past its TTL first, and then what has not been used for
// longest. It starts no goroutine: each write also removes a few items that are past their TTL.
//
// # Counts
//
// Counts have a bound of their own, so that items cannot evict them. A count that other counts
// evicted begins again at zero; a host that limits rates by counts chooses Config.MaxCounts with
// that in mind.
//
// # Concurrency
//
// One lock guards everything. No value is copied under it.
package lrucache

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

// Overhead is what an item counts for besides the bytes of its key and value; it is about what
// bookkeeping takes.
const Overhead = 192

// Config bounds a Cache; the zero value is usable.
type Config struct {
	// MaxItems is how many items are kept. Zero or less: 100,000.
	MaxItems int
	// MaxBytes is how many bytes the items may take: their keys, values and Overhead for each. An
	// item that is greater by itself is not kept. Zero or less: 64 MiB.
	MaxBytes int64
	// MaxCounts is how many counts are kept, each of about Overhead bytes and its key. Zero or
	// less: 100,000.
	MaxCounts int
	// Now is the clock of TTLs. Nil: time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.MaxItems <= 0 {
		c.MaxItems = 100_000
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 64 << 20
	}
	if c.MaxCounts <= 0 {
		c.MaxCounts = 100_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Cache keeps items and counts.
type Cache struct {
	now func() time.Time

	mu     sync.Mutex
	items  table
	counts table
}

var (
	_ cache.Cache   = (*Cache)(nil)
	_ cache.Counter = (*Cache)(nil)
)

// New returns an empty cache.
func New(cfg Config) *Cache {
	cfg = cfg.withDefaults()
	return &Cache{
		now:    cfg.Now,
		items:  newTable(cfg.MaxItems, cfg.MaxBytes),
		counts: newTable(cfg.MaxCounts, int64(cfg.MaxCounts)*(Overhead+cache.MaxKey)),
	}
}

// GetMany implements cache.Cache.
func (c *Cache) GetMany(_ context.Context, keys []string) (map[string]cache.Item, error) {
	found := make(map[string]cache.Item, len(keys))
	c.find(keys, found)
	for key, item := range found {
		item.Value = slices.Clone(item.Value)
		found[key] = item
	}
	return found, nil
}

// find puts the items of keys into found. Their values are the cache's own, which are never
// changed.
func (c *Cache) find(keys []string, found map[string]cache.Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, key := range keys {
		if e := c.items.get(key, now); e != nil {
			found[key] = cache.Item{Key: e.key, Value: e.value, Version: e.number}
		}
	}
}

// SetMany implements cache.Cache. It refuses items outside the bounds.
func (c *Cache) SetMany(_ context.Context, items []cache.Item) error {
	if err := cache.Validate(items...); err != nil {
		return fmt.Errorf("lrucache: %w", err)
	}
	entries := make([]*entry, len(items))
	for i, item := range items {
		entries[i] = &entry{key: item.Key, value: slices.Clone(item.Value), number: item.Version}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for i, e := range entries {
		if ttl := items[i].TTL; ttl > 0 {
			e.ends = now.Add(ttl)
		}
		if old := c.items.peek(e.key, now); old == nil || old.number <= e.number {
			c.items.put(e, now)
		}
	}
	return nil
}

// DeleteMany implements cache.Cache.
func (c *Cache) DeleteMany(_ context.Context, keys []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		c.items.remove(key)
	}
	return nil
}

// Add implements cache.Counter. It refuses a key or ttl outside the bounds.
func (c *Cache) Add(_ context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	if ttl == 0 {
		return 0, fmt.Errorf("lrucache: %w: a count needs a TTL", cache.ErrInvalid)
	}
	if err := cache.Validate(cache.Item{Key: key, TTL: ttl}); err != nil {
		return 0, fmt.Errorf("lrucache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	e := c.counts.get(key, now)
	switch {
	case e != nil:
		e.number += n
		return e.number, nil
	case n != 0:
		c.counts.put(&entry{key: key, number: n, ends: now.Add(ttl)}, now)
	}
	return n, nil
}

// Usage is how full a Cache is, for metrics.
type Usage struct {
	Items  int   // at most Config.MaxItems
	Bytes  int64 // at most Config.MaxBytes
	Counts int   // at most Config.MaxCounts
}

// Usage counts what is kept, including items past their TTL that are not removed yet.
func (c *Cache) Usage() Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Usage{Items: len(c.items.entries), Bytes: c.items.bytes, Counts: len(c.counts.entries)}
}
