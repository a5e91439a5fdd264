// Package score computes the published score of a content: the bounded daily pull. The published
// score is the plain average of all ratings, except that the ratings of one day (on a content's
// first day: of one hour) pull it by at most Policy.Pull. Ratings beyond that are held back, and
// count in full as soon as the ratings of other days agree with them.
//
// Everything here is a pure function of rows: no context, no clock, no I/O. The same rows give the
// same bits on every machine, in every process and at any time.
package score

import (
	"errors"
	"fmt"
	"math"
)

// Score is the published score of a content.
type Score struct {
	// Value lies within the scale. It has a meaning only if Weight is positive.
	Value float64
	// Weight is how many ratings the score rests on; the other ratings are held back. Zero: there
	// is no score.
	Weight float64
	// Rank is what lists are ordered by: Value, moved towards Policy.Prior while there are few
	// ratings.
	Rank float64
	// Computed says that a score was computed at all; it is false in the zero Score.
	Computed bool
}

// Policy holds the constants of the published score. The zero value means the defaults, which are
// for the scale 1 to 5; for another scale Pull, Young and Prior are stretched with it.
type Policy struct {
	Pull      float64 // κ: how far one day may pull, in steps of a scale 1 to 5. Default 0.1
	Young     float64 // c: the days of a young content may pull by Young/√(weight+1) where that is more. Default 1
	FirstDay  float64 // h: the share of Pull that one hour of the first day has. Default 0.2
	Few       float64 // F: below this weight, Exact ratings of a bucket always count. Default 20
	Exact     float64 // n0. Default 5
	Prior     float64 // C: the assumed score of a content without ratings, on a scale 1 to 5. Default 3.5
	RankPrior float64 // m: how many ratings at Prior the rank adds. Default 10
}

func (p Policy) orDefault() Policy {
	if p == (Policy{}) {
		return Policy{Pull: 0.1, Young: 1, FirstDay: 0.2, Few: 20, Exact: 5, Prior: 3.5, RankPrior: 10}
	}
	return p
}

// Validate reports every constant that cannot be used.
func (p Policy) Validate() error {
	p = p.orDefault()
	var errs []error
	positive := func(name string, v float64) {
		if !(v > 0) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("score: Policy.%s is %v, must be a positive number", name, v))
		}
	}
	positive("Pull", p.Pull)
	positive("Young", p.Young)
	positive("Few", p.Few)
	positive("Exact", p.Exact)
	positive("RankPrior", p.RankPrior)
	if !(p.FirstDay > 0 && p.FirstDay <= 1) {
		errs = append(errs, fmt.Errorf("score: Policy.FirstDay is %v, must be above 0 and at most 1", p.FirstDay))
	}
	// Otherwise a first hour of pure lowest or highest scores would lie within reach of the prior
	// and count in full.
	if !(p.Prior-p.Young > 1) || !(p.Prior+p.Young < 5) {
		errs = append(errs,
			fmt.Errorf("score: Policy.Prior %v and Young %v: Prior-Young must be above 1 and Prior+Young below 5",
				p.Prior, p.Young))
	}
	return errors.Join(errs...)
}

// stretched returns the policy in the units of scale.
func (p Policy) stretched(scale Scale) Policy {
	p = p.orDefault()
	scale = scale.OrDefault()
	unit := float64(scale.Max-scale.Min) / 4
	p.Prior = float64(scale.Min) + float64((p.Prior-1)*unit)
	p.Pull = float64(p.Pull * unit)
	p.Young = float64(p.Young * unit)
	return p
}

// Compute computes the published score of a content from its buckets, ascending by Index, and its
// windows. Products are rounded before they are added, so that machines that fuse the two compute
// the same bits.
func (p Policy) Compute(scale Scale, buckets []Bucket, windows []Window) Score {
	_, score := p.Explain(scale, buckets, windows)
	return score
}

// Explain is Compute that also returns how each bucket counts, in the order of the buckets. Buckets
// without ratings are left out.
func (p Policy) Explain(scale Scale, buckets []Bucket, windows []Window) ([]Part, Score) {
	p = p.stretched(scale)
	parts := make([]Part, 0, len(buckets))
	var w, v float64
	for _, b := range buckets {
		if b.N <= 0 {
			continue
		}
		part := p.weigh(w, v, b)
		switch part.Ruling = ruling(windows, b.Index); part.Ruling {
		case Excluded:
			part.Counted, part.Verdict = 0, VerdictExcluded
		case Cleared:
			part.Counted, part.Verdict = float64(b.N), VerdictCleared
		}
		if part.Counted == float64(b.N) {
			v += float64(b.Sum)
		} else {
			v += float64(part.Counted * b.Mean())
		}
		w += part.Counted
		parts = append(parts, part)
	}
	for i := range parts { // second pass: do later ratings agree with those that were held back?
		part := &parts[i]
		if part.Verdict != VerdictHeld {
			continue
		}
		n := float64(part.N)
		w1, v1 := w-part.Counted, v-float64(part.Counted*part.Mean())
		if p.weigh(w1, v1, part.Bucket).Counted == n {
			w, v = w1+n, v1+float64(part.Sum)
			part.Counted, part.Verdict = n, VerdictAgreed
		}
	}
	score := Score{Weight: w, Rank: (v + float64(p.RankPrior*p.Prior)) / (w + p.RankPrior), Computed: true}
	if w > 0 {
		score.Value = v / w
	}
	return parts, score
}

// weigh returns how many ratings of b count on top of the weight w and the sum v: all of them if
// they move the score by no more than the limit, otherwise as many as move it by exactly the limit.
func (p Policy) weigh(w, v float64, b Bucket) Part {
	n := float64(b.N)
	s := (v + p.Prior) / (w + 1)
	gap := math.Abs(b.Mean() - s)
	limit := max(p.Pull, p.Young/math.Sqrt(w+1))
	if b.Index < firstDays && w >= p.Few {
		limit *= p.FirstDay
	}
	part := Part{Bucket: b, Before: s, Limit: limit, Counted: n, Verdict: VerdictCounted}
	if w < p.Few && n <= p.Exact {
		part.Verdict = VerdictFew
		return part
	}
	if float64(n*gap) <= float64(limit*(w+1+n)) {
		return part
	}
	k := float64(limit*(w+1)) / (gap - limit)
	if w < p.Few {
		k = max(k, p.Exact)
	}
	if k < n {
		part.Counted, part.Verdict = k, VerdictHeld
	}
	return part
}
