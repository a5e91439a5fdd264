package content

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/lru"
)

const (
	// MaxStale is how old a content may be that GetOrStale returns.
	MaxStale = 5 * time.Minute
	// maxRecent contents of maxRecentSize bytes each are remembered at most: 16 MiB.
	maxRecent     = 1000
	maxRecentSize = 16 << 10
	// fallbackTime is what remains of a request's time when the store has not answered.
	fallbackTime = 300 * time.Millisecond
)

// GetOrStale returns a content for somebody who only reads it, and how old that is. The age is
// zero, unless the store does not answer: then it is what this Service has seen of the content
// within the last MaxStale, if it is among the latest 1000 and not larger than 16 KiB. It is none
// that this Service or Config.Cache knows to be deleted, and none where that cache does not answer
// either; without a shared cache it may be one that another process has deleted. Else the errors
// are those of Get.
func (s *Service) GetOrStale(ctx context.Context, id string) (Content, time.Duration, error) {
	seen, at, older := s.recent.look(id, s.now())
	c, err := s.get(ctx, id, older)
	switch {
	case err == nil:
		s.recent.see(c, s.now())
		return c, 0, nil
	case errors.Is(err, ErrNotFound):
		s.recent.miss(id)
	case older && unanswered(err):
		s.markAgain(ctx)
		switch gone, ok := s.deleted(ctx, []string{id}); {
		case len(gone) > 0:
			return Content{}, 0, ErrNotFound
		case ok:
			return seen, s.now().Sub(at), nil
		}
	}
	return Content{}, 0, err
}

// recent are contents as they were a little while ago.
type recent struct {
	mu   sync.Mutex
	seen *lru.Map[string, *sighting]
}

// sighting is what was seen of a content: nothing but that there was this version, if the content
// is zero.
type sighting struct {
	version int64
	content Content
	at      time.Time
}

// deleted is the version of a content that is no more.
const deleted = math.MaxInt64

func newRecent() recent { return recent{seen: lru.New[string, *sighting](maxRecent, nil)} }

// see remembers what the store has at a time.
func (r *recent) see(c Content, at time.Time) {
	seen := sighting{version: c.Version, content: c, at: at}
	if len(c.Title)+len(c.Description) > maxRecentSize {
		seen.content = Content{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(c.ID, seen)
}

// forget remembers that a content is deleted.
func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(id, sighting{version: deleted})
}

// miss is forget of what is remembered: identifiers that somebody makes up must not take its place.
func (r *recent) miss(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.seen.Get(id); ok {
		r.put(id, sighting{version: deleted})
	}
}

// put remembers a sighting, unless there is one of a later version: who read before somebody else
// wrote may come after it.
func (r *recent) put(id string, seen sighting) {
	switch old, ok := r.seen.Get(id); {
	case !ok:
		r.seen.Put(id, &seen)
	case seen.version >= old.version:
		*old = seen
	}
}

// look returns what was seen of a content within the last MaxStale, and when.
func (r *recent) look(id string, now time.Time) (c Content, at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, ok := r.seen.Get(id)
	if !ok || seen.content.ID == "" || now.Sub(seen.at) > MaxStale {
		return Content{}, time.Time{}, false
	}
	return seen.content, seen.at, true
}
