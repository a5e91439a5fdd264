// Package faultproxy stands between a test and a server and fails on demand: it refuses
// connections, falls silent, delays what passes, and loses answers.
package faultproxy

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// maxChunk is how many bytes are passed on at once, and maxQueued how many chunks may wait for
// their delay in one direction.
const (
	maxChunk  = 64 << 10
	maxQueued = 1024
)

// A Proxy passes bytes between its clients and one server. It may be used concurrently.
type Proxy struct {
	server string
	addr   string

	mu      sync.Mutex
	changed *sync.Cond
	refuses bool
	silent  bool
	held    []byte // what arrived while it was silent
	delay   time.Duration
	lose    []byte // the answer to what holds these bytes is lost
	lost    int
	closed  bool
	done    chan struct{} // closed with closed
	conns   map[net.Conn]struct{}
}

// New starts a Proxy before the server at a TCP address. The Proxy ends with the test.
func New(t testing.TB, server string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{server: server, addr: listener.Addr().String(), done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.changed = sync.NewCond(&p.mu)
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
		p.set(func() {
			p.closed = true
			close(p.done)
			p.drop()
		})
		running.Wait()
	})
	return p
}

// Addr returns the address that clients connect to.
func (p *Proxy) Addr() string { return p.addr }

// Refuse ends all connections, and every new one at once.
func (p *Proxy) Refuse() { p.set(func() { p.refuses = true; p.drop() }) }

// FallSilent lets nothing through any more, in neither direction. Connections stay open and new
// ones are taken.
func (p *Proxy) FallSilent() { p.set(func() { p.silent = true }) }

// Holds reports whether text has arrived while the Proxy was silent.
func (p *Proxy) Holds(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.held, []byte(text))
}

// Delay holds up every byte for d, in each direction, so that a round trip takes twice as long.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Heal ends what Refuse, FallSilent and Delay began.
func (p *Proxy) Heal() { p.set(func() { p.refuses, p.silent, p.delay = false, false, 0 }) }

// LoseAnswer breaks a connection when the server has answered a message that holds text, before the
// answer is passed on. It does so once.
func (p *Proxy) LoseAnswer(text string) { p.set(func() { p.lose = []byte(text) }) }

// AnswersLost returns how many answers were lost.
func (p *Proxy) AnswersLost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.changed.Broadcast()
}

// drop ends all connections. p.mu is held.
func (p *Proxy) drop() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// add reports whether c is to be served.
func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuses {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) end(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) serve(client net.Conn) {
	defer p.end(client)
	if !p.add(client) {
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer p.end(server)
	if !p.add(server) {
		return
	}
	doomed := false // guarded by p.mu
	var both sync.WaitGroup
	both.Go(func() {
		defer p.end(server)
		p.pump(server, client, func(b []byte) bool {
			if p.lose != nil && bytes.Contains(b, p.lose) {
				p.lose, doomed = nil, true
			}
			return true
		})
	})
	both.Go(func() {
		defer p.end(client)
		p.pump(client, server, func([]byte) bool {
			if doomed {
				p.lost++
			}
			return !doomed
		})
	})
	both.Wait()
}

// chunk is what was read, and when it may be passed on.
type chunk struct {
	bytes []byte
	due   time.Time
}

// pump passes on what check, called with p.mu held, lets pass.
func (p *Proxy) pump(to, from net.Conn, check func([]byte) bool) {
	queue := make(chan chunk, maxQueued)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(queue)
		for {
			buffer := make([]byte, maxChunk)
			n, err := from.Read(buffer)
			if n > 0 {
				p.mu.Lock()
				due := time.Now().Add(p.delay)
				if p.silent {
					p.held = append(p.held, buffer[:n]...)
				}
				p.mu.Unlock()
				select {
				case queue <- chunk{buffer[:n], due}:
				case <-p.done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for c := range queue {
		if err := p.pass(to, c, check); err != nil {
			break
		}
	}
	_ = from.Close()
	for range queue { // let the reader end
	}
	reading.Wait()
}

var errHeldBack = errors.New("faultproxy: held back")

func (p *Proxy) pass(to net.Conn, c chunk, check func([]byte) bool) error {
	if wait := time.Until(c.due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-p.done:
			return errHeldBack
		}
	}
	p.mu.Lock()
	for p.silent && !p.closed {
		p.changed.Wait()
	}
	passes := check(c.bytes) && !p.closed
	p.mu.Unlock()
	if !passes {
		return errHeldBack
	}
	_, err := to.Write(c.bytes)
	return err
}
