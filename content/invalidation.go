package content

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

const (
	// deletedVersion is greater than that of what older releases kept under the same keys.
	deletedVersion = 1
	// deletedTTL outlives what another process may still answer without the store.
	deletedTTL = 2 * existedFor
	// maxDue is how many invalidations are kept that the cache has not accepted yet, and duePause
	// the pause after a failure to send them.
	maxDue   = cache.MaxBatch
	duePause = time.Second
)

// deletedKey is where the cache keeps that a content is deleted.
func deletedKey(id string) string { return "content:" + id + ":opened" }

// deleted returns those of ids that the cache knows are deleted. It returns false if the cache does
// not answer.
func (s *Service) deleted(ctx context.Context, ids []string) (deleted []string, ok bool) {
	if s.cache == nil {
		return nil, true
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = deletedKey(id)
	}
	items, err := s.cache.GetMany(ctx, keys)
	if err != nil {
		s.readFailures.Warn(ctx, s.log, s.now(), "content: cache does not answer", slog.Any("error", err))
		return nil, false
	}
	for i, id := range ids {
		if items[keys[i]].Version == deletedVersion {
			deleted = append(deleted, id)
		}
	}
	return deleted, true
}

// invalidations are the deletions that the cache has not accepted yet, oldest first.
type invalidations struct {
	mu      sync.Mutex
	due     []string // identifiers of contents
	sending bool
	next    time.Time // when to send again, after a failure
}

// invalidate tells the cache, and so other processes, that a content is deleted. If that fails, the
// invalidation is due, and later calls of Rateable or GetOrStale send it.
func (s *Service) invalidate(ctx context.Context, id string) {
	if s.cache == nil || s.sendInvalidations(ctx, []string{id}) {
		return
	}
	s.invalidations.mu.Lock()
	defer s.invalidations.mu.Unlock()
	if len(s.invalidations.due) < maxDue {
		s.invalidations.due = append(s.invalidations.due, id)
	}
}

// invalidateDue sends the invalidations that are due, in one call at a time.
func (s *Service) invalidateDue(ctx context.Context) {
	v := &s.invalidations
	v.mu.Lock()
	ids, mine := v.due, len(v.due) > 0 && !v.sending && !s.now().Before(v.next)
	v.sending = v.sending || mine
	v.mu.Unlock()
	if !mine {
		return
	}
	ok := s.sendInvalidations(ctx, ids)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sending = false
	if !ok {
		v.next = s.now().Add(duePause)
		return
	}
	v.due = v.due[len(ids):]
}

// sendInvalidations reports whether the cache has accepted them.
func (s *Service) sendInvalidations(ctx context.Context, ids []string) bool {
	items := make([]cache.Item, len(ids))
	for i, id := range ids {
		items[i] = cache.Item{Key: deletedKey(id), Version: deletedVersion, TTL: deletedTTL}
	}
	err := s.cache.SetMany(ctx, items)
	if err != nil {
		s.writeFailures.Warn(ctx, s.log, s.now(), "content: cache does not learn of a deletion",
			slog.String("content", ids[0]), slog.Any("error", err))
	}
	return err == nil
}
