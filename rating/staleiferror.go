package rating

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/lru"
)

const (
	// maxStale is how old the Stats may be that StatsOrStale returns.
	maxStale = 5 * time.Minute
	// staleAfter is how long StatsOrStale waits for the store if it has stale Stats.
	staleAfter = time.Second
	// maxSeen is the number of contents whose Stats are kept for StatsOrStale, of some 500 bytes
	// each.
	maxSeen = 5000
)

// StatsOrStale returns Stats for reading, and the age of the oldest of them (stale-if-error, RFC
// 5861). The age is zero if the store answers. Otherwise it returns the Stats that this Service has
// seen within the last five minutes, if it has seen all of them; it keeps those of the latest 5,000
// contents. Errors are those of Stats.
func (s *Service) StatsOrStale(ctx context.Context, contents []string) (map[string]Stats, time.Duration, error) {
	stale, at, ok := s.stats.seen.get(contents)
	if ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, staleAfter)
		defer cancel()
	}
	stats, err := s.Stats(ctx, contents)
	if ok && (errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		return stale, s.cfg.Now().Sub(at), nil
	}
	return stats, 0, err
}

// seenStats are the newest Stats that this process has seen.
type seenStats struct {
	now  func() time.Time
	mu   sync.Mutex
	seen *lru.Map[string, seenAt]
}

type seenAt struct {
	Stats
	at time.Time
}

func newSeenStats(now func() time.Time) *seenStats {
	return &seenStats{now: now, seen: lru.New[string, seenAt](maxSeen, nil)}
}

// see keeps Stats that the store had at a time, unless newer ones are kept.
func (s *seenStats) see(stats []Stats, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range stats {
		old, ok := s.seen.Get(v.Content)
		if ok && (v.Revision < old.Revision || v.Revision == old.Revision && at.Before(old.at)) {
			continue
		}
		v.Histogram = maps.Clone(v.Histogram)
		s.seen.Put(v.Content, seenAt{v, at})
	}
}

// newest returns the revision of the Stats that are kept of a content, 0 if none are.
func (s *seenStats) newest(content string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, _ := s.seen.Get(content)
	return seen.Revision
}

func (s *seenStats) forget(content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Remove(content)
}

// get returns the Stats of contents and when the store had the oldest of them, or false if some are
// missing or too old.
func (s *seenStats) get(contents []string) (stats map[string]Stats, oldest time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	oldest = now
	stats = make(map[string]Stats, len(contents))
	for _, c := range contents {
		seen, ok := s.seen.Get(c)
		if !ok || now.Sub(seen.at) > maxStale {
			return nil, now, false
		}
		seen.Histogram = maps.Clone(seen.Histogram)
		stats[c] = seen.Stats
		if seen.at.Before(oldest) {
			oldest = seen.at
		}
	}
	return stats, oldest, true
}
