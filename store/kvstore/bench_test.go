package kvstore_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// BenchmarkPages measures what TestReadKeysDoNotGrow counts, with 100,000 contents.
func BenchmarkPages(b *testing.B) {
	const n = 100_000
	s, looks := filled(b, n)
	if err := rest(b.Context(), s, n); err != nil {
		b.Fatal(err)
	}
	all := pages(n)
	for _, once := range []string{"refresh", "sweep", "sweep of sessions", "sweep of creations"} {
		delete(all, once) // does nothing the second time
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.Run(name, func(b *testing.B) {
			*looks = 0
			for b.Loop() {
				if err := all[name](b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(*looks)/float64(b.N), "looks/op")
		})
	}
}

// BenchmarkWrites measures what takes place all the time, with 100,000 contents.
func BenchmarkWrites(b *testing.B) {
	const n = 100_000
	s, _ := filled(b, n)
	b.Run("create a content", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			c := content.Content{ID: id(n + i), Title: "another one of all", Author: "author7", Version: 1,
				CreatedAt: at(i), UpdatedAt: at(i)}
			if err := s.CreateContent(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apply 100 ratings of one content", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			var batch rating.Batch
			for j := range 100 {
				batch.Changes = append(batch.Changes, rating.Change{
					Key:     rating.Key{Content: id(7), Rater: id(j)},
					Version: rating.Version{Epoch: 1, Offset: int64(100*i + j)}, Score: 1 + (i+j)%5,
					At: at(i).AddDate(0, 0, i%30),
				})
			}
			if _, err := s.ApplyRatings(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}
