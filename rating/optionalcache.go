package rating

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

// optionalCache is Config.Cache, which may be absent or fail. Without a cache (no Redis) and while
// it fails (Redis is down), every read is a miss and every write is dropped: answers then come from
// the store, ratings become readable once they are stored, and runs of jobs are not recorded.
// Failures are logged, with log sampling.
type optionalCache struct {
	cache         cache.Cache // nil: there is none
	log           *slog.Logger
	now           func() time.Time
	reads, writes logthrottle.Log
}

func (c *optionalCache) get(ctx context.Context, keys []string) map[string]cache.Item {
	if c.cache == nil || len(keys) == 0 {
		return nil
	}
	items, err := c.cache.GetMany(ctx, keys)
	if err != nil {
		c.reads.Warn(ctx, c.log, c.now(), "rating: the cache does not answer", slog.Any("error", err))
		return nil
	}
	return items
}

// set reports whether the cache accepted all items.
func (c *optionalCache) set(ctx context.Context, items []cache.Item) bool {
	return inBatches(ctx, c, items, cache.Cache.SetMany)
}

func (c *optionalCache) delete(ctx context.Context, keys []string) {
	inBatches(ctx, c, keys, cache.Cache.DeleteMany)
}

func inBatches[T any](
	ctx context.Context, c *optionalCache, all []T, write func(cache.Cache, context.Context, []T) error,
) bool {
	if c.cache == nil {
		return true
	}
	for batch := range slices.Chunk(all, cache.MaxBatch) {
		if err := write(c.cache, ctx, batch); err != nil {
			c.writes.Warn(ctx, c.log, c.now(), "rating: the cache accepts no writes", slog.Any("error", err))
			return false
		}
	}
	return true
}

// typedCache keeps values of one type in an optionalCache, as JSON, under keys with one prefix.
type typedCache[T any] struct {
	*optionalCache
	prefix string
}

// values returns what the cache has under names.
func (c typedCache[T]) values(ctx context.Context, names ...string) map[string]T {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = c.prefix + name
	}
	items := c.get(ctx, keys)
	values := make(map[string]T, len(items))
	for i, name := range names {
		var v T
		if item, ok := items[keys[i]]; ok && json.Unmarshal(item.Value, &v) == nil {
			values[name] = v
		}
	}
	return values
}

// itemOf returns the item that keeps value. Of two values the one with the higher version stays.
func (c typedCache[T]) itemOf(name string, value T, version int64, ttl time.Duration) cache.Item {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic(err) // no value of these types fails to encode: a score is never NaN
	}
	return cache.Item{Key: c.prefix + name, Value: encoded, Version: version, TTL: ttl}
}

func (c typedCache[T]) remove(ctx context.Context, names ...string) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = c.prefix + name
	}
	c.delete(ctx, keys)
}
