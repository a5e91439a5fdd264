package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// The metrics of every role have a listener of their own, which ends with the server. The public
// one has none.
func TestMetricsAreApart(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"all", "api", "worker"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			args := []string{"-addr", "127.0.0.1:0", "-metrics", "127.0.0.1:0", "-data", filepath.Join(t.TempDir(), "data.db"),
				"-role", role}
			printed, print := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				ended <- run(ctx, args, nil, nil, print, io.Discard)
				print.Close()
			}()
			lines := bufio.NewReader(printed)
			address := func() string {
				line, err := lines.ReadString('\n')
				_, rest, _ := strings.Cut(line, "http://")
				address, _, ok := strings.Cut(rest, "/")
				if err != nil || !ok {
					t.Fatalf("it says %q, %v, and ends with %v", line, err, <-ended)
				}
				return address
			}
			public, private := address(), address()
			for url, want := range map[string]int{
				private + "/metrics": http.StatusOK, private + "/": http.StatusNotFound, private +
					"/api/contents/": http.StatusNotFound, private + "/livez": http.StatusNotFound,
				public + "/metrics": http.StatusNotFound, public + "/livez": http.StatusOK,
			} {
				got, err := http.Get("http://" + url)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(got.Body)
				got.Body.Close()
				if got.StatusCode != want || err != nil {
					t.Errorf("%s: %d %v, want %d", url, got.StatusCode, err, want)
				}
				if strings.Contains(string(text), "khodnevis_queue_messages 0\n") != (want == http.StatusOK &&
					strings.HasSuffix(url, "/metrics")) {
					t.Errorf("%s tells %s", url, text)
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if conn, err := net.Dial("tcp", private); err == nil {
				conn.Close()
				t.Error("the metrics are still served")
			}
		})
	}
}

// A server whose metrics nobody would see does not begin, nor does it keep its other address.
func TestMetricsWithoutAnAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = run(t.Context(),
		[]string{"-addr", "127.0.0.1:0", "-metrics", taken.Addr().String(), "-data", filepath.Join(t.TempDir(), "data.db")},
		nil, nil, io.Discard, io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "-metrics: ") {
		t.Errorf("it ends with %v", err)
	}
	if _, _, err := readSettings([]string{"-metrics", "9090"}, nil, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "-metrics") {
		t.Errorf("a port alone: %v", err)
	}
}
