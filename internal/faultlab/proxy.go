//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// trouble is what a link does to its connections.
type trouble int

const (
	none      trouble = iota
	refuse            // no connection is accepted, those that are open are reset
	blackhole         // nothing gets through in either direction; what was sent arrives when it ends
	oneWay            // requests arrive, answers are lost; the connections that lost some are reset when it ends
	latency           // everything comes later
)

var troubleNames = map[trouble]string{
	none:      "heal",
	refuse:    "refuse",
	blackhole: "blackhole",
	oneWay:    "one-way",
	latency:   "latency",
}

// link is a TCP proxy between one process and one of its dependencies.
type link struct {
	listen, target string

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	mode     trouble
	delay    time.Duration
	changed  chan struct{} // closed when mode changes
	pipes    map[*pipe]struct{}
	closed   bool
}

// pipe is a connection through a link.
type pipe struct {
	link           *link
	client, server *net.TCPConn
	closed         chan struct{}
	once           sync.Once
	lossy          bool // guarded by link.mu
}

func newLink(listen, target string) (*link, error) {
	l := &link{listen: listen, target: target, changed: make(chan struct{}), pipes: map[*pipe]struct{}{}}
	return l, l.open()
}

// open listens. The port may be in use for a moment after it was given up.
func (l *link) open() error {
	var config net.ListenConfig
	for attempt := 0; ; attempt++ {
		listener, err := config.Listen(context.Background(), "tcp", l.listen)
		if err == nil {
			l.mu.Lock()
			l.listener = listener
			l.mu.Unlock()
			go l.serve(listener)
			return nil
		}
		if attempt == 100 {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *link) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go l.carry(conn.(*net.TCPConn))
	}
}

func (l *link) carry(client *net.TCPConn) {
	p := &pipe{link: l, client: client, closed: make(chan struct{})}
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", l.target)
	if err != nil { // the dependency refuses: so does the link
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	p.server = server.(*net.TCPConn)
	l.mu.Lock()
	if l.closed || l.mode == refuse {
		l.mu.Unlock()
		p.reset()
		return
	}
	l.pipes[p] = struct{}{}
	l.mu.Unlock()
	go p.copy(p.server, p.client, false)
	p.copy(p.client, p.server, true)
}

// copy carries what from sends. answers is the direction towards the process.
func (p *pipe) copy(to, from *net.TCPConn, answers bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && p.pass(answers) {
			if _, err := to.Write(buffer[:n]); err != nil {
				p.reset()
				return
			}
		}
		if errors.Is(err, io.EOF) && p.pass(answers) {
			_ = to.CloseWrite()
			if answers {
				p.reset() // the dependency has gone, and nothing more will come
			}
			return
		}
		if err != nil {
			p.reset()
			return
		}
	}
}

// pass waits as long as the link holds things up and reports whether they may go on.
func (p *pipe) pass(answers bool) bool {
	l := p.link
	for {
		l.mu.Lock()
		mode, delay, changed := l.mode, l.delay, l.changed
		if mode == oneWay && answers {
			p.lossy = true
		}
		l.mu.Unlock()
		switch {
		case mode == oneWay && answers:
			return false
		case mode == latency:
			time.Sleep(delay)
			return true
		case mode != blackhole:
			return true
		}
		select {
		case <-changed:
		case <-p.closed:
			return false
		}
	}
}

// reset ends a connection as a crash does.
func (p *pipe) reset() {
	p.once.Do(func() {
		close(p.closed)
		for _, conn := range []*net.TCPConn{p.client, p.server} {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
		p.link.mu.Lock()
		delete(p.link.pipes, p)
		p.link.mu.Unlock()
	})
}

// set changes what the link does.
func (l *link) set(mode trouble, delay time.Duration) error {
	l.mu.Lock()
	was := l.mode
	l.mode, l.delay = mode, delay
	close(l.changed)
	l.changed = make(chan struct{})
	var end []*pipe
	for p := range l.pipes {
		if mode == refuse || p.lossy && mode != oneWay {
			end = append(end, p)
		}
	}
	listener := l.listener
	if mode == refuse {
		l.listener = nil
	}
	l.mu.Unlock()
	if mode == refuse && listener != nil {
		_ = listener.Close()
	}
	for _, p := range end {
		p.reset()
	}
	if was == refuse && mode != refuse {
		return l.open()
	}
	return nil
}

// close ends the link for good.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	listener := l.listener
	var all []*pipe
	for p := range l.pipes {
		all = append(all, p)
	}
	l.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	for _, p := range all {
		p.reset()
	}
}
