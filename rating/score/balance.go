package score

import (
	"math"
	"slices"
)

const (
	// balanced is the share of Leak·N below which the sum of all pulls counts as zero.
	balanced = 1.0 / (1 << 36)
	// precision is the width at which the search for the root ends, in quarters of the scale.
	precision = 4.0 / (1 << 40)
)

// Sides of a pull.
const (
	up = iota
	down
)

// pulling is a row while the balance is sought. Products are rounded by a conversion before they
// are added, so that no compiler fuses the two and changes the bits.
type pulling struct {
	counts  []Count
	n, sum  int64
	bucket  int
	cleared bool
	alone   float64
	in      [2]int // its season of each calendar, in balance.seasons

	sides   [2]float64 // up and down
	pull    float64
	limit   float64 // +Inf where the pull does not exceed alone
	counted float64 // the limited pull
}

func newPulling(b Bucket, ruling Ruling, scale Scale) pulling {
	return pulling{counts: b.Counts, n: b.Ratings(), sum: b.Sum(), bucket: b.Index, cleared: ruling == Cleared,
		alone: float64(alone(b.Index) * scale.unit())}
}

// evaluate computes how the row pulls s.
func (r *pulling) evaluate(s float64) {
	r.sides = [2]float64{}
	for _, c := range r.counts {
		if v := float64(c.Score); v > s {
			r.sides[up] += float64(float64(c.N) * (v - s))
		} else {
			r.sides[down] += float64(float64(c.N) * (s - v))
		}
	}
	r.pull = r.sides[up] - r.sides[down]
	r.limit, r.counted = math.Inf(1), r.pull
}

func (r *pulling) limited() bool { return math.Abs(r.pull) > r.limit }

// slope is by how much the limited pull changes with the pull.
func (r *pulling) slope() float64 {
	if r.limited() {
		return Leak
	}
	return 1
}

// ratings returns how many ratings of the row count.
func (r *pulling) ratings() float64 {
	if !r.limited() {
		return float64(r.n)
	}
	return float64(float64(r.n) * (math.Abs(r.counted) / math.Abs(r.pull)))
}

// balance is the sum of the limited pulls of all rows, as a function of the score.
type balance struct {
	scale   Scale
	rows    []pulling
	n, sum  int64
	seasons []seasonPulls
	sorted  []float64
}

// seasonPulls are the rows of a season, and what is typical of them at the last score.
type seasonPulls struct {
	first, last int // rows of the balance, half-open
	skipped     int
	trust       float64
	typical     [2]float64 // times trust, up and down
	known       [2]bool
}

func (p Policy) newBalance(scale Scale, buckets []Bucket, windows []Window) *balance {
	b := &balance{scale: scale, rows: make([]pulling, 0, len(buckets))}
	for _, bucket := range buckets {
		ruled := ruling(windows, bucket.Index)
		next := newPulling(bucket, ruled, scale)
		if next.n == 0 || ruled == Excluded {
			continue
		}
		b.n, b.sum = b.n+next.n, b.sum+next.sum
		b.rows = append(b.rows, next)
	}
	for calendar := range calendars {
		var open season
		for i := range b.rows {
			s := seasonOf(b.rows[i].bucket, calendar)
			if i == 0 || s != open {
				open = s
				b.seasons = append(b.seasons, seasonPulls{first: i, skipped: s.skipped(), trust: p.trust(s)})
			}
			at := len(b.seasons) - 1
			b.rows[i].in[calendar], b.seasons[at].last = at, i+1
		}
	}
	return b
}

// at returns the balance at s, and whether a row is limited there.
func (b *balance) at(s float64) (total float64, limited bool) {
	for i := range b.rows {
		b.rows[i].evaluate(s)
	}
	for i := range b.seasons {
		b.seasons[i].known = [2]bool{}
	}
	for i := range b.rows {
		r := &b.rows[i]
		if size := math.Abs(r.pull); size > r.alone && !r.cleared {
			side := up
			if r.pull < 0 {
				side = down
			}
			r.limit = r.alone + max(b.typical(r.in[0], side), b.typical(r.in[1], side))
			if size > r.limit {
				limited = true
				r.counted = math.Copysign(r.limit+float64(Leak*(size-r.limit)), r.pull)
			}
		}
		total += r.counted
	}
	return total, limited
}

// typical returns what is typical of a season on one side, times its trust.
func (b *balance) typical(at, side int) float64 {
	s := &b.seasons[at]
	if s.known[side] {
		return s.typical[side]
	}
	s.known[side], s.typical[side] = true, 0
	if rows := b.rows[s.first:s.last]; len(rows) > s.skipped {
		b.sorted = b.sorted[:0]
		for i := range rows {
			b.sorted = append(b.sorted, rows[i].sides[side])
		}
		slices.Sort(b.sorted)
		total := 0.0
		strongest := len(b.sorted) - 1
		for rank := s.skipped; rank < min(2*s.skipped, len(b.sorted)); rank++ {
			total += b.sorted[strongest-rank]
		}
		s.typical[side] = float64(s.trust * (total / float64(s.skipped)))
	}
	return s.typical[side]
}

// solve returns the root of the balance, and leaves the rows as they are there: false position with
// the Illinois rule, every fourth step a bisection.
func (b *balance) solve() float64 {
	if b.n == 0 {
		return 0
	}
	mean := float64(b.sum) / float64(b.n)
	zero := float64(float64(Leak*float64(b.n)) * balanced)
	total, limited := b.at(mean)
	if !limited || math.Abs(total) <= zero {
		return mean
	}
	low, high := float64(b.scale.Min), float64(b.scale.Max)
	atLow, _ := b.at(low)
	atHigh, _ := b.at(high)
	if total > 0 {
		low, atLow = mean, total
	} else {
		high, atHigh = mean, total
	}
	s := mean
	for step, moved := 1, -1; high-low > float64(precision*b.scale.unit()); step++ {
		s = low + float64((high-low)*(atLow/(atLow-atHigh)))
		if step%4 == 0 || !(s > low && s < high) {
			s = low + (high-low)/2
		}
		total, _ = b.at(s)
		if math.Abs(total) <= zero {
			break
		}
		if total > 0 {
			low, atLow = s, total
			if moved == up {
				atHigh /= 2
			}
			moved = up
		} else {
			high, atHigh = s, total
			if moved == down {
				atLow /= 2
			}
			moved = down
		}
	}
	return s
}

// score returns the score that the rows have at their last evaluation, which was at value.
func (b *balance) score(value float64) Score {
	prior := b.scale.prior()
	if b.n == 0 {
		return Score{Rank: prior, Computed: true}
	}
	s := Score{Value: value, Computed: true}
	for i := range b.rows {
		s.Counted += b.rows[i].ratings()
	}
	s.Rank = (float64(value*float64(b.n)) + float64(PriorWeight*prior)) / float64(b.n+PriorWeight)
	return s
}
