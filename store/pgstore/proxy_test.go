package pgstore_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/internal/testserver"
)

// proxy stands between a test and the server and fails on demand.
type proxy struct {
	dsn    string // leads to the server by way of the proxy
	server string

	mu      sync.Mutex
	changed *sync.Cond
	silent  bool
	lose    []byte // the answer to what holds these bytes is lost
	closed  bool
	conns   map[net.Conn]struct{}
	lost    int
}

// newProxy starts a proxy that ends with the test. The test is skipped without a server that is reached by TCP without TLS.
func newProxy(t *testing.T) *proxy {
	t.Helper()
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Port() == "" || u.Query().Get("sslmode") != "disable" {
		t.Skip("the server's address is no URL with a port and sslmode=disable") // the proxy takes their place and reads; make test allows both
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: u.Host, conns: map[net.Conn]struct{}{}}
	p.changed = sync.NewCond(&p.mu)
	u.Host = listener.Addr().String()
	p.dsn = u.String()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.closed = true
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.changed.Broadcast()
		running.Wait()
	})
	return p
}

// fallSilent lets nothing through any more, in neither direction; connections stay open and new ones are taken.
func (p *proxy) fallSilent() { p.set(func() { p.silent = true }) }

// speak undoes fallSilent.
func (p *proxy) speak() { p.set(func() { p.silent = false }) }

// loseAnswer breaks the connection when the server has answered a message that holds text, before the answer is passed on.
func (p *proxy) loseAnswer(text string) { p.set(func() { p.lose = []byte(text) }) }

// answersLost returns how many answers were lost.
func (p *proxy) answersLost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *proxy) set(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.changed.Broadcast()
}

func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close() //nolint:errcheck // of a test
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // of a test
	if !p.add(client) || !p.add(server) {
		return
	}
	var doomed bool // guarded by p.mu
	var both sync.WaitGroup
	both.Go(func() {
		defer server.Close() //nolint:errcheck // of a test
		p.pump(server, client, func(b []byte) bool {
			if p.lose != nil && bytes.Contains(b, p.lose) {
				p.lose, doomed = nil, true
			}
			return true
		})
	})
	both.Go(func() {
		defer client.Close() //nolint:errcheck // of a test
		p.pump(client, server, func([]byte) bool {
			if doomed {
				p.lost++
			}
			return !doomed
		})
	})
	both.Wait()
}

// pump passes on what check, called with p.mu held, lets pass.
func (p *proxy) pump(to io.Writer, from io.Reader, check func([]byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.mu.Lock()
			for p.silent && !p.closed {
				p.changed.Wait()
			}
			pass := check(buffer[:n]) && !p.closed
			p.mu.Unlock()
			if !pass {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
