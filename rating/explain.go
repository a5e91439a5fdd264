package rating

import (
	"context"
	"fmt"
	"time"
)

// Verdict is what became of a bucket when the score was folded.
type Verdict string

// The verdicts. Of a held bucket a part counts, of an excluded one nothing, of the others
// everything.
const (
	VerdictCounted  Verdict = "counted"  // it moves the score by no more than a bucket may
	VerdictFew      Verdict = "few"      // few ratings of a content with few always count
	VerdictAgreed   Verdict = "agreed"   // it was held back at first, and what came later agrees with it
	VerdictHeld     Verdict = "held"     // it would move the score by more than a bucket may
	VerdictExcluded Verdict = "excluded" // a window says so
	VerdictCleared  Verdict = "cleared"  // a window says so
)

// Part is what became of one bucket.
type Part struct {
	Bucket
	// Before is what the content was taken to be without this bucket and those after it; with no
	// ratings at all, the prior.
	Before float64
	// Limit is how far the bucket might pull that.
	Limit float64
	// Counted is how many of the ratings count, in fractions.
	Counted float64
	Verdict Verdict
	Ruling  Ruling
}

// Mean returns the average of the bucket's ratings.
func (p Part) Mean() float64 { return p.mean() }

// Why returns a sentence for people.
func (p Part) Why() string {
	span := "a day"
	if p.Index < 24 {
		span = "an hour of the first day"
	}
	switch p.Verdict {
	case VerdictHeld:
		return fmt.Sprintf("%d ratings average %.2f where the score stood at %.2f; %s may pull it by %.2f, so they count as %.1f, and %.1f are held back until others agree.",
			p.N, p.Mean(), p.Before, span, p.Limit, p.Counted, float64(p.N)-p.Counted)
	case VerdictAgreed:
		return fmt.Sprintf("Held back at first; the ratings since agree, so all %d count.", p.N)
	case VerdictExcluded:
		return fmt.Sprintf("Excluded by staff: none of the %d counts.", p.N)
	case VerdictCleared:
		return fmt.Sprintf("Cleared by staff: all %d count.", p.N)
	case VerdictFew:
		return fmt.Sprintf("All %d count: while a content has few ratings, a few more always do.", p.N)
	}
	return fmt.Sprintf("All %d count: they pull the score by no more than the %.2f that %s may.", p.N, p.Limit, span)
}

// Explanation says how a content's published score comes about.
type Explanation struct {
	// Stats is what is shown now. Its score may be a recalculation behind.
	Stats Stats
	// Score is what a recalculation would publish now.
	Score Score
	// HistoryStarts is when the history opened; zero if it has not.
	Start   time.Time
	Parts   []Part
	Windows []Window
}

// Explain says how the published score of a content comes about. ErrNotFound: there is no such
// content. ErrForbidden: the actor is not staff.
func (s *Service) Explain(ctx context.Context, actor Actor, content string) (Explanation, error) {
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
	parts, score := s.cfg.Policy.Explain(s.cfg.Scale, h)
	return Explanation{Stats: stats[content], Score: score, Start: opened, Parts: parts, Windows: h.Windows}, nil
}

// BucketSpan is the inverse of BucketAt: the times of the ratings that count in a bucket, until
// exclusive. What came before the opening counts in bucket 0 too.
func BucketSpan(opened time.Time, bucket int) (from, until time.Time) {
	if bucket < 24 {
		from = opened.Add(time.Duration(bucket) * time.Hour)
		return from, from.Add(time.Hour)
	}
	from = opened.AddDate(0, 0, bucket-23)
	return from, from.AddDate(0, 0, 1)
}
