package rating

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Explanation explains the published score of a content.
type Explanation struct {
	// Stats are the published numbers. They may not include the latest changes.
	Stats Stats
	// Explanation is that of the score as computed now.
	score.Explanation
	// Start is when the history of the content starts; zero if it was never rated.
	Start   time.Time
	Windows []Window
}

// Explain explains the published score of a content. ErrNotFound: there is no such content.
// ErrForbidden: the actor is not staff.
func (s *Service) Explain(ctx context.Context, actor actor.Actor, content string) (Explanation, error) {
	h, err := s.history(ctx, content)
	if err != nil {
		return Explanation{}, err
	}
	if !actor.Staff {
		return Explanation{}, ErrForbidden
	}
	stats, err := s.Stats(ctx, []string{content})
	if err != nil {
		return Explanation{}, err
	}
	return Explanation{Stats: stats[content], Explanation: s.cfg.Policy.Explain(s.cfg.Scale, h.Buckets, h.Rulings()),
		Start: h.Start, Windows: h.Windows}, nil
}
