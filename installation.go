package khodnevis

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/installation"
	"github.com/khodnevis/khodnevis/rating"

	"time"
)

// keyedCache begins each key with the identity of the installation. Until the store has returned
// that, the cache fails, which callers take for misses.
type keyedCache struct {
	cache    cache.Cache
	identity *installation.Identity
}

// keyedCounter is a keyedCache over one that counts.
type keyedCounter struct {
	keyedCache
	counter cache.Counter
}

// keyed returns c with the keys of the installation that s belongs to. It is a cache.Counter if c
// is one.
func keyed(c cache.Cache, s rating.Store) cache.Cache {
	k := keyedCache{c, installation.New(s.Installation)}
	if counter, ok := c.(cache.Counter); ok {
		return keyedCounter{k, counter}
	}
	return k
}

// prefix returns what keys begin with. It does not wait for a store that is away: who asks the
// cache has something else to do.
func (k keyedCache) prefix(ctx context.Context) (string, error) {
	id, err := k.identity.Soon(ctx)
	if err != nil {
		return "", fmt.Errorf("khodnevis: the cache is not used: %w", err)
	}
	return id + ":", nil
}

// GetMany implements cache.Cache.
func (k keyedCache) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	prefix, err := k.prefix(ctx)
	if err != nil {
		return nil, err
	}
	renamed := with(prefix, keys)
	items, err := k.cache.GetMany(ctx, renamed)
	if err != nil {
		return nil, err
	}
	found := make(map[string]cache.Item, len(items))
	for i, key := range keys {
		if item, ok := items[renamed[i]]; ok {
			item.Key = key
			found[key] = item
		}
	}
	return found, nil
}

// SetMany implements cache.Cache.
func (k keyedCache) SetMany(ctx context.Context, items []cache.Item) error {
	prefix, err := k.prefix(ctx)
	if err != nil {
		return err
	}
	renamed := make([]cache.Item, len(items))
	for i, item := range items {
		item.Key = prefix + item.Key
		renamed[i] = item
	}
	return k.cache.SetMany(ctx, renamed)
}

// DeleteMany implements cache.Cache.
func (k keyedCache) DeleteMany(ctx context.Context, keys []string) error {
	prefix, err := k.prefix(ctx)
	if err != nil {
		return err
	}
	return k.cache.DeleteMany(ctx, with(prefix, keys))
}

// Add implements cache.Counter.
func (k keyedCounter) Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	prefix, err := k.prefix(ctx)
	if err != nil {
		return 0, err
	}
	return k.counter.Add(ctx, prefix+key, n, ttl)
}

func with(prefix string, keys []string) []string {
	all := make([]string, len(keys))
	for i, key := range keys {
		all[i] = prefix + key
	}
	return all
}
