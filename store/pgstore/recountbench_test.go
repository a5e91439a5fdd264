package pgstore_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// BenchmarkRecount measures a recount of everything while a worker keeps storing, in turns with one AVG query a content, which is what
// there would be without kept numbers: of-average is how many times as long those take. KHODNEVIS_BENCH_RATINGS says how many
// ratings there are to begin with, 100,000 unless it is set. Nothing may be counted wrong by any of it.
func BenchmarkRecount(b *testing.B) {
	rows := 100_000
	if given := os.Getenv("KHODNEVIS_BENCH_RATINGS"); given != "" {
		var err error
		if rows, err = strconv.Atoi(given); err != nil || rows < benchContents {
			b.Fatalf("KHODNEVIS_BENCH_RATINGS is %q, must be at least %d", given, benchContents)
		}
	}
	s := openPatient(b)
	s.fill(b, rows)
	rows = rows / benchContents * benchContents
	recalculator, err := rating.NewRecalculator(s.Store, rating.Config{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stored := make(chan int, 1)
	var worker sync.WaitGroup
	worker.Go(func() {
		src, n := newSource(), 0
		for ctx.Err() == nil {
			changes := src.batch(100, benchContents)
			if _, err := s.ApplyRatings(context.Background(), rating.Batch{Changes: changes}); err != nil {
				b.Error(err)
				break
			}
			n += len(changes)
		}
		stored <- n
	})
	all := medians{}
	for b.Loop() {
		began := time.Now()
		n, err := recalculator.Recount(context.Background(), func(d rating.Drift) { b.Errorf("drift under load: %s: %s", d.Content, d.First()) })
		if err != nil || n != benchContents {
			b.Fatalf("%d contents recounted, %v", n, err)
		}
		recount := time.Since(began)
		averages := s.averages(b)
		all.add("recount-s", recount.Seconds())
		all.add("of-average", averages.Seconds()/recount.Seconds())
	}
	stop()
	worker.Wait()
	var counted int
	if err := s.db.Get(&counted, `SELECT sum(n) FROM `+s.schema+`.rating_stats`); err != nil {
		b.Fatal(err)
	}
	if meanwhile := <-stored; counted != rows+meanwhile {
		b.Errorf("%d ratings are counted, %d were stored", counted, rows+meanwhile)
	} else {
		all.add("stored-meanwhile", float64(meanwhile))
	}
	all.report(b)
	s.audited(b)
}

// averages asks for the average of each content, one after the other, and returns how long that took.
func (b bench) averages(t testing.TB) time.Duration {
	t.Helper()
	average, err := b.db.Prepare(`SELECT avg(score), count(*) FROM ` + b.schema + `.ratings WHERE content_id = $1 AND NOT withdrawn`)
	if err != nil {
		t.Fatal(err)
	}
	defer average.Close()
	began := time.Now()
	for i := range benchContents {
		var mean float64
		var n int64
		if err := average.QueryRow(benchContent(i)).Scan(&mean, &n); err != nil || n == 0 {
			t.Fatalf("the average of content %d: %d ratings, %v", i, n, err)
		}
	}
	return time.Since(began)
}
