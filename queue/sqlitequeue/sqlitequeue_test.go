package sqlitequeue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/queuetest"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
)

func openFile(t testing.TB, path string) *sqlitefile.File {
	t.Helper()
	f, err := sqlitefile.Open(path, sqlitefile.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func open(t testing.TB, f *sqlitefile.File, cfg sqlitequeue.Config) *sqlitequeue.Queue {
	t.Helper()
	q, err := sqlitequeue.New(f, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "q.db") }

func message(key, body string) queue.Message { return queue.Message{Key: key, Body: []byte(body)} }

func publish(t testing.TB, q queue.Publisher, bodies ...string) []queue.Position {
	t.Helper()
	msgs := make([]queue.Message, len(bodies))
	for i, b := range bodies {
		msgs[i] = message("k", b)
	}
	ps, err := q.Publish(context.Background(), msgs...)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

// consume returns the bodies of the next n messages, once they are finished.
func consume(t testing.TB, q queue.Consumer, n int) []queue.Delivery {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got []queue.Delivery
	err := q.Consume(ctx, n, func(_ context.Context, batch []queue.Delivery) error {
		if got = append(got, batch...); len(got) >= n {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func lag(t testing.TB, q queue.Lagger) int64 {
	t.Helper()
	n, err := q.Lag(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestContract(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queue.Queue {
		return open(t, openFile(t, newPath(t)), sqlitequeue.Config{})
	}, queuetest.Config{Timeout: time.Minute}) // the largest batch under the race detector on a busy machine
}

func TestOffsetsAndStreamOutliveTheProcessAndThePurge(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openFile(t, path)
	q := open(t, f, sqlitequeue.Config{})
	before := publish(t, q, "1", "2", "3")
	consume(t, q, 3)
	var rows int
	if _, err := f.Get(t.Context(), &rows, "SELECT count(*) FROM queue_messages"); err != nil || rows != 0 {
		t.Errorf("%d finished messages are still there (%v)", rows, err)
	}
	f.Close()
	q = open(t, openFile(t, path), sqlitequeue.Config{})
	after := publish(t, q, "4")
	if after[0].Stream != before[0].Stream || after[0].Offset <= before[2].Offset {
		t.Errorf("%v follows %v", after[0], before[2])
	}
	if got := consume(t, q, 1); string(got[0].Body) != "4" || got[0].Position != after[0] {
		t.Errorf("got %v, want %v", got[0], after[0])
	}
}

func TestTopicsInOneFileAreApart(t *testing.T) {
	t.Parallel()
	f := openFile(t, newPath(t))
	a, b := open(t, f, sqlitequeue.Config{Topic: "a"}), open(t, f, sqlitequeue.Config{Topic: "b"})
	pa, pb := publish(t, a, "1", "2"), publish(t, b, "3")
	if pa[0].Stream == pb[0].Stream {
		t.Error("one stream for both")
	}
	if got := consume(t, b, 1); string(got[0].Body) != "3" || lag(t, a) != 2 || lag(t, b) != 0 {
		t.Errorf("got %s; %d and %d wait", got[0].Body, lag(t, a), lag(t, b))
	}
}

func TestFullQueueRefusesAndTakesAgain(t *testing.T) {
	t.Parallel()
	q := open(t, openFile(t, newPath(t)), sqlitequeue.Config{Capacity: 2})
	publish(t, q, "1", "2")
	if _, err := q.Publish(t.Context(), message("k", "3")); !errors.Is(err, queue.ErrNotAccepted) ||
		errors.Is(err, queue.ErrInvalid) {
		t.Errorf("into a full queue: %v", err)
	}
	consume(t, q, 2)
	publish(t, q, "4", "5")
	if n := lag(t, q); n != 2 {
		t.Errorf("%d wait, want 2", n)
	}
}

func TestFullDiskIsNotAcceptedAndPasses(t *testing.T) {
	t.Parallel()
	f := openFile(t, newPath(t))
	q := open(t, f, sqlitequeue.Config{})
	bound := func(pages int) {
		if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
			_, err := tx.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	bound(100)
	began := time.Now()
	big := queue.Message{Key: "k", Body: make([]byte, queue.MaxBody)}
	accepted := int64(0)
	for {
		_, err := q.Publish(t.Context(), big)
		if err == nil {
			accepted++
			continue
		}
		if !errors.Is(err, queue.ErrNotAccepted) || errors.Is(err, queue.ErrInvalid) {
			t.Errorf("on a full disk: %v", err)
		}
		break
	}
	if n := lag(t, q); n != accepted {
		t.Errorf("%d wait, %d were accepted", n, accepted)
	}
	if since := q.FailingSince(); since.Before(began) || since.After(time.Now()) {
		t.Errorf("publishing fails since %v, it began at %v", since, began)
	}
	bound(1000)
	if _, err := q.Publish(t.Context(), big); err != nil || !q.FailingSince().IsZero() {
		t.Errorf("with room again: %v, and publishing fails since %v", err, q.FailingSince())
	}
	if got := consume(t, q, int(accepted)+1); int64(len(got)) != accepted+1 {
		t.Errorf("consumed %d of %d", len(got), accepted+1)
	}
}

func TestClosedFileIsNotAccepted(t *testing.T) {
	t.Parallel()
	f := openFile(t, newPath(t))
	q := open(t, f, sqlitequeue.Config{})
	f.Close()
	if _, err := q.Publish(t.Context(), message("k", "1")); !errors.Is(err, queue.ErrNotAccepted) {
		t.Errorf("got %v", err)
	}
	if err := q.Consume(t.Context(), 1, nil); err == nil {
		t.Error("Consume ended without an error")
	}
}

// Two Files stand for two processes: they share nothing but the file.
func TestOneProcessConsumesAtATime(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	first, second := open(t, openFile(t, path), sqlitequeue.Config{}),
		open(t, openFile(t, path), sqlitequeue.Config{})
	publish(t, first, "1", "2", "3", "4")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	inFlight, release := make(chan struct{}), make(chan struct{})
	var busy, done atomic.Int32
	var bodies []string
	handler := func(_ context.Context, batch []queue.Delivery) error {
		if busy.Add(1) > 1 {
			t.Error("two processes have messages in flight")
		}
		defer busy.Add(-1)
		for _, d := range batch {
			bodies = append(bodies, string(d.Body)) // safe because they take turns
		}
		if done.Add(int32(len(batch))) == 1 {
			close(inFlight)
			<-release
		}
		if done.Load() == 6 {
			cancel()
		}
		return nil
	}
	var consumers sync.WaitGroup
	run := func(q *sqlitequeue.Queue) {
		if err := q.Consume(ctx, 1, handler); err != nil {
			t.Error(err)
		}
	}
	consumers.Go(func() { run(first) })
	<-inFlight
	consumers.Go(func() { run(second) })
	publish(t, second, "5", "6")
	close(release)
	consumers.Wait()
	if want := []string{"1", "2", "3", "4", "5", "6"}; !slices.Equal(bodies, want) {
		t.Errorf("got %v, want %v", bodies, want)
	}
}

func TestStoppedProcessLeavesToTheNextAndCannotRecordProgress(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openFile(t, path)
	stopped, next := open(t, f, sqlitequeue.Config{}), open(t, openFile(t, path), sqlitequeue.Config{})
	publish(t, stopped, "1", "2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := stopped.Consume(ctx, 2, func(context.Context, []queue.Delivery) error {
		// As if it had been stopped here for longer than its lease.
		if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
			_, err := tx.Exec("UPDATE queue_topics SET until = 0")
			return err
		}); err != nil {
			t.Error(err)
		}
		if got := consume(t, next, 1); string(got[0].Body) != "1" {
			t.Errorf("the next one got %s", got[0].Body)
		}
		cancel()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := consume(t, next, 1); string(got[0].Body) != "2" {
		t.Errorf("the next one got %s", got[0].Body)
	}
}

func TestLeaseFromBeforeTheClockWasSetBackCountsForNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := openFile(t, path)
	q := open(t, f, sqlitequeue.Config{})
	publish(t, q, "1")
	if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
		_, err := tx.Exec("UPDATE queue_topics SET owner = 'other', until = 4000000000000000")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	consume(t, q, 1)
}

func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 128} {
		b.Run(fmt.Sprint(publishers), func(b *testing.B) {
			q := open(b, openFile(b, newPath(b)), sqlitequeue.Config{Capacity: 1 << 40})
			m := queue.Message{Key: "0198c0de-0000-7000-8000-000000000000:0198c0de-0000-7000-8000-000000000001",
				Body: make([]byte, 200), Header: map[string]string{"request_id": "0198c0de"}}
			var next atomic.Int64
			var done sync.WaitGroup
			b.ResetTimer()
			for range publishers {
				done.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if _, err := q.Publish(context.Background(), m); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	q := open(b, openFile(b, newPath(b)), sqlitequeue.Config{Capacity: 1 << 40})
	msgs := make([]queue.Message, 1000)
	for i := range msgs {
		msgs[i] = queue.Message{Key: "k", Body: make([]byte, 200)}
	}
	for n := 0; n < b.N; n += len(msgs) {
		if _, err := q.Publish(context.Background(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	b.ResetTimer()
	if err := q.Consume(ctx, 1000, func(_ context.Context, batch []queue.Delivery) error {
		if n += len(batch); n >= b.N {
			cancel()
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
}

// What waited in a file of a version that recorded no times counts from when the file was opened.
func TestMessagesWithoutATimeAreNew(t *testing.T) {
	t.Parallel()
	file := openFile(t, newPath(t))
	old, err := os.ReadFile("migrations/0001_queue.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Migrate(t.Context(), "queue", fstest.MapFS{"0001_queue.sql": {Data: old}}); err != nil {
		t.Fatal(err)
	}
	if err := file.Write(t.Context(), func(tx sqlitefile.Tx) error {
		if _, err := tx.Exec(`INSERT INTO queue_topics (topic, stream, next) VALUES ('ratings', 's',
			1)`); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO queue_messages (topic, "offset", key, body) VALUES ('ratings', 0, 'k', x'61')`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	q := open(t, file, sqlitequeue.Config{})
	oldest, _, err := q.Age(t.Context())
	if err != nil || oldest > time.Since(before)+time.Second { // the database counts in seconds
		t.Errorf("the oldest message is %v old: %v", oldest, err)
	}
	if got := consume(t, q, 1); string(got[0].Body) != "a" {
		t.Errorf("got %q", got[0].Body)
	}
}

// A message whose header something else has damaged is delivered without it, and holds nobody up.
func TestDamagedHeaderHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	headers := []string{`{"a":1}`, `["a"]`, `"a"`, `{"a":"b"`, ``, `{"a":{"b":"c"}}`}
	f := openFile(t, newPath(t))
	q := open(t, f, sqlitequeue.Config{})
	for i := range 2 * len(headers) {
		m := queue.Message{Key: "k", Body: []byte{byte(i)}, Header: map[string]string{"a": "b"}}
		if _, err := q.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
		for i, h := range headers {
			if _, err := tx.Exec(`UPDATE queue_messages SET header = ? WHERE "offset" = ?`, h, 2*i); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, d := range consume(t, q, 2*len(headers)) {
		damaged := i%2 == 0
		if d.Damaged != damaged || (d.Header == nil) != damaged || len(d.Body) != 1 || d.Body[0] != byte(i) {
			t.Errorf("message %d is damaged: %v, has the header %v and the body %v", i, d.Damaged, d.Header, d.Body)
		}
	}
}
