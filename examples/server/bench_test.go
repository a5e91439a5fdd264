package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAccept measures the time to the 202 of a rating over HTTP, while the worker stores them,
// and reports its 50th and 99th percentile in milliseconds: with clients that send one after the
// other, as fast as they get answers, and with 64 clients that send 2,000 a second together, the
// time counted from when each was due.
func BenchmarkAccept(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkAccept(b, clients, 0) })
	}
	b.Run("rate=2000", func(b *testing.B) { benchmarkAccept(b, 64, 2000) })
}

// serveBench serves the embedded default, without limits, with one user and 200 contents to rate.
func serveBench(b *testing.B) (address, access string, contents []string) {
	processors := runtime.GOMAXPROCS(0)
	b.Cleanup(func() { runtime.GOMAXPROCS(processors) })
	tune()
	s := settings{data: filepath.Join(b.TempDir(), "bench.db"), role: "all", recalculate: "@every 30s", limits: "off"}
	back, err := open(s)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = back.app.Run(ctx) })
	server := httptest.NewServer(routes(back, true, back.app.Ready))
	b.Cleanup(func() {
		server.Close()
		cancel()
		running.Wait()
		_ = back.close()
	})
	address = server.Listener.Addr().String()
	conn := connect(b, address)
	post := func(path, token, body string) (int, []byte) { return conn.post(b, path, token, body) }
	post("/api/users/", "", `{"username":"bench","password":"a rather long one"}`)
	_, login := post("/api/users/login/", "", `{"username":"bench","password":"a rather long one"}`)
	var tokens struct{ Access string }
	if err := json.Unmarshal(login, &tokens); err != nil {
		b.Fatal(err)
	}
	contents = make([]string, 200)
	for i := range contents {
		_, made := post("/api/contents/", tokens.Access, `{"title":"t"}`)
		var c struct{ ID string }
		if err := json.Unmarshal(made, &c); err != nil {
			b.Fatal(err)
		}
		contents[i] = c.ID
	}
	return address, tokens.Access, contents
}

// benchmarkAccept sends rate ratings a second, or with 0 as many as get answers.
func benchmarkAccept(b *testing.B, clients, rate int) {
	address, access, contents := serveBench(b)
	var next atomic.Int64
	took := make([][]time.Duration, clients)
	b.ResetTimer()
	start := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		conn := connect(b, address)
		all.Go(func() {
			for {
				n := int(next.Add(1))
				if n > b.N {
					return
				}
				began := time.Now()
				if rate > 0 {
					began = start.Add(time.Duration(n) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(began))
				}
				if status, body := conn.post(b, "/api/ratings/", access,
					fmt.Sprintf(`{"content":%q,"score":%d}`, contents[n%len(contents)], 1+n%5)); status != http.StatusAccepted {
					b.Errorf("%d %s", status, body)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	sorted := slices.Concat(took...)
	slices.Sort(sorted)
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepted/s")
}
