package kafkaqueue_test

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// proxy stands between a queue and its brokers and can fall silent: it goes on accepting
// connections and bytes, and hands on neither until it is healed.
type proxy struct {
	mu    sync.Mutex
	open  chan struct{}     // closed while bytes flow
	doors map[string]string // address of the listener for each broker
	ends  []net.Listener
	conns map[net.Conn]struct{}
	held  []byte // that came while it was silent
	ended bool
	busy  sync.WaitGroup
}

func newProxy(t testing.TB) *proxy {
	p := &proxy{open: make(chan struct{}), doors: make(map[string]string), conns: make(map[net.Conn]struct{})}
	close(p.open)
	t.Cleanup(p.close)
	return p
}

// configure lets a client reach every broker through the proxy, also those that brokers tell it of.
func (p *proxy) configure(c *sarama.Config) {
	quick(c)
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, p
}

// Dial implements the dialer that sarama asks for.
func (p *proxy) Dial(network, addr string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, net.ErrClosed
	}
	door := p.doors[addr]
	if door == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		p.ends = append(p.ends, l)
		door = l.Addr().String()
		p.doors[addr] = door
		p.busy.Go(func() { p.accept(l, addr) })
	}
	return net.DialTimeout(network, door, time.Second)
}

func (p *proxy) accept(l net.Listener, broker string) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.DialTimeout("tcp", broker, time.Second)
		if err != nil || !p.keep(near, far) {
			near.Close()
			continue
		}
		p.busy.Go(func() { p.pump(near, far) })
		p.busy.Go(func() { p.pump(far, near) })
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.ended {
			c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.ended
}

func (p *proxy) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			<-p.flowing(buf[:n])
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) flowing(chunk []byte) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		p.held = append(p.held, chunk...)
	}
	return p.open
}

// holds tells whether text came while it was silent.
func (p *proxy) holds(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.held, []byte(text))
}

func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = make(chan struct{})
}

// drop ends all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func (p *proxy) close() {
	p.heal()
	p.mu.Lock()
	p.ended = true
	for _, l := range p.ends {
		l.Close()
	}
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.busy.Wait()
}
