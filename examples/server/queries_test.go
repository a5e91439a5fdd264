package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/internal/testserver"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// expensive are lists that look at as many rows as lists may.
var expensive = map[string]string{
	"words":          "/api/contents/?search=a+b+c+d+e+f+g+h&ordering=title&count=exact",
	"common-word":    "/api/contents/?search=common",
	"ratings-count":  "/api/contents/?ordering=-ratings_count&score__gte=4.9&ratings_count__gte=1",
	"ratings-filter": "/api/ratings/?score=1&ordering=updated_at",
}

// BenchmarkExpensiveQueries measures what expensive lists on 16 connections of one IP prefix do to
// the requests of another one: a read of a content, of the own account, and a rating, in turns. For
// each list it reports the greatest of the three medians in milliseconds, and the greatest as a
// multiple of the same one in quiet, which should stay below 100 and 20. Requests that are not
// answered are errors.
func BenchmarkExpensiveQueries(b *testing.B) {
	b.Run("sqlite=60000", func(b *testing.B) { benchmarkQueries(b, sqliteWith(b, 60_000)) })
	b.Run("postgres=1000000", func(b *testing.B) { benchmarkQueries(b, postgresWith(b, 1_000_000)) })
}

// filled is a store with many contents, and a queue.
type filled struct {
	store store.Store
	queue queue.Queue
}

// contentWords are those of content i.
const contentWords = `'a b c d e f g h common w' || i`

func sqliteWith(b *testing.B, n int) filled {
	b.Helper()
	db, err := sqlitestore.Open(filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	q, err := sqlitequeue.New(db.File(), sqlitequeue.Config{})
	if err != nil {
		b.Fatal(err)
	}
	series := fmt.Sprintf(
		`(WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < %d) SELECT i FROM g)`, n)
	for _, text := range []string{
		`INSERT INTO contents (num, id, title, title_key, author, version, created_at, updated_at, description)
			SELECT i, 'c' || i, 'title ' || i, CAST('title ' || i AS BLOB), 'author', 1, i * 1000000, i * 1000000, ''
			FROM ` + series,
		`INSERT INTO content_terms (rowid, terms) SELECT i, ` + contentWords + ` FROM ` + series,
		`INSERT INTO rating_stats (content, n, value, weight, revision)
			SELECT 'c' || i, i % 1000, 1 + i % 39 * 0.1, 1, 1 FROM ` + series,
		`INSERT INTO ratings (content, rater, epoch, "offset", created_at, updated_at, score, bucket, result)
			SELECT 'c' || i, 'rater', 1, i, i, i, 2 + i % 4, 1, 'created' FROM ` + series,
	} {
		if err := db.File().WriteLong(b.Context(), func(tx sqlitefile.Tx) error {
			_, err := tx.Exec(text)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	return filled{db, q}
}

func postgresWith(b *testing.B, n int) filled {
	b.Helper()
	filler, err := pgstore.Open(testserver.Postgres(b), pgstore.OpenConfig{StatementTimeout: 10 * time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	db, err := pgstore.Open(testserver.Postgres(b), pgstore.OpenConfig{})
	if err != nil {
		b.Fatal(err)
	}
	schema := "khodnevis_queries_" + strings.ToLower(rand.Text())
	b.Cleanup(func() {
		_ = db.Close()
		_, _ = filler.Exec(`DROP SCHEMA IF EXISTS ` + schema + ` CASCADE`)
		_ = filler.Close()
	})
	s, err := pgstore.New(db, pgstore.Config{Schema: schema})
	if err == nil {
		err = s.Migrate(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	series := fmt.Sprintf(`generate_series(1, %d) AS g(i)`, n)
	for _, text := range []string{
		`INSERT INTO {s}.contents (id, title, title_key, description, terms, author, version, created_at, updated_at)
			SELECT 'c' || i, 'title ' || i, convert_to('title ' || i, 'UTF8'), '',
				string_to_array(` + contentWords + `, ' '), 'author', 1, to_timestamp(i), to_timestamp(i) FROM ` + series,
		`INSERT INTO {s}.rating_scores (content_id, n, value, weight)
			SELECT 'c' || i, i % 1000, 1 + i % 39 * 0.1, 1 FROM ` + series,
		`INSERT INTO {s}.rating_stats (content_id, revision) SELECT 'c' || i, 1 FROM ` + series,
		`INSERT INTO {s}.ratings
			(content_id, rater, epoch, position, created_at, updated_at, score, bucket, result, withdrawn)
			SELECT 'c' || i, 'rater', 1, i, to_timestamp(i), to_timestamp(i), 2 + i % 4, 1, 'created', false FROM ` + series,
		`VACUUM ANALYZE {s}.contents`, `VACUUM ANALYZE {s}.rating_scores`, `VACUUM ANALYZE {s}.rating_stats`,
		`VACUUM ANALYZE {s}.ratings`,
	} {
		if _, err := filler.Exec(strings.ReplaceAll(text, "{s}", schema)); err != nil {
			b.Fatal(err)
		}
	}
	return filled{s, memqueue.New(memqueue.Config{})}
}

func benchmarkQueries(b *testing.B, f filled) {
	processors := runtime.GOMAXPROCS(0)
	b.Cleanup(func() { runtime.GOMAXPROCS(processors) })
	tune()
	app, err := khodnevis.New(khodnevis.Config{Store: f.store, Queue: f.queue, Batch: embeddedBatch,
		Limits: httpapi.Limits{Off: true}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = app.Run(ctx) })
	server := httptest.NewServer(routes(&backend{app: app, role: "all"}, true, app.Ready))
	b.Cleanup(func() {
		server.Close()
		cancel()
		running.Wait()
	})
	address := server.Listener.Addr().String()
	other := connect(b, address)
	const account = `{"username":"bench","password":"a rather long one"}`
	other.post(b, "/api/users/", "", account)
	_, login := other.post(b, "/api/users/login/", "", account)
	var tokens struct{ Access string }
	if err := json.Unmarshal(login, &tokens); err != nil {
		b.Fatal(err)
	}
	requests := []func(n int) reply{
		func(n int) reply {
			return other.send(b, http.MethodGet, fmt.Sprintf("/api/contents/c%d/", 1+n), "", "")
		},
		func(int) reply { return other.send(b, http.MethodGet, "/api/users/me/", tokens.Access, "") },
		func(n int) reply {
			return other.send(b, http.MethodPost, "/api/ratings/", tokens.Access,
				fmt.Sprintf(`{"content":"c%d","score":3}`, 1+n))
		},
	}
	n := 0
	medians := func() []float64 {
		took := make([][]float64, len(requests))
		for began := time.Now(); time.Since(began) < 3*time.Second || len(took[0]) < 20; n++ {
			for i, request := range requests {
				sent := time.Now()
				if got := request(n % 50_000); got.status/100 != 2 {
					b.Fatalf("%d %s", got.status, got.body)
				}
				took[i] = append(took[i], float64(time.Since(sent).Microseconds())/1000)
			}
		}
		for i := range took {
			slices.Sort(took[i])
		}
		return []float64{took[0][len(took[0])/2], took[1][len(took[1])/2], took[2][len(took[2])/2]}
	}
	medians() // warm up
	for b.Loop() {
		quiet := medians()
		for name, path := range expensive {
			end := attack(b, address, path)
			loud := medians()
			answers := end()
			ratios := make([]float64, len(loud))
			for i := range loud {
				ratios[i] = loud[i] / quiet[i]
			}
			b.Logf("%s: quiet %.2f ms, loud %.2f ms; %s", name, quiet, loud, answers)
			b.ReportMetric(slices.Max(loud), name+"-ms")
			b.ReportMetric(slices.Max(ratios), name+"-ratio")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// attack asks for a path on 16 connections of another IP prefix, and returns what ends that and
// says how it was answered.
func attack(b *testing.B, address, path string) (end func() string) {
	b.Helper()
	var over atomic.Bool
	var asking sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, 9)}}
	for range 16 {
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		c := connected(conn)
		asking.Go(func() {
			for !over.Load() {
				got := c.send(b, http.MethodGet, path, "", "")
				mu.Lock()
				statuses[got.status]++
				mu.Unlock()
			}
			_ = c.Close()
		})
	}
	return func() string {
		over.Store(true)
		asking.Wait()
		return fmt.Sprint("answers by status: ", statuses)
	}
}
