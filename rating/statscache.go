package rating

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

// statsTTL is how long after they were read from the store numbers are served, whatever became of
// newer ones on their way into the cache: a cache may take none and still answer.
const statsTTL = 1500 * time.Millisecond

// warnings are those that a cache which is down would cause with every request.
type warnings struct {
	log       *slog.Logger
	now       func() time.Time
	get, take logthrottle.Log
}

func (w *warnings) silent(ctx context.Context, err error) {
	w.get.Warn(ctx, w.log, w.now(), "rating: cache does not answer", slog.Any("error", err))
}

func (w *warnings) full(ctx context.Context, err error) {
	w.take.Warn(ctx, w.log, w.now(), "rating: cache does not take", slog.Any("error", err))
}

// recall returns what the cache has under key. An error of the cache is a miss.
func recall[T any](ctx context.Context, c cache.Cache, warn *warnings, key string) (value T, ok bool) {
	if c == nil {
		return value, false
	}
	items, err := c.GetMany(ctx, []string{key})
	if err != nil {
		warn.silent(ctx, err)
		return value, false
	}
	item, ok := items[key]
	return value, ok && json.Unmarshal(item.Value, &value) == nil
}

// remember puts items into the cache and reports whether it took them. What it does not take is
// missed later, no more.
func remember(ctx context.Context, c cache.Cache, warn *warnings, items []cache.Item) bool {
	if c == nil {
		return true
	}
	for len(items) > 0 {
		n := min(len(items), cache.MaxBatch)
		if err := c.SetMany(ctx, items[:n]); err != nil {
			warn.full(ctx, err)
			return false
		}
		items = items[n:]
	}
	return true
}

// epochs asks the store for the epoch of each stream once. It remembers none that a stream does not
// have: it may get one the next moment.
type epochs struct {
	store Store
	mu    sync.Mutex
	known map[string]int64
}

func newEpochs(store Store) *epochs { return &epochs{store: store, known: map[string]int64{}} }

// of returns the epoch of a stream that the queue names, which gets one if it has none.
func (e *epochs) of(ctx context.Context, stream string) (int64, error) {
	return e.ask(ctx, stream, e.store.StreamEpoch)
}

// find returns the epoch of a stream that a client names. ErrNotFound: it has none, as one that was
// made up.
func (e *epochs) find(ctx context.Context, stream string) (int64, error) {
	return e.ask(ctx, stream, e.store.KnownEpoch)
}

func (e *epochs) ask(ctx context.Context, stream string, store func(context.Context, string) (int64, error)) (int64, error) {
	e.mu.Lock()
	epoch, ok := e.known[stream]
	e.mu.Unlock()
	if ok {
		return epoch, nil
	}
	epoch, err := store(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("rating: epoch of stream %q: %w", stream, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) >= 1000 { // those of the queue are few; others are not kept
		clear(e.known)
	}
	e.known[stream] = epoch
	return epoch, nil
}

// mark is what the cache remembers of a submission until it is stored.
type mark struct {
	Version  Version `json:"version"`
	Score    int     `json:"score"`
	Withdraw bool    `json:"withdraw,omitempty"`
	At       int64   `json:"at"` // microseconds since 1970
}

// pending makes raters see what they submitted before it is stored.
type pending struct {
	cache cache.Cache
	warn  *warnings
}

func pendingKey(k Key) string { return "pending:" + k.String() }

func (m mark) item(key Key) cache.Item {
	value, err := json.Marshal(m)
	if err != nil {
		panic(err) // no value of this type fails to encode
	}
	return cache.Item{Key: pendingKey(key), Value: value, Version: m.Version.ordinal(), TTL: Retention}
}

// over returns stored with a newer submission laid over it, if there is one.
func (p pending) over(ctx context.Context, stored Rating) (r Rating, isPending bool) {
	m, ok := recall[mark](ctx, p.cache, p.warn, pendingKey(stored.Key))
	if !ok || m.Version.Compare(stored.Version) <= 0 {
		return stored, false
	}
	r = stored
	at := time.UnixMicro(m.At).UTC()
	if stored.Withdrawn {
		r.CreatedAt = at
	}
	if r.Score != m.Score || stored.Withdrawn {
		r.UpdatedAt = at
	}
	r.Score, r.Withdrawn = m.Score, m.Withdraw
	return r, true
}

// forget takes back a submission that will never be stored, unless a later one has taken its place.
func (p pending) forget(ctx context.Context, key Key, v Version) {
	m, ok := recall[mark](ctx, p.cache, p.warn, pendingKey(key))
	if !ok || m.Version != v {
		return
	}
	if err := p.cache.DeleteMany(ctx, []string{pendingKey(key)}); err != nil {
		p.warn.full(ctx, err)
	}
}

// untouched returns those of stored whose withdrawal is not on its way, as far as the cache knows.
// There are fewer than cache.MaxBatch.
func (p pending) untouched(ctx context.Context, stored []Rating) []Rating {
	if p.cache == nil || len(stored) == 0 {
		return stored
	}
	keys := make([]string, len(stored))
	for i, r := range stored {
		keys[i] = pendingKey(r.Key)
	}
	items, err := p.cache.GetMany(ctx, keys)
	if err != nil {
		p.warn.silent(ctx, err)
		return stored
	}
	var rest []Rating
	for i, r := range stored {
		var m mark
		if item, ok := items[keys[i]]; ok && json.Unmarshal(item.Value, &m) == nil && m.Withdraw && m.Version.Compare(r.Version) > 0 {
			continue
		}
		rest = append(rest, r)
	}
	return rest
}

// ordinal maps versions to numbers in the same order, for offsets up to 2^40 (an epoch of a million
// million messages) and 2^22 epochs.
func (v Version) ordinal() int64 {
	const offsets, epochs = 1<<40 - 1, 1<<22 - 1
	return min(v.Epoch, epochs)<<40 | min(v.Offset, offsets)
}

// numbers serves Stats from the cache, and what that misses from the store in one query, once for
// all who ask at the same time.
type numbers struct {
	store Store
	cache cache.Cache
	warn  *warnings
	asked *singleflight.Group
	seen  *seenStats
}

func newNumbers(store Store, cfg Config) numbers {
	return numbers{
		store: store, cache: cfg.Cache, warn: cfg.warn, asked: &singleflight.Group{}, seen: newSeenStats(cfg.Now),
	}
}

func statsKey(content string) string { return "stats:" + content }

func (n numbers) get(ctx context.Context, contents []string) (map[string]Stats, error) {
	stats := make(map[string]Stats, len(contents))
	missing := n.recall(ctx, contents, stats)
	if len(missing) == 0 {
		return stats, nil
	}
	found := n.asked.DoChan(strings.Join(missing, " "), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		filled := map[string]Stats{} // by others, between the look above and this one
		found := []Stats{}
		if rest := n.recall(ctx, missing, filled); len(rest) > 0 {
			var err error
			if found, err = n.ask(ctx, rest); err != nil {
				return nil, err
			}
		}
		return slices.AppendSeq(found, maps.Values(filled)), nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case f := <-found:
		if f.Err != nil {
			return nil, f.Err
		}
		for _, s := range f.Val.([]Stats) { // shared with the others who asked
			s.Histogram = maps.Clone(s.Histogram)
			stats[s.Content] = s
		}
		return stats, nil
	}
}

// ask asks the store for the numbers of contents, those included that have none, and remembers
// them. A panic of the store becomes an error: on a goroutine that several wait for it would end
// the process.
func (n numbers) ask(ctx context.Context, contents []string) (found []Stats, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("rating: the store panicked: %v\n%s", v, debug.Stack())
		}
	}()
	began := n.seen.now()
	found, err = n.store.StatsByContent(ctx, contents)
	if err != nil {
		return nil, fmt.Errorf("rating: numbers of %d contents: %w", len(contents), err)
	}
	for _, c := range contents {
		if !slices.ContainsFunc(found, func(s Stats) bool { return s.Content == c }) {
			found = append(found, Stats{Content: c})
		}
	}
	n.seen.see(found, began)
	n.put(ctx, found, began)
	return found, nil
}

// recall fills stats with what the cache knows and returns the rest of contents. What is older than
// what this process has seen of a content is not believed: the cache may have failed to take the
// newer.
func (n numbers) recall(ctx context.Context, contents []string, stats map[string]Stats) []string {
	if n.cache == nil {
		return contents
	}
	keys := make([]string, len(contents))
	for i, c := range contents {
		keys[i] = statsKey(c)
	}
	items, err := n.cache.GetMany(ctx, keys)
	if err != nil {
		n.warn.silent(ctx, err)
		return contents
	}
	var missing []string
	for i, c := range contents {
		var s Stats
		item, ok := items[keys[i]]
		if ok && json.Unmarshal(item.Value, &s) == nil && s.Content == c && n.seen.newest(c) <= s.Revision {
			stats[c] = s
		} else {
			missing = append(missing, c)
		}
	}
	n.seen.see(slices.Collect(maps.Values(stats)), n.seen.now().Add(-statsTTL))
	return missing
}

// put remembers numbers that were read from the store after it began; older ones never replace
// newer ones, whoever comes last.
func (n numbers) put(ctx context.Context, stats []Stats, began time.Time) {
	ttl := statsTTL - n.seen.now().Sub(began)
	if ttl < cache.MinTTL {
		return
	}
	items := make([]cache.Item, len(stats))
	for i, s := range stats {
		value, err := json.Marshal(s)
		if err != nil {
			panic(err) // no value of this type fails to encode: a score is never NaN
		}
		items[i] = cache.Item{Key: statsKey(s.Content), Value: value, Version: s.Revision, TTL: ttl}
	}
	if remember(ctx, n.cache, n.warn, items) {
		return
	}
	// A cache that is full may still forget: none are better than old ones.
	contents := make([]string, len(stats))
	for i, s := range stats {
		contents[i] = s.Content
	}
	n.forget(ctx, contents...)
}

func (n numbers) forget(ctx context.Context, contents ...string) {
	if n.cache == nil {
		return
	}
	keys := make([]string, len(contents))
	for i, c := range contents {
		keys[i] = statsKey(c)
	}
	for piece := range slices.Chunk(keys, cache.MaxBatch) {
		if err := n.cache.DeleteMany(ctx, piece); err != nil {
			n.warn.full(ctx, err)
			return
		}
	}
}
