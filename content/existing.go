package content

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/internal/lru"
)

const (
	// existsFor is how long a content is taken to exist without asking the store. Another process
	// may have deleted it meanwhile.
	existsFor = 1500 * time.Millisecond
	// existedFor is the same while the store does not answer, unless the cache knows of a deletion,
	// and for a worker in any case. A rating of a deleted content is refused when it is applied.
	existedFor = 10 * time.Minute
	// staleAfter is how long a read waits for the store if a stale answer is at hand.
	staleAfter = time.Second
	// maxExisting is how many contents are remembered, of some 200 bytes each.
	maxExisting = 20_000
)

// existing remembers which contents the store had a while ago, and which ones this process deleted.
type existing struct {
	mu     sync.Mutex
	checks *lru.Map[string, existence]
}

type existence struct {
	checked time.Time
	deleted bool // for ever: identifiers are not used again
}

func newExisting() existing {
	return existing{checks: lru.New[string, existence](maxExisting, nil)}
}

// split returns those of ids that the store had at the given time or later, and those that the store
// must be asked for. Deleted contents are in neither.
func (e *existing) split(ids []string, since time.Time) (known, unknown []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		check, ok := e.checks.Get(id)
		switch {
		case ok && check.deleted:
		case ok && !check.checked.Before(since):
			known = append(known, id)
		default:
			unknown = append(unknown, id)
		}
	}
	return known, unknown
}

// remember keeps the store's answer about ids from a time. It drops the ids that were not found:
// identifiers that somebody makes up must not take the place of others.
func (e *existing) remember(ids []string, found []Content, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if old, ok := e.checks.Get(id); ok && !old.deleted {
			e.checks.Remove(id)
		}
	}
	for _, c := range found {
		if _, deleted := e.checks.Get(c.ID); !deleted { // the answer may be from before the deletion
			e.checks.Put(c.ID, existence{checked: at})
		}
	}
}

func (e *existing) delete(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.checks.Put(id, existence{deleted: true})
}

// Rateable returns those of ids that exist. A content that another process
// deletes is missing from the result two seconds later at the latest. While the store does not
// answer, the contents that this Service knew within the last 10 minutes exist, unless Config.Cache
// knows of a deletion. If that cache does not answer either, or one of ids is not known, the error
// is the store's.
func (s *Service) Rateable(ctx context.Context, ids []string) ([]string, error) {
	return s.rateable(ctx, ids, existsFor)
}

// CachedContents are the contents of a Service as a worker of ratings needs them. A deleted content
// may be among them for 10 minutes, because the store refuses its ratings anyway.
type CachedContents struct{ s *Service }

// Cached returns the contents for a worker of ratings. The Service itself can be used in its place; it
// asks the store more often.
func (s *Service) Cached() CachedContents { return CachedContents{s} }

// Rateable returns those of ids that exist, or existed 10 minutes ago.
func (c CachedContents) Rateable(ctx context.Context, ids []string) ([]string, error) {
	return c.s.rateable(ctx, ids, existedFor)
}

func (s *Service) rateable(ctx context.Context, ids []string, fresh time.Duration) ([]string, error) {
	s.invalidateDue(ctx)
	at := s.now()
	known, unknown := s.existing.split(ids, at.Add(-fresh))
	if len(unknown) == 0 {
		return known, nil
	}
	stale, neverSeen := s.existing.split(unknown, at.Add(-existedFor))
	staleWillDo := len(neverSeen) == 0
	found, err := s.read(ctx, unknown, staleWillDo)
	if err == nil {
		s.existing.remember(unknown, found, at)
		for _, c := range found {
			known = append(known, c.ID)
		}
		return known, nil
	}
	if staleWillDo && unanswered(err) {
		if deleted, ok := s.deleted(ctx, unknown); ok {
			stale = slices.DeleteFunc(stale, func(id string) bool { return slices.Contains(deleted, id) })
			return append(known, stale...), nil
		}
	}
	return nil, fmt.Errorf("content: look up %d contents: %w", len(unknown), err)
}

// read returns those of ids that the store has. If a stale answer will do, read does not wait long,
// and leaves time to return that.
func (s *Service) read(ctx context.Context, ids []string, staleWillDo bool) ([]Content, error) {
	if staleWillDo {
		reserved, release := deadline.Reserve(ctx, fallbackTime)
		defer release()
		short, cancel := context.WithTimeout(reserved, staleAfter)
		defer cancel()
		ctx = short
	}
	return s.store.ContentsByID(ctx, ids)
}

// unanswered reports whether err says that the store does not answer.
func unanswered(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}
