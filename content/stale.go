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
	// maxCopies contents of at most maxCopySize bytes each are remembered: 16 MiB.
	maxCopies   = 1000
	maxCopySize = 16 << 10
	// fallbackTime is what remains of a request's time when the store has not answered.
	fallbackTime = 300 * time.Millisecond
)

// GetOrStale returns a content for somebody who only reads it, and how old that is (stale-if-error,
// RFC 5861). The age is zero unless the store does not answer. Then GetOrStale returns the copy
// that this Service read within the last MaxStale, if it is among the latest 1000 and not larger
// than 16 KiB. It never returns a content that this Service or Config.Cache knows is deleted; if
// the cache does not answer either, it returns the store's error. Without a shared cache the
// content may be one that another process has deleted. Otherwise the errors are those of Get.
func (s *Service) GetOrStale(ctx context.Context, id string) (Content, time.Duration, error) {
	stale, at, ok := s.copies.get(id, s.now())
	c, err := s.get(ctx, id, ok)
	switch {
	case err == nil:
		s.copies.keep(c, s.now())
		return c, 0, nil
	case errors.Is(err, ErrNotFound):
		s.copies.notFound(id)
	case ok && unanswered(err):
		s.invalidateDue(ctx)
		switch deleted, known := s.deleted(ctx, []string{id}); {
		case len(deleted) > 0:
			return Content{}, 0, ErrNotFound
		case known:
			return stale, s.now().Sub(at), nil
		}
	}
	return Content{}, 0, err
}

// staleCopies are contents as they were a little while ago.
type staleCopies struct {
	mu   sync.Mutex
	byID *lru.Map[string, staleCopy]
}

// staleCopy is a content from a time. The content is zero if it is deleted or too large: then only
// its version is known.
type staleCopy struct {
	version int64
	content Content
	at      time.Time
}

// deletedCopy is greater than every other version.
var deletedCopy = staleCopy{version: math.MaxInt64}

func newStaleCopies() staleCopies {
	return staleCopies{byID: lru.New[string, staleCopy](maxCopies, nil)}
}

// keep remembers what the store has at a time.
func (s *staleCopies) keep(c Content, at time.Time) {
	fresh := staleCopy{version: c.Version, content: c, at: at}
	if len(c.Title)+len(c.Description) > maxCopySize {
		fresh.content = Content{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A reader that read before somebody else wrote may come after the writer.
	if old, ok := s.byID.Get(c.ID); !ok || fresh.version >= old.version {
		s.byID.Put(c.ID, fresh)
	}
}

// delete remembers that a content is deleted.
func (s *staleCopies) delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID.Put(id, deletedCopy)
}

// notFound deletes a copy that is there: identifiers that somebody makes up must not take the place
// of others.
func (s *staleCopies) notFound(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID.Get(id); ok {
		s.byID.Put(id, deletedCopy)
	}
}

// get returns a content from within the last MaxStale, and when it was read.
func (s *staleCopies) get(id string, now time.Time) (c Content, at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale, ok := s.byID.Get(id)
	if !ok || stale.content.ID == "" || now.Sub(stale.at) > MaxStale {
		return Content{}, time.Time{}, false
	}
	return stale.content, stale.at, true
}
