package rating

import (
	"context"
	"fmt"
	"time"
)

// For workers: Config returns the configuration, with its defaults.
func (s *Service) Config() Config { return s.cfg }

// For workers: Installation returns Store.Installation, which is read once.
func (s *Service) Installation(ctx context.Context) (string, error) { return s.identity.Of(ctx) }

// For workers: StreamEpoch returns Store.StreamEpoch of a stream, which is read once.
func (s *Service) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	return s.epochs.of(ctx, stream)
}

// For workers: RefreshStats reads the Stats of contents from the store and caches them.
func (s *Service) RefreshStats(ctx context.Context, contents []string) error {
	if s.cfg.Cache == nil || len(contents) == 0 {
		return nil
	}
	began := s.cfg.Now()
	stats, err := s.store.StatsByContent(ctx, contents)
	if err != nil {
		return fmt.Errorf("rating: numbers of %d contents: %w", len(contents), err)
	}
	s.CacheStats(ctx, stats, began)
	return nil
}

// For workers: CacheStats caches Stats that were read from the store after the given time.
func (s *Service) CacheStats(ctx context.Context, stats []Stats, began time.Time) {
	s.stats.put(ctx, stats, began)
}
