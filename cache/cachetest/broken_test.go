package cachetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/cachetest"
	"github.com/khodnevis/khodnevis/cache/lrucache"
)

// broken is a right cache with a method that is wrong on purpose.
type broken struct {
	*lrucache.Cache
	get    func(ctx context.Context, keys []string) (map[string]cache.Item, error)
	set    func(ctx context.Context, items []cache.Item) error
	remove func(ctx context.Context, keys []string) error
	add    func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error)
}

func (b broken) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	if b.get != nil {
		return b.get(ctx, keys)
	}
	return b.Cache.GetMany(ctx, keys)
}

func (b broken) SetMany(ctx context.Context, items []cache.Item) error {
	if b.set != nil {
		return b.set(ctx, items)
	}
	return b.Cache.SetMany(ctx, items)
}

func (b broken) DeleteMany(ctx context.Context, keys []string) error {
	if b.remove != nil {
		return b.remove(ctx, keys)
	}
	return b.Cache.DeleteMany(ctx, keys)
}

func (b broken) Add(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	if b.add != nil {
		return b.add(ctx, key, n, ttl)
	}
	return b.Cache.Add(ctx, key, n, ttl)
}

// setting returns c with f applied to a copy of what is set.
func setting(c *lrucache.Cache, f func([]cache.Item) []cache.Item) cache.Cache {
	return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
		return c.SetMany(ctx, f(slices.Clone(items)))
	}}
}

// each returns c with f applied to each item that is set.
func each(c *lrucache.Cache, f func(*cache.Item)) cache.Cache {
	return setting(c, func(items []cache.Item) []cache.Item {
		for i := range items {
			f(&items[i])
		}
		return items
	})
}

// getting returns c with f applied to its answers.
func getting(c *lrucache.Cache, f func(keys []string, found map[string]cache.Item) error) cache.Cache {
	return broken{Cache: c, get: func(ctx context.Context, keys []string) (map[string]cache.Item, error) {
		found, err := c.GetMany(ctx, keys)
		return found, errors.Join(err, f(keys, found))
	}}
}

// adding returns c with another Add.
func adding(
	c *lrucache.Cache, f func(ctx context.Context, key string, n int64, ttl time.Duration) (int64, error),
) cache.Cache {
	return broken{Cache: c, add: f}
}

// mutant is a way to be wrong, the check that must see it, and what that check says.
type mutant struct {
	name  string
	check string
	says  string
	wrong func(c *lrucache.Cache) cache.Cache
}

// lastWins returns c without regard to versions.
func lastWins(c *lrucache.Cache) cache.Cache {
	var mu sync.Mutex
	return broken{Cache: c, set: func(ctx context.Context, items []cache.Item) error {
		mu.Lock()
		defer mu.Unlock()
		for _, it := range items {
			if err := errors.Join(c.DeleteMany(ctx, []string{it.Key}), c.SetMany(ctx, []cache.Item{it})); err != nil {
				return err
			}
		}
		return nil
	}}
}

// remembering returns c with versions that outlive their items.
func remembering(c *lrucache.Cache) cache.Cache {
	var mu sync.Mutex
	greatest := make(map[string]int64)
	return setting(c, func(items []cache.Item) []cache.Item {
		mu.Lock()
		defer mu.Unlock()
		return slices.DeleteFunc(items, func(it cache.Item) bool {
			if v, ok := greatest[it.Key]; ok && v > it.Version {
				return true
			}
			greatest[it.Key] = it.Version
			return false
		})
	})
}

// retained replaces those of items that are too old and whose TTL is chosen by what is there, with
// that TTL.
func retained(
	ctx context.Context, c *lrucache.Cache, items []cache.Item, chosen func(ttl time.Duration) bool,
) []cache.Item {
	out := slices.Clone(items)
	for i, it := range out {
		found, err := c.GetMany(ctx, []string{it.Key})
		if there, ok := found[it.Key]; err == nil && ok && there.Version > it.Version && chosen(it.TTL) {
			there.TTL = it.TTL
			out[i] = there
		}
	}
	return out
}

// slidingCounts end a TTL after they were added to last.
type slidingCounts struct {
	mu   sync.Mutex
	sums map[string]int64
	ends map[string]time.Time
}

func (s *slidingCounts) add(_ context.Context, key string, n int64, ttl time.Duration) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.After(s.ends[key]) {
		s.sums[key] = 0
	}
	s.ends[key] = now.Add(ttl)
	s.sums[key] += n
	return s.sums[key], nil
}

func TestBrokenCachesAreCaught(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			i := slices.IndexFunc(cachetest.Checks, func(c cachetest.Check) bool { return c.Name == m.check })
			if i < 0 {
				t.Fatalf("there is no check %q", m.check)
			}
			err := cachetest.Checks[i].Run(ctx, m.wrong(lrucache.New(lrucache.Config{})))
			if err == nil {
				t.Fatalf("check %q is content", m.check)
			}
			if !strings.Contains(err.Error(), m.says) {
				t.Errorf("check %q says %q, want something about %q", m.check, err, m.says)
			}
		})
	}
}

func TestEveryCheckCatchesSomething(t *testing.T) {
	t.Parallel()
	for _, c := range cachetest.Checks {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.check == c.Name }) {
			t.Errorf("nothing shows that check %q can fail", c.Name)
		}
	}
}

// A cache that does not count has nothing to prove about counting.
func TestChecksOfCountsLeaveOtherCachesAlone(t *testing.T) {
	t.Parallel()
	for _, check := range cachetest.Checks {
		t.Run(check.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := check.Run(ctx, struct{ cache.Cache }{lrucache.New(lrucache.Config{})})
			if err != nil && !errors.Is(err, cachetest.ErrAbsent) {
				t.Error(err)
			}
		})
	}
}
