package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

func TestHealthAsksTheServerOfItsSettings(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusOK)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) })
	server := httptest.NewServer(mux)
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "none.db")
	health := func(addr string) error {
		return run(t.Context(), []string{"health"}, []string{"KHODNEVIS_ADDR=" + addr, "KHODNEVIS_DATA=" + data}, nil,
			io.Discard, io.Discard)
	}
	for _, host := range []string{"127.0.0.1", "0.0.0.0", "[::]", "", "localhost"} {
		if err := health(host + ":" + port); err != nil {
			t.Errorf("a server on %q that lives: %v", host, err)
		}
	}
	status.Store(http.StatusServiceUnavailable)
	if err := health("127.0.0.1:" + port); err == nil {
		t.Error("a server that answers 503 was taken to be well")
	}
	if err := health("127.0.0.1:1"); err == nil {
		t.Error("nobody was taken to be well")
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("asking for health touched the data: %v", err)
	}
}

func TestHealthOfThisServer(t *testing.T) {
	t.Parallel()
	c := start(t, filepath.Join(t.TempDir(), "data.db"))
	if err := checkHealth(t.Context(), c.url[len("http://"):]); err != nil {
		t.Error(err)
	}
}
