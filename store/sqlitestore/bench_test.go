package sqlitestore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// changes returns new versions of ratings of a thousand contents by a hundred thousand raters.
func changes(random *rand.Rand, n int, offset int64) []rating.Change {
	cs := make([]rating.Change, 0, n)
	seen := map[rating.Key]bool{}
	for len(cs) < n {
		k := rating.Key{
			Content: fmt.Sprintf("0198c0de-0000-7000-8000-%012d", random.IntN(1_000)),
			Rater:   fmt.Sprintf("0198c0de-1111-7000-8000-%012d", random.IntN(100_000)),
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		offset++
		cs = append(cs, rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: offset}, Score: 1 + random.IntN(5),
			At: time.UnixMicro(1_700_000_000_000_000+offset).UTC().AddDate(0, 0, random.IntN(30))})
	}
	return cs
}

func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b)
			random := random()
			applied := 0
			for b.Loop() {
				b.StopTimer()
				batch := rating.Batch{Changes: changes(random, size, int64(applied))}
				b.StartTimer()
				if _, err := s.ApplyRatings(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
				applied += size
			}
			b.ReportMetric(float64(applied)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}
