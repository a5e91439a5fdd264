package rediscache_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/testserver"
)

// switchboard forwards each new connection to the server that target names then.
func switchboard(t *testing.T, target *atomic.Value) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target.Load().(string))
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, c := range [][2]net.Conn{{client, server}, {server, client}} {
				served.Go(func() {
					_, _ = io.Copy(c[0], c[1])
					_ = c[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait() // the pool is closed by now
	})
	return l.Addr().String()
}

// A connection that leads to a server which became a replica is closed, so that the server that
// took its place is found.
func TestConnectionsToAReplicaAreClosed(t *testing.T) {
	t.Parallel()
	first, _ := testserver.OwnRedis(t)
	second, _ := testserver.OwnRedis(t)
	var target atomic.Value
	target.Store(first)
	c, pool := open(t, switchboard(t, &target), patient())
	const idle = 8
	fill(t, pool, idle)
	it := cache.Item{Key: "k", Value: []byte("v")}
	set(t, c, it)
	command(t, pool, "REPLICAOF", "127.0.0.1", "1")
	target.Store(second)
	refused := 0
	for c.SetMany(t.Context(), []cache.Item{it}) != nil {
		if refused++; refused > idle {
			t.Fatalf("%d writes were refused, with %d connections", refused, idle)
		}
	}
	if refused == 0 {
		t.Error("the test shows nothing: no write was refused")
	}
	holds(t, c, []string{"k"}, it)
	if sum, err := c.Add(t.Context(), "n", 1, 1e9); err != nil || sum != 1 {
		t.Errorf("adding 1 gave %d, %v", sum, err)
	}
}
