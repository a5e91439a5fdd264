package pgstore_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/worker"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

// BenchmarkRecount measures a recount of everything while a worker keeps storing, in turns with one
// AVG query a content, which is what there would be without kept numbers: of-average is how many
// times as long those take. KHODNEVIS_BENCH_RATINGS says how many ratings there are to begin with,
// 100,000 unless it is set. They lie in the order in which they came over 30 days, on a fiftieth as
// many contents, few of which have most of them. Nothing may be counted wrong by any of it.
func BenchmarkRecount(b *testing.B) {
	rows := 100_000
	if given := os.Getenv("KHODNEVIS_BENCH_RATINGS"); given != "" {
		var err error
		if rows, err = strconv.Atoi(given); err != nil || rows < 10_000 {
			b.Fatalf("KHODNEVIS_BENCH_RATINGS is %q, must be at least 10000", given)
		}
	}
	s := openWithTimeout(b)
	s.fillByArrival(b, rows)
	var ids []string
	if err := s.db.Select(&ids, `SELECT content_id FROM `+s.schema+`.rating_stats ORDER BY content_id`); err != nil {
		b.Fatal(err)
	}
	// What is measured runs with the settings of a service.
	db := dial(b, testserver.Postgres(b), pgstore.OpenConfig{})
	service := over(b, db, s.schema)
	contents, err := content.New(service, content.Config{})
	if err != nil {
		b.Fatal(err)
	}
	ratings, err := rating.New(service, memqueue.New(memqueue.Config{}), contents, rating.Config{})
	if err != nil {
		b.Fatal(err)
	}
	recalculator, err := worker.NewRecalculator(ratings, service)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stored := make(chan int, 1)
	var storing sync.WaitGroup
	storing.Go(func() {
		src, n := newSource(), 0
		for ctx.Err() == nil {
			changes := src.batch(100, rows/500) // contents that surely have ratings
			if _, err := service.ApplyRatings(context.Background(), rating.Batch{Changes: changes}); err != nil {
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
		n, err := recalculator.Recount(context.Background(),
			func(d rating.Drift) { b.Errorf("drift under load: %s: %s", d.Content, d.First()) })
		if err != nil || n != len(ids) {
			b.Fatalf("%d contents recounted of %d, %v", n, len(ids), err)
		}
		recount := time.Since(began)
		asked := averages(b, db, s.schema, ids)
		all.add("recount-s", recount.Seconds())
		all.add("averages-s", asked.Seconds())
		all.add("of-average", asked.Seconds()/recount.Seconds())
	}
	stop()
	storing.Wait()
	var counted int
	if err := s.db.Get(&counted, `SELECT sum(n) FROM `+s.schema+`.bucket_parts, unnest(counts) n`); err != nil {
		b.Fatal(err)
	}
	if meanwhile := <-stored; counted != rows+meanwhile {
		b.Errorf("%d ratings are counted, %d were stored", counted, rows+meanwhile)
	} else {
		all.add("stored-meanwhile", float64(meanwhile))
	}
	all.add("contents", float64(len(ids)))
	all.report(b)
	if drifts, err := s.Recount(context.Background(), ids); err != nil || len(drifts) > 0 {
		b.Errorf("%d contents have wrong numbers, %v", len(drifts), err)
	}
}

// fillByArrival puts ratings into the table as they come: the n-th content of a fiftieth as many is
// rated 1/n as often as the first.
func (b bench) fillByArrival(t testing.TB, rows int) {
	t.Helper()
	text := strings.NewReplacer("{schema}", b.schema, "{rows}", strconv.Itoa(rows), "{buckets}",
		strconv.Itoa(benchBuckets))
	b.run(t, text.Replace(`INSERT INTO {schema}.ratings (content_id, rater, epoch, position, created_at,
		updated_at, score, bucket, result, withdrawn)
		SELECT '0198c0de-0000-7000-8000-' || lpad((floor(exp(r.content * ln({rows} / 50)))::bigint - 1)::text,
			12, '0'),
			'0198c0de-2222-7000-8000-' || lpad(r.n::text, 12, '0'), 1, r.n, now(), now(),
				1 + floor(r.score * 5)::integer,
			24 + r.n * {buckets} / {rows}, 'created', false
		FROM (SELECT n, random() AS content, random() AS score FROM generate_series(0, {rows} - 1) n) r`))
	b.fillNumbers(t)
}

// averages asks for the average of each content, one after the other, and returns how long that
// took.
func averages(t testing.TB, db *sqlx.DB, schema string, ids []string) time.Duration {
	t.Helper()
	average, err := db.Prepare(`SELECT avg(score), count(*) FROM ` + schema +
		`.ratings WHERE content_id = $1 AND NOT withdrawn`)
	if err != nil {
		t.Fatal(err)
	}
	defer average.Close()
	began := time.Now()
	for _, id := range ids {
		var mean float64
		var n int64
		if err := average.QueryRow(id).Scan(&mean, &n); err != nil || n == 0 {
			t.Fatalf("the average of %s: %d ratings, %v", id, n, err)
		}
	}
	return time.Since(began)
}
