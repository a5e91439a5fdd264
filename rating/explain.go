package rating

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Explanation says how a content's published score comes about.
type Explanation struct {
	// Stats is what is shown now. Its score may be a recalculation behind.
	Stats Stats
	// Score is what a recalculation would publish now.
	Score score.Score
	// HistoryStarts is when the history opened; zero if it has not.
	Start   time.Time
	Parts   []score.Part
	Windows []Window
}

// Explain says how the published score of a content comes about. ErrNotFound: there is no such
// content. ErrForbidden: the actor is not staff.
func (s *Service) Explain(ctx context.Context, actor actor.Actor, content string) (Explanation, error) {
	opened, h, err := s.history(ctx, content)
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
	parts, now := s.cfg.Policy.Explain(s.cfg.Scale, h.Buckets, h.Rulings())
	return Explanation{Stats: stats[content], Score: now, Start: opened, Parts: parts, Windows: h.Windows}, nil
}
