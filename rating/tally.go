package rating

import (
	"cmp"
	"maps"
	"slices"

	"github.com/khodnevis/khodnevis/rating/score"
)

// Tally is for adapters: the numbers of a content that follow from its ratings by counting, or by
// how much a batch changes them. The zero Tally is empty.
type Tally struct {
	Count, Sum int64
	// Histogram is the number of ratings by score. Zeros are missing.
	Histogram map[int]int64
	// Buckets are by Index. Buckets without ratings and sum are missing.
	Buckets map[int]score.Bucket
}

// Add counts r, or takes r off if n is -1. Neither a withdrawn rating nor the zero Rating counts.
func (t *Tally) Add(r Rating, n int64) {
	if r.Result != "" && !r.Withdrawn {
		t.AddMany(r.Score, r.Bucket, n)
	}
}

// AddMany counts n ratings of one score and bucket.
func (t *Tally) AddMany(value, bucket int, n int64) {
	if t.Histogram == nil {
		t.Histogram, t.Buckets = map[int]int64{}, map[int]score.Bucket{}
	}
	sum := n * int64(value)
	t.Count += n
	t.Sum += sum
	if t.Histogram[value] += n; t.Histogram[value] == 0 {
		delete(t.Histogram, value)
	}
	b := t.Buckets[bucket]
	t.Buckets[bucket] = score.Bucket{Index: bucket, N: b.N + n, Sum: b.Sum + sum}
	if t.Buckets[bucket] == (score.Bucket{Index: bucket}) {
		delete(t.Buckets, bucket)
	}
}

// Equal reports whether t and o are the same numbers.
func (t Tally) Equal(o Tally) bool {
	return t.Count == o.Count && t.Sum == o.Sum && maps.Equal(t.Histogram, o.Histogram) &&
		maps.Equal(t.Buckets, o.Buckets)
}

// Sorted returns the buckets in ascending order of Index.
func (t Tally) Sorted() []score.Bucket {
	return slices.SortedFunc(maps.Values(t.Buckets), func(a, b score.Bucket) int { return cmp.Compare(a.Index, b.Index) })
}

// Of returns st with the numbers of t in place of its own.
func (t Tally) Of(st Stats) Stats {
	st.Count, st.Sum, st.Histogram = t.Count, t.Sum, maps.Clone(t.Histogram)
	if st.Histogram == nil {
		st.Histogram = map[int]int64{}
	}
	return st
}
