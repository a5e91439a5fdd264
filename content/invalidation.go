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
	// maxDue is how many marks are kept that the cache has not taken yet, and duePause the least
	// time between two failures to write them.
	maxDue   = cache.MaxBatch
	duePause = time.Second
)

// deletedKey is where the cache keeps the mark of a deleted content.
func deletedKey(id string) string { return "content:" + id + ":opened" }

// deleted returns those of ids that the cache knows are deleted. It reports false if the cache does
// not answer.
func (s *Service) deleted(ctx context.Context, ids []string) (gone []string, ok bool) {
	if s.cache == nil {
		return nil, true
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = deletedKey(id)
	}
	items, err := s.cache.GetMany(ctx, keys)
	if err != nil {
		s.silent.Warn(ctx, s.log, s.now(), "content: cache does not answer", slog.Any("error", err))
		return nil, false
	}
	for i, id := range ids {
		if items[keys[i]].Version == deletedVersion {
			gone = append(gone, id)
		}
	}
	return gone, true
}

// dueMarks are deletions that the cache has not taken yet. They are appended, and taken away in
// front.
type dueMarks struct {
	mu      sync.Mutex
	ids     []string
	writing bool
	next    time.Time // when to write again, after a failure
}

// markDeleted puts the mark of a deletion into the cache. If it fails, a later call of
// HistoryStarts or GetOrStale tries again.
func (s *Service) markDeleted(ctx context.Context, id string) {
	if s.cache == nil || s.mark(ctx, []string{id}) {
		return
	}
	s.due.mu.Lock()
	defer s.due.mu.Unlock()
	if len(s.due.ids) < maxDue {
		s.due.ids = append(s.due.ids, id)
	}
}

// markAgain writes the marks that are due.
func (s *Service) markAgain(ctx context.Context) {
	d := &s.due
	d.mu.Lock()
	ids, mine := d.ids, len(d.ids) > 0 && !d.writing && !s.now().Before(d.next)
	d.writing = d.writing || mine
	d.mu.Unlock()
	if !mine {
		return
	}
	ok := s.mark(ctx, ids)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = false
	if !ok {
		d.next = s.now().Add(duePause)
		return
	}
	d.ids = d.ids[len(ids):]
}

// mark puts marks into the cache and reports whether it took them.
func (s *Service) mark(ctx context.Context, ids []string) bool {
	items := make([]cache.Item, len(ids))
	for i, id := range ids {
		items[i] = cache.Item{Key: deletedKey(id), Version: deletedVersion, TTL: deletedTTL}
	}
	err := s.cache.SetMany(ctx, items)
	if err != nil {
		s.drop.Warn(ctx, s.log, s.now(), "content: cache does not learn of a deletion",
			slog.String("content", ids[0]), slog.Any("error", err))
	}
	return err == nil
}
