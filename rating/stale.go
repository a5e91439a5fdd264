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
	// MaxStale is how old numbers may be that StatsOrStale returns.
	MaxStale = 5 * time.Minute
	// staleAfter is how long the store is waited for where older numbers will do.
	staleAfter = time.Second
	// maxSeen is of how many contents numbers are kept for StatsOrStale, of some 500 bytes each.
	maxSeen = 5000
)

// StatsOrStale returns Stats for somebody who only reads them, and how old the oldest of them are.
// The age is zero, unless the store does not answer: then they are what this Service has seen
// within the last MaxStale, if it has for every content, of the latest 5000. Else the errors are
// those of Stats.
func (s *Service) StatsOrStale(ctx context.Context, contents []string) (map[string]Stats, time.Duration, error) {
	older, at, ok := s.numbers.seen.look(contents)
	if ok { // then nobody waits long for newer ones
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, staleAfter)
		defer cancel()
	}
	stats, err := s.Stats(ctx, contents)
	if ok && (errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		return older, s.cfg.Now().Sub(at), nil
	}
	return stats, 0, err
}

// seenStats are the newest numbers that this process has seen.
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

// see keeps numbers that the store had at a time, unless newer ones are kept.
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

// newest returns the revision of the numbers that are kept of a content, 0 if none are.
func (s *seenStats) newest(content string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, _ := s.seen.Get(content)
	return seen.Revision
}

// forget removes the numbers of a content.
func (s *seenStats) forget(content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Remove(content)
}

// look returns what is kept of contents, and when the store had the oldest of it, or false if it is
// not all there.
func (s *seenStats) look(contents []string) (stats map[string]Stats, oldest time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	oldest = now
	stats = make(map[string]Stats, len(contents))
	for _, c := range contents {
		seen, ok := s.seen.Get(c)
		if !ok || now.Sub(seen.at) > MaxStale {
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
