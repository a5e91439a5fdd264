package rating

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

// Stats are the numbers that follow from the stored ratings of one content.
type Stats struct {
	Content string
	// Count and Sum are of all ratings that are not withdrawn, exact as of the last applied change.
	Count, Sum int64
	// Histogram has the number of ratings of each score; scores without ratings are missing.
	Histogram map[int]int64
	// Score is the published score as it was last computed.
	Score score.Score
	// Revision grows whenever something in Stats changes.
	Revision int64
	// AsOf is when it last grew, by the clock of the store; zero for a content that was never
	// rated.
	AsOf time.Time
}

// Average returns the exact mean and false if there are no ratings.
func (s Stats) Average() (float64, bool) {
	if s.Count == 0 {
		return 0, false
	}
	return float64(s.Sum) / float64(s.Count), true
}

// Held returns how many ratings are held back from the published score, rounded.
func (s Stats) Held() int64 {
	if !s.Score.Computed {
		return 0
	}
	return max(0, s.Count-int64(math.Round(s.Score.Weight)))
}

// Equal reports whether both have the same numbers. It ignores Revision and AsOf.
func (s Stats) Equal(o Stats) bool {
	return s.Content == o.Content && s.Count == o.Count && s.Sum == o.Sum && s.Score == o.Score &&
		maps.Equal(s.Histogram, o.Histogram)
}

// Rulings returns the windows as the computation of the score takes them.
func (h History) Rulings() []score.Window {
	windows := make([]score.Window, len(h.Windows))
	for i, w := range h.Windows {
		windows[i] = score.Window{From: w.First, Until: w.Last, Ruling: w.Ruling}
	}
	return windows
}

// First describes the first number that was wrong, for people.
func (d Drift) First() string {
	switch {
	case d.Was.Count != d.Is.Count:
		return fmt.Sprintf("count: %d, recounted %d", d.Was.Count, d.Is.Count)
	case d.Was.Sum != d.Is.Sum:
		return fmt.Sprintf("sum: %d, recounted %d", d.Was.Sum, d.Is.Sum)
	}
	scores := map[int]int64{}
	maps.Copy(scores, d.Was.Histogram)
	maps.Copy(scores, d.Is.Histogram)
	for _, value := range slices.Sorted(maps.Keys(scores)) {
		if was, is := d.Was.Histogram[value], d.Is.Histogram[value]; was != is {
			return fmt.Sprintf("histogram of %d: %d, recounted %d", value, was, is)
		}
	}
	was, is := byIndex(d.WasBuckets), byIndex(d.IsBuckets)
	indexes := maps.Clone(was)
	maps.Copy(indexes, is)
	for _, i := range slices.Sorted(maps.Keys(indexes)) {
		if w, r := was[i], is[i]; w.N != r.N || w.Sum != r.Sum {
			return fmt.Sprintf("bucket %d: %d ratings with sum %d, recounted %d with sum %d", i, w.N, w.Sum, r.N, r.Sum)
		}
	}
	return fmt.Sprintf("score: %v, computed %v", d.Was.Score.Value, d.Is.Score.Value)
}

func byIndex(buckets []score.Bucket) map[int]score.Bucket {
	m := make(map[int]score.Bucket, len(buckets))
	for _, b := range buckets {
		m[b.Index] = b
	}
	return m
}
