package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// BenchmarkLoginStorm measures reads, 200 a second, first by themselves and then while 500 clients log in at once, and again as
// soon as a 503 lets them. It reports both 99th percentiles in milliseconds, counted from when each read was due, their ratio,
// which should stay below 2, and the greatest heap.
func BenchmarkLoginStorm(b *testing.B) {
	s := settings{data: filepath.Join(b.TempDir(), "bench.db"), role: "all", recalculate: "@every 30s", limits: "off"}
	back, err := open(s, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(routes(back, true, back.app.Ready))
	b.Cleanup(func() {
		server.Close()
		_ = back.close()
	})
	const clients, rate, span = 500, 200, 3 * time.Second
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	send := func(ctx context.Context, method, path, token, body string) (*http.Response, []byte) {
		r, err := http.NewRequestWithContext(ctx, method, server.URL+path, bytes.NewReader([]byte(body)))
		if err != nil {
			b.Error(err)
			return nil, nil
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := hc.Do(r)
		if err != nil {
			if ctx.Err() == nil {
				b.Error(err)
			}
			return nil, nil
		}
		defer answer.Body.Close()
		got, _ := io.ReadAll(answer.Body)
		return answer, got
	}
	const reader, credentials = `{"username":"reader","password":"a rather long one"}`, `{"username":"bench","password":"a rather long one"}`
	for _, who := range []string{reader, credentials} { // two, since those who log in too often lose their oldest session
		send(b.Context(), http.MethodPost, "/api/users/", "", who)
	}
	_, login := send(b.Context(), http.MethodPost, "/api/users/login/", "", reader)
	var tokens struct{ Access string }
	if err := json.Unmarshal(login, &tokens); err != nil {
		b.Fatal(err)
	}
	_, made := send(b.Context(), http.MethodPost, "/api/contents/", tokens.Access, `{"title":"t"}`)
	var content struct{ ID string }
	if err := json.Unmarshal(made, &content); err != nil {
		b.Fatal(err)
	}
	// read returns the 99th percentile of reads, and the greatest heap that was seen.
	read := func() (p99 time.Duration, heap uint64) {
		took := make([]time.Duration, rate*int(span/time.Second))
		var all sync.WaitGroup
		start := time.Now()
		for i := range took {
			due := start.Add(time.Duration(i) * time.Second / rate)
			time.Sleep(time.Until(due))
			all.Go(func() {
				if answer, body := send(b.Context(), http.MethodGet, "/api/contents/"+content.ID+"/", tokens.Access, ""); answer == nil || answer.StatusCode != http.StatusOK {
					b.Errorf("a read: %s", body)
				}
				took[i] = time.Since(due)
			})
			var m runtime.MemStats
			if i%20 == 0 {
				runtime.ReadMemStats(&m)
				heap = max(heap, m.HeapAlloc)
			}
		}
		all.Wait()
		slices.Sort(took)
		return took[len(took)*99/100], heap
	}
	var quiet, stormy time.Duration
	var heap uint64
	var logins, refused int
	for b.Loop() {
		quiet, _ = read()
		ctx, stop := context.WithCancel(b.Context())
		var storm sync.WaitGroup
		var mu sync.Mutex
		for range clients {
			storm.Go(func() {
				for ctx.Err() == nil {
					answer, body := send(ctx, http.MethodPost, "/api/users/login/", "", credentials)
					if answer == nil {
						return
					}
					mu.Lock()
					switch answer.StatusCode {
					case http.StatusOK:
						logins++
					case http.StatusServiceUnavailable:
						refused++
					default:
						b.Errorf("a login: %s", body)
					}
					mu.Unlock()
					pause, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
					select {
					case <-ctx.Done():
					case <-time.After(time.Duration(pause) * time.Second):
					}
				}
			})
		}
		stormy, heap = read()
		stop()
		storm.Wait()
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(ms(quiet), "quiet-p99-ms")
	b.ReportMetric(ms(stormy), "storm-p99-ms")
	b.ReportMetric(float64(stormy)/float64(quiet), "p99-ratio")
	b.ReportMetric(float64(heap)/(1<<20), "heap-MiB")
	b.Logf("%d logins, %d told to come back", logins, refused)
}
