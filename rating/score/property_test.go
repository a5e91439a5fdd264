package score

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var cases = flag.Int("score-cases", 5_000, "how many random histories each property is tried on")

// history is a random case: rows with their rulings, and one rating that is given beside them.
type history struct {
	scale   Scale
	buckets []Bucket
	// rulings has the ruling on each of buckets; empty: none.
	rulings []Ruling
	// bucket is where the rating is, score what it is, and raised what it is raised to.
	bucket, score, raised int
}

func (h history) compute() Score { return Policy{}.Compute(h.scale, h.buckets, h.windows()) }

func (h history) balance() *balance {
	return Policy{}.orDefault().newBalance(h.scale, h.buckets, h.windows())
}

func (h history) windows() (windows []Window) {
	for i, r := range h.rulings {
		if r != "" {
			windows = append(windows, Window{From: h.buckets[i].Index, Until: h.buckets[i].Index, Ruling: r})
		}
	}
	return windows
}

// with returns h with n more ratings of a score in its bucket.
func (h history) with(score int, n int64) history {
	at, ok := slices.BinarySearchFunc(h.buckets, h.bucket, func(b Bucket, index int) int { return b.Index - index })
	h.buckets, h.rulings = slices.Clone(h.buckets), slices.Clone(h.rulings)
	if !ok {
		h.buckets, h.rulings = slices.Insert(h.buckets, at, Bucket{Index: h.bucket}), slices.Insert(h.rulings, at, "")
	}
	counts := slices.Clone(h.buckets[at].Counts)
	i, ok := slices.BinarySearchFunc(counts, score, func(c Count, s int) int { return c.Score - s })
	if !ok {
		counts = slices.Insert(counts, i, Count{Score: score})
	}
	counts[i].N += n
	h.buckets[at].Counts = slices.DeleteFunc(counts, func(c Count) bool { return c.N == 0 })
	return h
}

// randomHistory draws calm days and floods, of a few rows or of hundreds.
func randomHistory(r *rand.Rand) history {
	h := history{scale: Scale{1, 5}}
	switch r.IntN(8) {
	case 0:
		h.scale = Scale{0, 10}
	case 1:
		h.scale = Scale{-10, 10}
	}
	width := h.scale.Max - h.scale.Min + 1
	any := func() int { return h.scale.Min + r.IntN(width) }
	last := []int{4, 24, 40, 60, 160, 500}[r.IntN(6)]
	density := r.Float64()
	usual := math.Exp(5 * r.Float64())
	favourite := any()
	for b := range last {
		if r.Float64() > density {
			continue
		}
		row := Bucket{Index: b}
		counts := map[int]int64{}
		for range 1 + r.IntN(4) {
			score := favourite
			if r.IntN(3) == 0 {
				score = any()
			}
			counts[score] += 1 + int64(usual*r.ExpFloat64())
		}
		if r.IntN(12) == 0 { // a flood
			counts[[]int{h.scale.Min, h.scale.Max, any()}[r.IntN(3)]] += int64(usual * math.Exp(7*r.Float64()))
		}
		for score := h.scale.Min; score <= h.scale.Max; score++ {
			if counts[score] > 0 {
				row.Counts = append(row.Counts, Count{score, counts[score]})
			}
		}
		ruling := []Ruling{"", "", "", "", "", "", Excluded, Cleared}[r.IntN(8)]
		h.buckets, h.rulings = append(h.buckets, row), append(h.rulings, ruling)
	}
	h.bucket, h.score, h.raised = r.IntN(last), any(), any()
	if h.score > h.raised {
		h.score, h.raised = h.raised, h.score
	}
	return h
}

// smaller returns simpler histories than h.
func (h history) smaller() (all []history) {
	for size := len(h.buckets) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(h.buckets); at += size {
			s := h
			s.buckets = slices.Delete(slices.Clone(h.buckets), at, at+size)
			s.rulings = slices.Delete(slices.Clone(h.rulings), at, at+size)
			all = append(all, s)
		}
	}
	for i, row := range h.buckets {
		for j, c := range row.Counts {
			s := h
			s.buckets = slices.Clone(h.buckets)
			s.buckets[i].Counts = slices.Clone(row.Counts)
			if s.buckets[i].Counts[j].N = c.N / 2; c.N == 1 {
				s.buckets[i].Counts = slices.Delete(s.buckets[i].Counts, j, j+1)
			}
			all = append(all, s)
		}
		if h.rulings[i] != "" {
			s := h
			s.rulings = slices.Clone(h.rulings)
			s.rulings[i] = ""
			all = append(all, s)
		}
	}
	return all
}

// check tries a property on random histories, and reports the simplest one found that breaks it.
func check(t *testing.T, property func(history) error) {
	t.Helper()
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for n := range *cases {
		h := randomHistory(r)
		err := property(h)
		if err == nil {
			continue
		}
	shrinking:
		for {
			for _, s := range h.smaller() {
				if again := property(s); again != nil {
					h, err = s, again
					continue shrinking
				}
			}
			break
		}
		t.Fatalf("seed %d, case %d: %v\n%+v", seed, n, err, h)
	}
}

const slack = 1e-9 // twice the width at which the search for the root ends, and more

// T1: raising a rating never lowers the score.
func TestRaisingNeverLowers(t *testing.T) {
	check(t, func(h history) error {
		before, after := h.with(h.score, 1).compute(), h.with(h.raised, 1).compute()
		if before.Counted > 0 && after.Value < before.Value-slack {
			return fmt.Errorf("a rating of %d in bucket %d is raised to %d: the score falls from %v to %v",
				h.score, h.bucket, h.raised, before.Value, after.Value)
		}
		return nil
	})
}

// T1: a rating at least as high as the score never lowers it, one at most as high never raises it.
func TestAddingNeverMovesTheWrongWay(t *testing.T) {
	check(t, func(h history) error {
		before, after := h.compute(), h.with(h.score, 1).compute()
		if before.Counted == 0 {
			return nil
		}
		high, low := float64(h.score) >= before.Value, float64(h.score) <= before.Value
		if high && after.Value < before.Value-slack || low && after.Value > before.Value+slack {
			return fmt.Errorf("a rating of %d in bucket %d moves the score from %v to %v", h.score, h.bucket, before.Value,
				after.Value)
		}
		return nil
	})
}

// T2: one rating changes its own row's limited pull by the width of the scale at most, and the
// limit of another row by trust/k of that; fewer than 2k rows of a season are limited to a side.
func TestOneRatingIsBounded(t *testing.T) {
	check(t, func(h history) error {
		width := float64(h.scale.Max - h.scale.Min)
		h = h.with(h.score, 1)
		other := h.with(h.score, -1).with(h.raised, 1)
		for part := range 9 {
			s := float64(h.scale.Min) + width*float64(part)/8
			a, b := h.balance(), other.balance()
			a.at(s)
			b.at(s)
			for i := range a.rows {
				x, y := a.rows[i], b.rows[i]
				if x.bucket != y.bucket {
					return fmt.Errorf("bucket %d became %d", x.bucket, y.bucket)
				}
				if x.bucket == h.bucket {
					if by := math.Abs(x.counted - y.counted); by > width+slack*max(1, math.Abs(x.pull)) {
						return fmt.Errorf("the row itself moved by %v", by)
					}
					continue
				}
				if math.IsInf(x.limit, 1) || math.IsInf(y.limit, 1) {
					continue
				}
				bound := 0.0
				for _, at := range x.in {
					bound = max(bound, a.seasons[at].trust/float64(a.seasons[at].skipped)*width)
				}
				if by := math.Abs(x.limit - y.limit); by > bound+slack*max(1, x.limit) {
					return fmt.Errorf("at %v the limit of bucket %d moved by %v, more than %v", s, x.bucket, by, bound)
				}
			}
			for at, season := range a.seasons {
				var limited [2]int
				for _, r := range a.rows[season.first:season.last] {
					if r.limited() && r.pull > 0 {
						limited[up]++
					} else if r.limited() {
						limited[down]++
					}
				}
				if max(limited[up], limited[down]) >= 2*season.skipped {
					return fmt.Errorf("at %v, %v rows of season %d are limited, with k = %d", s, limited, at, season.skipped)
				}
			}
		}
		return nil
	})
}

// T3: only the rows count: not their history, nor empty ones.
func TestOrderIsNothing(t *testing.T) {
	check(t, func(h history) error {
		want := h.compute()
		given := h.with(h.score, 3).with(h.raised, 1).with(h.score, -3).with(h.raised, -1)
		if got := given.compute(); got != want {
			return fmt.Errorf("given and withdrawn: %+v, want %+v", got, want)
		}
		empty := h
		empty.buckets = slices.Concat(h.buckets, []Bucket{{Index: 9999}})
		empty.rulings = slices.Concat(h.rulings, []Ruling{""})
		if got := empty.compute(); got != want {
			return fmt.Errorf("with an empty row: %+v, want %+v", got, want)
		}
		return nil
	})
}

// T4: where no row is limited the score is the plain mean, to the last bit, and nothing is held;
// three ratings and a single bucket are always like that.
func TestCalmIsExact(t *testing.T) {
	check(t, func(h history) error {
		b := h.balance()
		if b.n == 0 {
			return nil
		}
		mean := float64(b.sum) / float64(b.n)
		_, limited := b.at(mean)
		if (b.n <= 3 || len(b.rows) == 1) && b.solve() != mean {
			return fmt.Errorf("%d ratings in %d rows have the score %v, want %v", b.n, len(b.rows), b.solve(), mean)
		}
		if got := h.compute(); !limited && (got.Value != mean || got.Counted != float64(b.n)) {
			return fmt.Errorf("no row is limited, and the score is %+v, want %v", got, mean)
		}
		return nil
	})
}

// An explanation has the result of Compute, and its parts add up to it.
func TestExplanationAddsUp(t *testing.T) {
	check(t, func(h history) error {
		want := h.compute()
		got := Policy{}.Explain(h.scale, h.buckets, h.windows())
		if got.Score != want {
			return fmt.Errorf("explained %+v, want %+v", got.Score, want)
		}
		total := 0.0
		for _, p := range got.Parts {
			total += p.Counted
			if held := p.Verdict == VerdictHeld; held != (p.Verdict != VerdictExcluded && p.Counted < float64(p.Ratings)) ||
				p.Verdict == VerdictExcluded && p.Counted != 0 || got.Why(p) == "" {
				return fmt.Errorf("a part %+v", p)
			}
		}
		if total != want.Counted {
			return fmt.Errorf("the parts count %v ratings, want %v", total, want.Counted)
		}
		return nil
	})
}
