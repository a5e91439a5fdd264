package content

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/lru"
)

const (
	// MaxAge is how old a content may be that Recent returns.
	MaxAge = 5 * time.Minute
	// maxRecent contents of maxRecentSize bytes each are remembered at most: 16 MiB.
	maxRecent     = 1000
	maxRecentSize = 16 << 10
)

// Recent returns a content for somebody who only reads it, and how old that is. The age is zero, unless the store does not answer: then it is what this
// Service has seen of the content within the last MaxAge, if it is among the latest 1000 and not larger than 16 KiB. Else the errors are those of Get.
func (s *Service) Recent(ctx context.Context, id string) (Content, time.Duration, error) {
	c, err := s.Get(ctx, id)
	switch {
	case err == nil:
		s.recent.see(c, s.now())
	case errors.Is(err, ErrNotFound):
		s.recent.forget(id)
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		if s.gone(ctx, id) {
			return Content{}, 0, ErrNotFound
		}
		if seen, age, ok := s.recent.look(id, s.now()); ok {
			return seen, age, nil
		}
	}
	return c, 0, err
}

// gone reports whether the cache knows that a content was deleted.
func (s *Service) gone(ctx context.Context, id string) bool {
	opened := map[string]time.Time{}
	missing := s.recall(ctx, []string{id}, opened)
	return len(missing) == 0 && len(opened) == 0
}

// recent are contents as they were a little while ago.
type recent struct {
	mu   sync.Mutex
	seen *lru.Map[string, *sighting]
}

type sighting struct {
	content Content
	at      time.Time
}

func newRecent() recent { return recent{seen: lru.New[string, *sighting](maxRecent, nil)} }

// see remembers what the store has at a time. Who read it before somebody else wrote it comes too late.
func (r *recent) see(c Content, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.seen.Get(c.ID)
	switch {
	case ok && old.content.Version > c.Version:
	case len(c.Title)+len(c.Description) > maxRecentSize:
		r.seen.Remove(c.ID)
	case ok:
		*old = sighting{c, at}
	default:
		r.seen.Put(c.ID, &sighting{c, at})
	}
}

func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Remove(id)
}

func (r *recent) look(id string, now time.Time) (c Content, age time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, ok := r.seen.Get(id)
	if !ok || now.Sub(seen.at) > MaxAge {
		return Content{}, 0, false
	}
	return seen.content, now.Sub(seen.at), true
}
