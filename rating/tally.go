package rating

import (
	"cmp"
	"maps"
	"slices"

	"github.com/khodnevis/khodnevis/rating/score"
)

// For adapters: a Tally is how many ratings of a content there are of each bucket and score, or by
// how much a batch changes that. Zeros are missing.
type Tally map[score.Cell]int64

// Add counts r, or takes r off if n is -1. Neither a withdrawn rating nor the zero Rating counts.
func (t Tally) Add(r Rating, n int64) {
	if r.Result != "" && !r.Withdrawn {
		t.AddMany(score.Cell{Bucket: r.Bucket, Score: r.Score}, n)
	}
}

// AddMany counts n ratings of one bucket and score.
func (t Tally) AddMany(c score.Cell, n int64) {
	if t[c] += n; t[c] == 0 {
		delete(t, c)
	}
}

// Cells returns the cells that have ratings, ascending by bucket, then score.
func (t Tally) Cells() []score.Cell {
	cells := make([]score.Cell, 0, len(t))
	for c := range t {
		cells = append(cells, c)
	}
	slices.SortFunc(cells, func(a, b score.Cell) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Score, b.Score))
	})
	return cells
}

// Buckets returns the buckets that have ratings, nil for none, ascending by Index, and their Counts
// ascending by Score.
func (t Tally) Buckets() (buckets []score.Bucket) {
	for _, c := range t.Cells() {
		if n := len(buckets); n == 0 || buckets[n-1].Index != c.Bucket {
			buckets = append(buckets, score.Bucket{Index: c.Bucket})
		}
		last := &buckets[len(buckets)-1]
		last.Counts = append(last.Counts, score.Count{Score: c.Score, N: t[c]})
	}
	return buckets
}

// Drift compares t, what the ratings of a content say, with what is stored, and returns nil if they
// are equal.
func (t Tally) Drift(content string, stored Tally) *Drift {
	if maps.Equal(t, stored) {
		return nil
	}
	return &Drift{Content: content, WasBuckets: stored.Buckets(), IsBuckets: t.Buckets()}
}
