package rating

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/khodnevis/khodnevis/cache"
)

const (
	// statsTTL is how long Stats are served after they were read from the store, even if newer
	// Stats never reach the cache: a cache may accept no writes and still answer reads.
	statsTTL = 1500 * time.Millisecond
	// storeTimeout bounds one call of the store that several callers share, or that is repeated,
	// besides the deadlines of the callers.
	storeTimeout = 1500 * time.Millisecond
)

// Stats returns the numbers of contents, by content. The numbers of a content that was never rated
// are zero.
func (s *Service) Stats(ctx context.Context, contents []string) (map[string]Stats, error) {
	return s.stats.get(ctx, contents)
}

// StatsFromStore is Stats without the cache.
func (s *Service) StatsFromStore(ctx context.Context, contents []string) (map[string]Stats, error) {
	found, err := s.stats.load(ctx, contents)
	if err != nil {
		return nil, err
	}
	stats := make(map[string]Stats, len(found))
	for _, v := range found {
		stats[v.Content] = v
	}
	return stats, nil
}

// statsCache serves Stats from the cache, and the missing ones from the store in one query. Equal
// queries at the same time become one (single flight).
type statsCache struct {
	store  StatsStore
	cached typedCache[Stats]
	flight singleflight.Group
	seen   *seenStats
}

func newStatsCache(store StatsStore, c *optionalCache) *statsCache {
	return &statsCache{store: store, cached: typedCache[Stats]{c, "stats:"}, seen: newSeenStats(c.now)}
}

func (c *statsCache) get(ctx context.Context, contents []string) (map[string]Stats, error) {
	stats := make(map[string]Stats, len(contents))
	missing := c.fill(ctx, contents, stats)
	if len(missing) == 0 {
		return stats, nil
	}
	loaded := c.flight.DoChan(strings.Join(missing, " "), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		filled := map[string]Stats{} // by other callers since fill above
		found := []Stats{}
		if rest := c.fill(ctx, missing, filled); len(rest) > 0 {
			var err error
			if found, err = c.load(ctx, rest); err != nil {
				return nil, err
			}
		}
		return slices.AppendSeq(found, maps.Values(filled)), nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case l := <-loaded:
		if l.Err != nil {
			return nil, l.Err
		}
		for _, s := range l.Val.([]Stats) { // shared with the other callers
			s.Histogram = maps.Clone(s.Histogram)
			stats[s.Content] = s
		}
		return stats, nil
	}
}

// load reads the Stats of contents from the store, with a zero Stats for each content that has
// none, and caches them. A panic of the store becomes an error, because a panic on the goroutine of
// a single flight would end the process.
func (c *statsCache) load(ctx context.Context, contents []string) (found []Stats, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("rating: the store panicked: %v\n%s", v, debug.Stack())
		}
	}()
	began := c.seen.now()
	found, err = c.store.StatsByContent(ctx, contents)
	if err != nil {
		return nil, fmt.Errorf("rating: numbers of %d contents: %w", len(contents), err)
	}
	for _, id := range contents {
		if !slices.ContainsFunc(found, func(s Stats) bool { return s.Content == id }) {
			found = append(found, Stats{Content: id})
		}
	}
	c.seen.see(found, began)
	c.put(ctx, found, began)
	return found, nil
}

// fill adds cached Stats to stats and returns the contents that are missing. Stats that are older
// than what this process has seen count as missing: the cache may have refused the newer ones.
func (c *statsCache) fill(ctx context.Context, contents []string, stats map[string]Stats) (missing []string) {
	cached := c.cached.values(ctx, contents...)
	for _, id := range contents {
		if s, ok := cached[id]; ok && s.Content == id && c.seen.newest(id) <= s.Revision {
			stats[id] = s
		} else {
			missing = append(missing, id)
		}
	}
	c.seen.see(slices.Collect(maps.Values(stats)), c.seen.now().Add(-statsTTL))
	return missing
}

// put caches Stats that were read from the store after began. Older Stats never replace newer ones,
// in whatever order they arrive.
func (c *statsCache) put(ctx context.Context, stats []Stats, began time.Time) {
	ttl := statsTTL - c.seen.now().Sub(began)
	if ttl < cache.MinTTL {
		return
	}
	items, contents := make([]cache.Item, len(stats)), make([]string, len(stats))
	for i, s := range stats {
		items[i], contents[i] = c.cached.itemOf(s.Content, s, s.Revision, ttl), s.Content
	}
	if !c.cached.set(ctx, items) { // a full cache may still delete, and none are better than old ones
		c.cached.remove(ctx, contents...)
	}
}

// forget removes the Stats of a deleted content.
func (c *statsCache) forget(ctx context.Context, content string) {
	c.seen.forget(content)
	c.cached.remove(ctx, content)
}
