package rating

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

// For workers: Config returns the configuration, with its defaults.
func (s *Service) Config() Config { return s.cfg }

// For workers: Installation returns Store.Installation, which is read once.
func (s *Service) Installation(ctx context.Context) (string, error) { return s.identity.Of(ctx) }

// For workers: StreamEpoch returns Store.StreamEpoch of a stream, which is read once.
func (s *Service) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	return s.epochs.of(ctx, stream)
}

// For workers: Compute computes the published score of a content.
func (s *Service) Compute(h History) score.Score {
	return s.cfg.Policy.Compute(s.cfg.Scale, h.Buckets, h.Rulings())
}

// For workers: Publish publishes the numbers of those of contents that have changed, and caches
// them.
func (s *Service) Publish(ctx context.Context, contents []string) error {
	if len(contents) == 0 {
		return nil
	}
	began := s.cfg.Now()
	stats, err := s.store.RefreshScoresOf(ctx, contents, s.Compute)
	if err != nil {
		return fmt.Errorf("rating: publish the numbers of %d contents: %w", len(contents), err)
	}
	s.CacheStats(ctx, stats, began)
	return nil
}

// For workers: CacheStats caches Stats that were read from the store after the given time.
func (s *Service) CacheStats(ctx context.Context, stats []Stats, began time.Time) {
	s.stats.put(ctx, stats, began)
}
