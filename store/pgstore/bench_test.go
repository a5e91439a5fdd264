package pgstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/pgstore"
)

const (
	benchContents = 4000
	benchBatch    = 1000
	benchBuckets  = 30
)

func benchContent(i int) string { return fmt.Sprintf("0198c0de-0000-7000-8000-%012d", i) }
func benchRater(i int) string   { return fmt.Sprintf("0198c0de-1111-7000-8000-%012d", i) }

// openWithTimeout returns a Store whose statements may take minutes, to fill its tables.
func openWithTimeout(t testing.TB) bench {
	t.Helper()
	db := dial(t, testserver.Postgres(t), pgstore.OpenConfig{StatementTimeout: 10 * time.Minute})
	schema := newSchema(t, db)
	s := over(t, db, schema)
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return bench{s, db, schema}
}

// fill puts a number of ratings into the table, evenly over the contents, and the numbers that
// follow from them.
func (b bench) fill(t testing.TB, rows int) {
	t.Helper()
	each := rows / benchContents
	text := strings.NewReplacer("{schema}", b.schema, "{contents}", strconv.Itoa(benchContents), "{each}",
		strconv.Itoa(each),
		"{step}", strconv.Itoa(100_000/each), "{buckets}", strconv.Itoa(benchBuckets))
	b.run(t, text.Replace(`INSERT INTO {schema}.ratings (content_id, rater, epoch, position, created_at,
		updated_at, score, bucket, result, withdrawn)
		SELECT '0198c0de-0000-7000-8000-' || lpad(i::text, 12, '0'),
			'0198c0de-1111-7000-8000-' || lpad(((i * 7919 + j * {step}) % 100000)::text, 12, '0'),
			1, i, now(), now(), 1 + (i * 31 + j * 17) % 5, (i + j) % {buckets}, 'created', false
		FROM generate_series(0, {contents} - 1) i, generate_series(0, {each} - 1) j`))
	b.fillNumbers(t)
}

// fillNumbers writes what follows from the ratings that are there.
func (b bench) fillNumbers(t testing.TB) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO {schema}.rating_stats (content_id, revision) SELECT DISTINCT content_id, 1 FROM {schema}.ratings`,
		`INSERT INTO {schema}.openings SELECT content_id, now() - interval '{age} days' FROM {schema}.rating_stats`,
		`INSERT INTO {schema}.rating_scores (content_id, n) SELECT content_id, count(*) FROM {schema}.ratings
			GROUP BY content_id`,
		`INSERT INTO {schema}.rating_buckets SELECT content_id, bucket, array_agg(score), array_agg(n)
			FROM (SELECT content_id, bucket, score, count(*) AS n FROM {schema}.ratings GROUP BY content_id, bucket, score) r
			GROUP BY content_id, bucket`,
		`VACUUM ANALYZE {schema}.ratings`, `VACUUM ANALYZE {schema}.rating_stats`,
		`VACUUM ANALYZE {schema}.rating_scores`, `VACUUM ANALYZE {schema}.rating_buckets`,
	} {
		b.run(t, strings.NewReplacer("{schema}", b.schema, "{age}", strconv.Itoa(benchBuckets-23)).Replace(statement))
	}
}

// run runs a statement for as long as it takes.
func (b bench) run(t testing.TB, text string) {
	t.Helper()
	if _, err := b.db.Exec(text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// source makes changes that were never made before.
type source struct {
	mu     sync.Mutex
	dice   *rand.Rand
	offset int64
}

func newSource() *source { return &source{dice: rand.New(rand.NewPCG(1, 2))} }

// batch returns new ratings, by raters whom fill does not know, of one of the contents or of all of
// them. They count in the latest bucket, as what was accepted just now does.
func (s *source) batch(n, contents int) []rating.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := make([]rating.Change, n)
	for i := range batch {
		s.offset++
		batch[i] = rating.Change{
			Key: rating.Key{Content: benchContent(s.dice.IntN(contents)),
				Rater: benchRater(1_000_000 + int(s.offset)*7919%10_000_000)},
			Version: rating.Version{Epoch: 2, Offset: s.offset}, Score: 1 + s.dice.IntN(5),
			At: time.Now().UTC().Truncate(time.Microsecond),
		}
	}
	return batch
}

// rate applies batches of new ratings, by a number of workers, and returns rows a second.
func (b bench) rate(t testing.TB, src *source, workers, batches, size, contents int) float64 {
	t.Helper()
	work := make(chan []rating.Change, batches)
	for range batches {
		work <- src.batch(size, contents)
	}
	close(work)
	began := time.Now()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for changes := range work {
				if _, err := b.ApplyRatings(context.Background(), rating.Batch{Changes: changes}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return float64(batches*size) / time.Since(began).Seconds()
}

// copied copies as many new ratings into a table of the same size with the same indexes, and
// returns rows a second.
func (b bench) copied(t testing.TB, src *source, batches, size, contents int) float64 {
	t.Helper()
	work := make([][]rating.Change, batches)
	for i := range work {
		work[i] = src.batch(size, contents)
	}
	began := time.Now()
	for _, changes := range work {
		tx, err := b.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		stmt, err := tx.Prepare(`COPY ` + b.schema + `.ratings_copy (content_id, rater, epoch, position,
			created_at, updated_at, score, bucket, result, withdrawn) FROM STDIN`)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if _, err := stmt.Exec(c.Content, c.Rater, c.Version.Epoch, c.Version.Offset, c.At, c.At, c.Score,
				benchBuckets, "created", false); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := stmt.Exec(); err != nil {
			t.Fatal(err)
		}
		if err := stmt.Close(); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return float64(batches*size) / time.Since(began).Seconds()
}

// medians collects measurements and reports the middle one of each name: other work on the machine
// makes outliers.
type medians map[string][]float64

func (m medians) add(name string, value float64) { m[name] = append(m[name], value) }

func (m medians) report(b *testing.B) {
	for name, values := range m {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkApply measures batches of new ratings into a million, in turns with what they are
// compared to: of-COPY is the rate as a part of that of COPY into a table of the same size with the
// same indexes, which keeps no numbers; of-single as a multiple of one rating a statement;
// two-workers is that of two workers as a multiple, and hot that of two workers into one content as
// a multiple of theirs into all.
func BenchmarkApply(b *testing.B) {
	s := openWithTimeout(b)
	s.fill(b, 1_000_000)
	s.run(b, `CREATE TABLE `+s.schema+`.ratings_copy (LIKE `+s.schema+`.ratings INCLUDING ALL) WITH (fillfactor = 90)`)
	s.run(b, `INSERT INTO `+s.schema+`.ratings_copy SELECT * FROM `+s.schema+`.ratings`)
	s.run(b, `VACUUM ANALYZE `+s.schema+`.ratings_copy`)
	src := newSource()
	s.rate(b, src, 2, 20, benchBatch, benchContents)
	s.copied(b, src, 10, benchBatch, benchContents)
	all := medians{}
	for b.Loop() {
		one := s.rate(b, src, 1, 20, benchBatch, benchContents)
		copied := s.copied(b, src, 20, benchBatch, benchContents)
		two := s.rate(b, src, 2, 30, benchBatch, benchContents)
		hot := s.rate(b, src, 2, 30, benchBatch, 1)
		single := s.rate(b, src, 1, 300, 1, benchContents)
		all.add("rows/s", one)
		all.add("of-COPY", one/copied)
		all.add("two-workers", two/one)
		all.add("hot", hot/two)
		all.add("of-single", one/single)
	}
	all.report(b)
	s.audited(b)
}

// BenchmarkDepth measures batches of new ratings into five million, as a part of the rate into ten
// thousand.
func BenchmarkDepth(b *testing.B) {
	small, large := openWithTimeout(b), openWithTimeout(b)
	small.fill(b, 10_000)
	large.fill(b, 5_000_000)
	src := newSource()
	for _, s := range []bench{small, large} {
		s.rate(b, src, 1, 10, benchBatch, benchContents)
	}
	all := medians{}
	for b.Loop() {
		few := small.rate(b, src, 1, 10, benchBatch, benchContents)
		many := large.rate(b, src, 1, 10, benchBatch, benchContents)
		all.add("rows/s", many)
		all.add("of-shallow", many/few)
	}
	all.report(b)
	large.audited(b)
}

// audited recounts everything: a fast statement that counts wrong is worth nothing.
func (b bench) audited(t testing.TB) {
	t.Helper()
	ids := make([]string, benchContents)
	for i := range ids {
		ids[i] = benchContent(i)
	}
	began := time.Now()
	if drifts, err := b.Recount(context.Background(), ids); err != nil || len(drifts) > 0 {
		t.Errorf("%d contents have wrong numbers, %v", len(drifts), err)
	}
	t.Logf("audited %d contents in %s", len(ids), time.Since(began).Round(time.Millisecond))
}
