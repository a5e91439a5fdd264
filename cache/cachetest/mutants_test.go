package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
)

var mutants = []mutant{
	{"fails when a key is missing", "what is missing", "getting 2 keys", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(keys []string, found map[string]cache.Item) error {
			if len(found) < len(keys) {
				return errors.New("missing")
			}
			return nil
		})
	}},
	{"answers something for every key", "what is missing", "want none", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(keys []string, found map[string]cache.Item) error {
			for _, key := range keys {
				found[key] = cache.Item{Key: key, Value: found[key].Value}
			}
			return nil
		})
	}},
	{"has keys without case", "what is missing", "\"A\"", func(c *lrucache.Cache) cache.Cache {
		return broken{Cache: c, get: func(ctx context.Context, keys []string) (map[string]cache.Item, error) {
			answer := make(map[string]cache.Item)
			for _, key := range keys {
				found, err := c.GetMany(ctx, []string{strings.ToLower(key)})
				if err != nil {
					return nil, err
				}
				for _, it := range found {
					it.Key = key
					answer[key] = it
				}
			}
			return answer, nil
		}}
	}},
	{"leaves the key out of the item", "answers", "under the key", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(_ []string, found map[string]cache.Item) error {
			for key, it := range found {
				it.Key = ""
				found[key] = it
			}
			return nil
		})
	}},
	{"answers more than was asked for", "answers", "asked for", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(_ []string, found map[string]cache.Item) error {
			found["more"] = cache.Item{Key: "more"}
			return nil
		})
	}},
	{"fails when a key is given twice", "a key twice", "getting 3 keys", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(keys []string, found map[string]cache.Item) error {
			if len(keys) > len(found) {
				return errors.New("twice")
			}
			return nil
		})
	}},
	{"fails without keys", "nothing", "getting no keys", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(keys []string, _ map[string]cache.Item) error {
			if len(keys) == 0 {
				return errors.New("wrong number of arguments")
			}
			return nil
		})
	}},
	{"cuts keys at the first zero byte", "round trip", "zero byte", func(c *lrucache.Cache) cache.Cache {
		cut := func(key string) string {
			if before, _, ok := strings.Cut(key, "\x00"); ok {
				return before + "\x00"
			}
			return key
		}
		return broken{Cache: c, get: func(ctx context.Context, keys []string) (map[string]cache.Item, error) {
			answer := make(map[string]cache.Item)
			for _, key := range keys {
				found, err := c.GetMany(ctx, []string{cut(key)})
				if err != nil {
					return nil, err
				}
				if it, ok := found[cut(key)]; ok {
					it.Key = key
					answer[key] = it
				}
			}
			return answer, nil
		}, set: func(ctx context.Context, items []cache.Item) error {
			items = slices.Clone(items)
			for i, it := range items {
				items[i].Key = cut(it.Key)
			}
			return c.SetMany(ctx, items)
		}}
	}},
	{"cuts values at half the bound", "round trip", "524288 bytes", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.Value = it.Value[:min(len(it.Value), cache.MaxValue/2)] })
	}},
	{"takes a thousand items at most", "largest call", "setting 10000 items", func(c *lrucache.Cache) cache.Cache {
		return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
			if len(items) > 1000 {
				return cache.ErrInvalid
			}
			return c.SetMany(ctx, items)
		}}
	}},
	{"cuts keys that are too long", "out of bounds", "has the version 2, want 1", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.Key = it.Key[:min(len(it.Key), cache.MaxKey)] })
	}},
	{"cuts values that are too long", "out of bounds", "was taken and became", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.Value = it.Value[:min(len(it.Value), cache.MaxValue)] })
	}},
	{"refuses with an error of its own", "out of bounds", "does not wrap ErrInvalid",
		func(c *lrucache.Cache) cache.Cache {
			return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
				if err := c.SetMany(ctx, items); err != nil {
					return errors.New("refused")
				}
				return nil
			}}
		}},
	{"keeps what is before the invalid item", "out of bounds", "what came with it", func(c *lrucache.Cache) cache.Cache {
		return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
			for _, it := range items {
				if err := c.SetMany(ctx, []cache.Item{it}); err != nil {
					return err
				}
			}
			return nil
		}}
	}},
	{"takes a negative TTL for none", "out of bounds", "TTL of -1s was served", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.TTL = max(0, it.TTL) })
	}},
	{"cuts a TTL to none", "out of bounds", "TTL of 1ns was served", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) {
			if it.TTL > 0 {
				it.TTL = it.TTL.Truncate(time.Millisecond)
			}
		})
	}},
	{"takes an empty value for a missing one", "empty value", "is missing", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(_ []string, found map[string]cache.Item) error {
			maps.DeleteFunc(found, func(_ string, it cache.Item) bool { return len(it.Value) == 0 })
			return nil
		})
	}},
	{"replaces a newer item", "older versions", "after version 4 was set", lastWins},
	{"keeps an item of an equal version", "equal and newer versions", "want \"zero again\"",
		func(c *lrucache.Cache) cache.Cache {
			return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
				for _, it := range items {
					found, err := c.GetMany(ctx, []string{it.Key})
					if err != nil {
						return err
					}
					if old, ok := found[it.Key]; ok && old.Version == it.Version {
						continue
					}
					if err := c.SetMany(ctx, []cache.Item{it}); err != nil {
						return err
					}
				}
				return nil
			}}
		}},
	{"drops the version", "equal and newer versions", "has the version 0", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.Version = 0 })
	}},
	{"keeps versions as floating-point numbers", "great versions", "after version", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.Version = int64(float64(it.Version)) })
	}},
	{"sets the items of a call backwards", "order in one call", "want \"two again\"",
		func(c *lrucache.Cache) cache.Cache {
			return setting(c, func(items []cache.Item) []cache.Item {
				slices.Reverse(items)
				return items
			})
		}},
	{"keeps the last item of each key in a call", "order in one call", "has the version 2, want 3",
		func(c *lrucache.Cache) cache.Cache {
			return setting(c, func(items []cache.Item) []cache.Item {
				last := make(map[string]cache.Item)
				for _, it := range items {
					last[it.Key] = it
				}
				return slices.Collect(maps.Values(last))
			})
		}},
	{"remembers versions of what was deleted", "deleted", "is missing", func(c *lrucache.Cache) cache.Cache {
		return remembering(c)
	}},
	{"deletes one key a call", "deleted", "want none", func(c *lrucache.Cache) cache.Cache {
		return broken{Cache: c, remove: func(ctx context.Context, keys []string) error {
			return c.DeleteMany(ctx, keys[:min(1, len(keys))])
		}}
	}},
	{"fails to delete what is missing", "deleting what is missing", "deleting what is missing",
		func(c *lrucache.Cache) cache.Cache {
			return broken{Cache: c, remove: func(ctx context.Context, keys []string) error {
				found, err := c.GetMany(ctx, keys)
				if err == nil && len(found) < len(keys) {
					err = errors.New("not found")
				}
				return errors.Join(err, c.DeleteMany(ctx, keys))
			}}
		}},
	{"ignores the TTL", "end of a TTL", "was served", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) { it.TTL = 0 })
	}},
	{"rounds the TTL up to a tenth of a second", "end of a TTL", "was served", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) {
			it.TTL = (it.TTL + 100*time.Millisecond - 1).Truncate(100 * time.Millisecond)
		})
	}},
	{"ends the TTL early", "end of a TTL", "was missing after", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) {
			if it.TTL > 0 {
				it.TTL = max(cache.MinTTL, it.TTL/4)
			}
		})
	}},
	{"remembers versions past the TTL", "version past its TTL", "is missing", func(c *lrucache.Cache) cache.Cache {
		return remembering(c)
	}},
	{"has a TTL for items without", "no TTL", "is missing", func(c *lrucache.Cache) cache.Cache {
		return each(c, func(it *cache.Item) {
			if it.TTL == 0 {
				it.TTL = 40 * time.Millisecond
			}
		})
	}},
	{"answers with a TTL", "TTL of an answer", "with the TTL 1s", func(c *lrucache.Cache) cache.Cache {
		return getting(c, func(_ []string, found map[string]cache.Item) error {
			for key, it := range found {
				it.TTL = time.Second
				found[key] = it
			}
			return nil
		})
	}},
	{"keeps the first TTL of a key", "TTL of what is replaced", "is missing", func(c *lrucache.Cache) cache.Cache {
		var mu sync.Mutex
		ends := make(map[string]time.Time)
		return each(c, func(it *cache.Item) {
			mu.Lock()
			defer mu.Unlock()
			if end, ok := ends[it.Key]; ok {
				it.TTL = max(cache.MinTTL, time.Until(end))
			} else if it.TTL > 0 {
				ends[it.Key] = time.Now().Add(it.TTL)
			}
		})
	}},
	{"takes the longer of two TTLs", "TTL of what is replaced", "was served", func(c *lrucache.Cache) cache.Cache {
		var mu sync.Mutex
		longest := make(map[string]time.Duration)
		return each(c, func(it *cache.Item) {
			mu.Lock()
			defer mu.Unlock()
			if it.TTL == 0 {
				it.TTL = 24 * time.Hour
			}
			longest[it.Key] = max(longest[it.Key], it.TTL)
			it.TTL = longest[it.Key]
		})
	}},
	{"takes the TTL of an item that it refuses", "TTL of what is not replaced", "is missing",
		func(c *lrucache.Cache) cache.Cache {
			return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
				return c.SetMany(ctx, retained(ctx, c, items, func(ttl time.Duration) bool {
					return ttl < time.Minute && ttl > 0
				}))
			}}
		}},
	{"is prolonged by an item that it refuses", "TTL of what is not replaced", "was served",
		func(c *lrucache.Cache) cache.Cache {
			return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
				return c.SetMany(ctx, retained(ctx, c, items, func(ttl time.Duration) bool { return ttl > time.Minute }))
			}}
		}},
	{"reads the writer's memory later", "memory of the writer", "broken", func(c *lrucache.Cache) cache.Cache {
		var kept sync.Map
		return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
			for _, it := range items {
				kept.Store(it.Key, it.Value)
			}
			return c.SetMany(ctx, items)
		}, get: func(ctx context.Context, keys []string) (map[string]cache.Item, error) {
			found, err := c.GetMany(ctx, keys)
			for key, it := range found {
				if v, ok := kept.Load(key); ok {
					it.Value = v.([]byte)
					found[key] = it
				}
			}
			return found, err
		}}
	}},
	{"gives all readers one value", "memory of the reader", "broken", func(c *lrucache.Cache) cache.Cache {
		var kept sync.Map
		return getting(c, func(_ []string, found map[string]cache.Item) error {
			for key, it := range found {
				v, _ := kept.LoadOrStore(key, it.Value)
				it.Value = v.([]byte)
				found[key] = it
			}
			return nil
		})
	}},
	{"serves one caller at a time", "many callers", "busy", func(c *lrucache.Cache) cache.Cache {
		var callers atomic.Int32
		return getting(c, func([]string, map[string]cache.Item) error {
			defer callers.Add(-1)
			if callers.Add(1) > 1 {
				return errors.New("busy")
			}
			time.Sleep(time.Millisecond) // as a connection that everybody uses would
			return nil
		})
	}},
	{"keeps what came last", "newest of many writers", "version", lastWins},
	{"returns the sum before", "sum", "gave 0, want 1", func(c *lrucache.Cache) cache.Cache {
		return adding(c, func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			sum, err := c.Add(ctx, key, n, ttl)
			return sum - n, err
		})
	}},
	{"never counts down", "sum", "adding -50", func(c *lrucache.Cache) cache.Cache {
		return adding(c, func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			return c.Add(ctx, key, max(0, n), ttl)
		})
	}},
	{"prolongs a count by adding", "end of a count", "goes on", func(c *lrucache.Cache) cache.Cache {
		counts := slidingCounts{sums: make(map[string]int64), ends: make(map[string]time.Time)}
		return adding(c, counts.add)
	}},
	{"never ends a count", "end of a count", "goes on", func(c *lrucache.Cache) cache.Cache {
		return adding(c, func(ctx context.Context, key string, n int64, _ time.Duration) (int64, error) {
			return c.Add(ctx, key, n, time.Hour)
		})
	}},
	{"ends a count early", "end of a count", "began again after", func(c *lrucache.Cache) cache.Cache {
		return adding(c, func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			return c.Add(ctx, key, n, ttl/4)
		})
	}},
	{"begins a count by reading", "reading a count", "goes on", func(c *lrucache.Cache) cache.Cache {
		return adding(c, func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			if n == 0 {
				if _, err := c.Add(ctx, key, 1, ttl); err != nil {
					return 0, err
				}
				return c.Add(ctx, key, -1, ttl)
			}
			return c.Add(ctx, key, n, ttl)
		})
	}},
	{"deletes counts with items", "counts and items", "gave 0, want 7", func(c *lrucache.Cache) cache.Cache {
		var life atomic.Int64
		return broken{Cache: c, remove: func(ctx context.Context, keys []string) error {
			life.Add(1)
			return c.DeleteMany(ctx, keys)
		}, add: func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			return c.Add(ctx, fmt.Sprint(life.Load(), key), n, ttl)
		}}
	}},
	{"shows counts as items", "counts and items", "want none", func(c *lrucache.Cache) cache.Cache {
		return adding(c, func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			sum, err := c.Add(ctx, key, n, ttl)
			return sum, errors.Join(err, c.SetMany(ctx, []cache.Item{{Key: key, Value: fmt.Append(nil, sum), Version: sum}}))
		})
	}},
	{"loses every hundredth addition", "many counting", "as sum number", func(c *lrucache.Cache) cache.Cache {
		var calls atomic.Int64
		return adding(c, func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
			if calls.Add(1)%100 == 0 {
				n = 0
			}
			return c.Add(ctx, key, n, ttl)
		})
	}},
}
