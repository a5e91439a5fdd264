package score

import (
	"fmt"
	"math"
)

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
	VerdictCounted  Verdict = "counted"  // the bucket pulls by no more than its limit
	VerdictHeld     Verdict = "held"     // the bucket pulls by more than its limit
	VerdictExcluded Verdict = "excluded" // by the ruling of a window
	VerdictCleared  Verdict = "cleared"  // by the ruling of a window
)

// Explanation is a score and how it comes about.
type Explanation struct {
	Score
	// Weight says how firm the score is: one more rating moves it by about the distance of the
	// rating from Value, divided by Weight. Where a bucket is about to be limited or released one
	// rating can move the score more.
	Weight float64
	// Parts ascend by Index. Buckets without ratings are left out.
	Parts []Part
}

// Part is how one bucket counts in the score.
type Part struct {
	Index int
	// Ratings is how many ratings are in the bucket, Sum the sum of their scores.
	Ratings, Sum int64
	// Pull is by how much the bucket pulls the score up or, if negative, down: the sum of the
	// distances of its ratings.
	Pull float64
	// Alone is by how much the bucket may pull by itself, Limit by how much with what other buckets
	// of its season bear out. Limit is Alone where the bucket pulls by less.
	Alone, Limit float64
	// Counted is how many of the ratings count, in fractions.
	Counted float64
	Verdict Verdict
}

// Explain is Compute that also returns how the score comes about.
func (p Policy) Explain(scale Scale, buckets []Bucket, windows []Window) Explanation {
	scale = scale.OrDefault()
	b := p.orDefault().newBalance(scale, buckets, windows)
	value := b.solve()
	e := Explanation{Score: b.score(value)}
	next := 0 // the next row that takes part
	for _, bucket := range buckets {
		ruled := ruling(windows, bucket.Index)
		row := newPulling(bucket, ruled, scale)
		if row.n == 0 {
			continue
		}
		part := Part{Index: bucket.Index, Ratings: row.n, Sum: row.sum, Alone: row.alone, Verdict: VerdictExcluded}
		if ruled == Excluded {
			row.evaluate(value)
		} else {
			row = b.rows[next]
			next++
			part.Counted = row.ratings()
			e.Weight += float64(row.slope() * float64(row.n))
			switch {
			case row.cleared:
				part.Verdict = VerdictCleared
			case row.limited():
				part.Verdict = VerdictHeld
			default:
				part.Verdict = VerdictCounted
			}
		}
		part.Pull = row.pull
		if part.Limit = row.limit; math.IsInf(part.Limit, 1) {
			part.Limit = part.Alone
		}
		e.Parts = append(e.Parts, part)
	}
	return e
}

// Mean returns the average score of the bucket's ratings.
func (p Part) Mean() float64 { return float64(p.Sum) / float64(p.Ratings) }

// Why explains the verdict in a sentence for people.
func (e Explanation) Why(p Part) string {
	span, others := "a day", "the other days of its season bear"
	if p.Index < firstDays {
		span, others = "an hour of the first day", "the other hours bear"
	}
	way := "up"
	if p.Pull < 0 {
		way = "down"
	}
	switch p.Verdict {
	case VerdictHeld:
		return fmt.Sprintf("%d ratings average %.2f and pull the score of %.2f %s by %.0f. Alone %s may pull by %.0f; "+
			"%s out %.0f more; of the rest two in a thousand count: %.1f of the %d ratings.",
			p.Ratings, p.Mean(), e.Value, way, math.Abs(p.Pull), span, p.Alone, others, p.Limit-p.Alone, p.Counted, p.Ratings)
	case VerdictExcluded:
		return fmt.Sprintf("Excluded by staff: none of the %d ratings counts.", p.Ratings)
	case VerdictCleared:
		return fmt.Sprintf("Cleared by staff: all %d ratings count.", p.Ratings)
	}
	return fmt.Sprintf("All %d ratings count: they pull the score of %.2f %s by %.1f, which is no more than %s may.",
		p.Ratings, e.Value, way, math.Abs(p.Pull), span)
}
