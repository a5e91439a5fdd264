package rating

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

// Stats are the published numbers of one content. All of them follow from the ratings that were
// stored at one moment.
type Stats struct {
	Content string
	// Count and Sum are of all ratings that are not withdrawn.
	Count, Sum int64
	// Histogram has the number of ratings of each score; scores without ratings are missing.
	Histogram map[int]int64
	// Score is the published score.
	Score score.Score
	// Revision grows whenever Stats are published.
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
func (s Stats) Held() int64 { return s.Count - int64(math.Round(s.Score.Counted)) }

// Equal reports whether both have the same numbers. It ignores Revision and AsOf.
func (s Stats) Equal(o Stats) bool {
	return s.Content == o.Content && s.Count == o.Count && s.Sum == o.Sum && s.Score == o.Score &&
		maps.Equal(s.Histogram, o.Histogram)
}

// For adapters: Stats returns the numbers of a content with the history h and the score computed,
// but for Revision and AsOf.
func (h History) Stats(content string, computed score.Score) Stats {
	s := Stats{Content: content, Histogram: map[int]int64{}, Score: computed}
	for _, b := range h.Buckets {
		for _, c := range b.Counts {
			s.Count += c.N
			s.Sum += c.N * int64(c.Score)
			s.Histogram[c.Score] += c.N
		}
	}
	return s
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
	was, is := tallyOf(d.WasBuckets), tallyOf(d.IsBuckets)
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, c := range all.Cells() {
		if was[c] != is[c] {
			return fmt.Sprintf("bucket %d: %d ratings of %d, recounted %d", c.Bucket, was[c], c.Score, is[c])
		}
	}
	if d.Was.Count != d.Is.Count {
		return fmt.Sprintf("count: %d, recounted %d", d.Was.Count, d.Is.Count)
	}
	return fmt.Sprintf("score: %v, computed %v", d.Was.Score.Value, d.Is.Score.Value)
}

func tallyOf(buckets []score.Bucket) Tally {
	t := Tally{}
	for _, b := range buckets {
		for _, c := range b.Counts {
			t.AddMany(score.Cell{Bucket: b.Index, Score: c.Score}, c.N)
		}
	}
	return t
}
