package score

import "fmt"

// Ruling is what staff decided about a part of a content's history.
type Ruling string

// The rulings.
const (
	Excluded Ruling = "excluded" // its ratings do not count in the published score
	Cleared  Ruling = "cleared"  // its ratings count in full, whatever they do to the score
)

// Window is a ruling about the buckets From to Until, both included.
type Window struct {
	From, Until int
	Ruling      Ruling
}

// ruling returns the ruling about a bucket, or an empty string. In a bucket of several windows
// Excluded wins.
func ruling(windows []Window, bucket int) Ruling {
	var found Ruling
	for _, w := range windows {
		if w.From <= bucket && bucket <= w.Until && found != Excluded {
			found = w.Ruling
		}
	}
	return found
}

// Verdict is how a bucket counts in the score.
type Verdict string

// The verdicts. A part of a held bucket counts, nothing of an excluded bucket, and all of every
// other bucket.
const (
	VerdictCounted  Verdict = "counted"  // the bucket moves the score by no more than a bucket may
	VerdictFew      Verdict = "few"      // few ratings of a content with few ratings always count
	VerdictAgreed   Verdict = "agreed"   // the bucket was held back at first, and later ratings agree with it
	VerdictHeld     Verdict = "held"     // the bucket would move the score by more than a bucket may
	VerdictExcluded Verdict = "excluded" // by the ruling of a window
	VerdictCleared  Verdict = "cleared"  // by the ruling of a window
)

// Part is how one bucket counts in the score.
type Part struct {
	Bucket
	// Before is the score without this bucket and those after it; with no ratings at all, the
	// prior.
	Before float64
	// Limit is how far the bucket may pull Before.
	Limit float64
	// Counted is how many of the ratings count, in fractions.
	Counted float64
	Verdict Verdict
	Ruling  Ruling
}

// Why explains the verdict in a sentence for people.
func (p Part) Why() string {
	span := "a day"
	if p.Index < firstDays {
		span = "an hour of the first day"
	}
	switch p.Verdict {
	case VerdictHeld:
		return fmt.Sprintf("%d ratings average %.2f where the score stood at %.2f; %s may pull it by %.2f, "+
			"so they count as %.1f, and %.1f are held back until others agree.",
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
