package rating

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ScorePolicy holds the constants of the published score, the bounded daily pull: the plain average
// of all ratings, except that those of one day (on a content's first day: of one hour) pull it by
// at most Pull. What exceeds that is held back and counts after all as soon as the ratings of other
// days agree. The zero value means the defaults.
//
// The defaults are for the scale 1 to 5; for another scale, Pull, Prior and the bounds stretch with
// it.
type ScorePolicy struct {
	Pull      float64 // κ: how far one day may pull, in steps of a scale 1 to 5. Default 0.1
	Young     float64 // c: a young content's days may pull by Young/√(weight+1) where that is more. Default 1
	FirstDay  float64 // h: the share of Pull that one hour of the first day has. Default 0.2
	Few       float64 // F: below this weight, Exact ratings of a bucket always count. Default 20
	Exact     float64 // n0. Default 5
	Prior     float64 // C: what a content without ratings is taken to be, on a scale 1 to 5. Default 3.5
	RankPrior float64 // m: how many ratings at Prior the rank adds. Default 10
}

func (p ScorePolicy) orDefault() ScorePolicy {
	if p == (ScorePolicy{}) {
		return ScorePolicy{Pull: 0.1, Young: 1, FirstDay: 0.2, Few: 20, Exact: 5, Prior: 3.5, RankPrior: 10}
	}
	return p
}

// Validate reports every constant that cannot be used on the scale.
func (p ScorePolicy) Validate() error {
	p = p.orDefault()
	var errs []error
	positive := func(name string, v float64) {
		if !(v > 0) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("rating: ScorePolicy.%s is %v, must be a positive number", name, v))
		}
	}
	positive("Pull", p.Pull)
	positive("Young", p.Young)
	positive("Few", p.Few)
	positive("Exact", p.Exact)
	positive("RankPrior", p.RankPrior)
	if !(p.FirstDay > 0 && p.FirstDay <= 1) {
		errs = append(errs, fmt.Errorf("rating: ScorePolicy.FirstDay is %v, must be above 0 and at most 1", p.FirstDay))
	}
	// Otherwise a first hour of pure lowest or highest scores would lie within reach of the prior
	// and be trusted.
	if !(p.Prior-p.Young > 1) || !(p.Prior+p.Young < 5) {
		errs = append(errs, fmt.Errorf("rating: ScorePolicy.Prior %v and Young %v: Prior-Young must be above 1 and Prior+Young below 5", p.Prior, p.Young))
	}
	return errors.Join(errs...)
}

// stretched returns the policy in the units of scale.
func (p ScorePolicy) stretched(scale Scale) ScorePolicy {
	p = p.orDefault()
	scale = scale.orDefault()
	unit := float64(scale.Max-scale.Min) / 4
	p.Prior = float64(scale.Min) + float64((p.Prior-1)*unit)
	p.Pull = float64(p.Pull * unit)
	p.Young = float64(p.Young * unit)
	return p
}

// BucketAt returns the index of the bucket that a rating accepted at the given time counts in, when
// the content's history opened at opened: 0 to 23 for the hours of the first day (0 also for what
// came before), 24 and on for the days since.
func BucketAt(opened, at time.Time) int {
	const hour, day = int64(time.Hour / time.Second), int64(24 * time.Hour / time.Second)
	age := int64(at.Sub(opened) / time.Second)
	switch {
	case age < 0:
		return 0
	case age < day:
		return int(age / hour)
	}
	return int(24 + (age-day)/day)
}

// Compute computes the published score from a content's history. It depends on nothing else, least
// of all on the time of the call. Products are rounded before they are added, so that machines that
// fuse the two compute the same bits.
func (p ScorePolicy) Compute(scale Scale, h History) Score {
	_, score := p.Explain(scale, h)
	return score
}

// Explain is Compute together with what became of each bucket, in their order.
func (p ScorePolicy) Explain(scale Scale, h History) ([]Part, Score) {
	p = p.stretched(scale)
	parts := make([]Part, 0, len(h.Buckets))
	var w, v float64
	for _, b := range h.Buckets {
		if b.N <= 0 {
			continue
		}
		part := p.weigh(w, v, b)
		switch part.Ruling = h.ruling(b.Index); part.Ruling {
		case Excluded:
			part.Counted, part.Verdict = 0, VerdictExcluded
		case Cleared:
			part.Counted, part.Verdict = float64(b.N), VerdictCleared
		}
		if part.Counted == float64(b.N) {
			v += float64(b.Sum)
		} else {
			v += float64(part.Counted * b.mean())
		}
		w += part.Counted
		parts = append(parts, part)
	}
	for i := range parts { // the second look: does what came later agree with what was held back?
		part := &parts[i]
		if part.Verdict != VerdictHeld {
			continue
		}
		n := float64(part.N)
		w1, v1 := w-part.Counted, v-float64(part.Counted*part.mean())
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

func (b Bucket) mean() float64 { return float64(b.Sum) / float64(b.N) }

// weigh says how many of the ratings of b count on top of the weight w and the sum v: all of them
// if they move the score by no more than the limit, otherwise as many as move it by exactly the
// limit.
func (p ScorePolicy) weigh(w, v float64, b Bucket) Part {
	n := float64(b.N)
	s := (v + p.Prior) / (w + 1)
	gap := math.Abs(b.mean() - s)
	limit := max(p.Pull, p.Young/math.Sqrt(w+1))
	if b.Index < 24 && w >= p.Few {
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
