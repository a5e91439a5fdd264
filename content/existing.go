package content

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	// and for a worker in any case. A rating that is accepted or taken from the queue on the word
	// of an older check is refused when it is applied.
	existedFor = 10 * time.Minute
	// staleAfter is how long the store is waited for where an older answer will do.
	staleAfter = time.Second
	// maxExisting is how many contents are remembered, of some 200 bytes each.
	maxExisting = 20_000
)

// existing are the contents that the store had a while ago, and those that this process deleted.
type existing struct {
	mu   sync.Mutex
	seen *lru.Map[string, *existence]
}

type existence struct {
	created, checked time.Time
	deleted          bool // for good: identifiers do not come back
}

func newExisting() existing {
	return existing{seen: lru.New[string, *existence](maxExisting, nil)}
}

// recall adds to opened when those of ids were created that the store had at the given time or
// later, and returns the ids of which it must be asked. Deleted contents are neither.
func (e *existing) recall(ids []string, since time.Time, opened map[string]time.Time) (rest []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		seen, ok := e.seen.Get(id)
		switch {
		case ok && seen.deleted:
		case ok && !seen.checked.Before(since):
			opened[id] = seen.created
		default:
			rest = append(rest, id)
		}
	}
	return rest
}

// see remembers what the store said of ids when it was asked at a time. What it does not have is
// forgotten: identifiers that somebody makes up must not take the place of others.
func (e *existing) see(ids []string, found []Content, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if old, ok := e.seen.Get(id); ok && !old.deleted {
			e.seen.Remove(id)
		}
	}
	for _, c := range found {
		if _, deleted := e.seen.Get(c.ID); !deleted { // who read it before it was deleted may come after
			e.seen.Put(c.ID, &existence{created: c.CreatedAt, checked: at})
		}
	}
}

func (e *existing) delete(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen.Put(id, &existence{deleted: true})
}

// HistoryStarts returns when those of ids were created that exist. A content that another process
// deletes is missing from the answer two seconds later at the latest. While the store does not
// answer, the contents that this Service knew within the last 10 minutes exist, unless Config.Cache
// knows of a deletion. If that cache does not answer either, or one of ids is not known, the error
// is the store's.
func (s *Service) HistoryStarts(ctx context.Context, ids []string) (map[string]time.Time, error) {
	return s.opened(ctx, ids, existsFor)
}

// CachedContents are the contents of a Service as a rating.Worker needs them: when they were
// created, which never changes. One that was deleted may be among them for 10 minutes, since the
// store refuses its ratings anyway.
type CachedContents struct{ s *Service }

// CachedContents returns the contents for a rating.Worker. The Service itself will do, and asks the
// store more often.
func (s *Service) Cached() CachedContents { return CachedContents{s} }

// HistoryStarts returns when those of ids were created that exist, or did 10 minutes ago.
func (r CachedContents) HistoryStarts(ctx context.Context, ids []string) (map[string]time.Time, error) {
	return r.s.opened(ctx, ids, existedFor)
}

func (s *Service) opened(ctx context.Context, ids []string, fresh time.Duration) (map[string]time.Time, error) {
	s.markAgain(ctx)
	at := s.now()
	opened := make(map[string]time.Time, len(ids))
	rest := s.existing.recall(ids, at.Add(-fresh), opened)
	if len(rest) == 0 {
		return opened, nil
	}
	older := make(map[string]time.Time, len(rest))
	will := len(s.existing.recall(rest, at.Add(-existedFor), older)) == 0
	found, err := s.ask(ctx, rest, will)
	if err == nil {
		s.existing.see(rest, found, at)
		for _, c := range found {
			opened[c.ID] = c.CreatedAt
		}
		return opened, nil
	}
	if will && unanswered(err) {
		if gone, ok := s.deleted(ctx, rest); ok {
			for _, id := range gone {
				delete(older, id)
			}
			maps.Copy(opened, older)
			return opened, nil
		}
	}
	return nil, fmt.Errorf("content: look up %d contents: %w", len(rest), err)
}

// ask returns those of ids that the store has. If an older answer will do, it does not wait long,
// and leaves time to give that.
func (s *Service) ask(ctx context.Context, ids []string, olderWill bool) ([]Content, error) {
	if olderWill {
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
