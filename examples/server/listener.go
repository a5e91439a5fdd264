package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

// Bounds of how many connections are held at once.
const (
	maxConnections    = 4096
	maxOwnConnections = 16
	// shareOfConnections is the part of all that one IP prefix may have.
	shareOfConnections = 8
	// otherFiles is how many files are kept for the database, the logs and the rest, or half of all
	// if there are few.
	otherFiles = 256
)

// connectionLimits say how many connections are held at once.
type connectionLimits struct {
	all    int // together
	prefix int // of one IPv4 /24 or IPv6 /64, and four times as many of an IPv6 /48
	own    int // beyond all, of this machine: health checks get through when all are taken
	// loopback are addresses of this machine. So is, of a connection, the one that it arrives at.
	loopback []netip.Prefix
	// trusted are addresses of proxies, which forward the connections of many clients. Like this
	// machine, they are not counted as a prefix.
	trusted []netip.Prefix
}

// connectionLimits returns the limits for the settings and for the number of files that this process
// may have open. A server without a file for the next connection could not even close it.
func (s settings) connectionLimits(files int) (connectionLimits, error) {
	all := maxConnections
	if files > 0 {
		all = min(all, max(files-otherFiles, files/2))
	}
	l := connectionLimits{all: all, prefix: all / shareOfConnections, own: maxOwnConnections,
		loopback: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	if s.limits == "off" {
		l.prefix = l.all
	}
	var err error
	l.trusted, err = parsePrefixes(s.proxies)
	return l, err
}

// bounded is a listener that limits the connections in flight, with a fair share for each IP prefix.
// It closes a connection beyond the limit at once (load shedding): a client that is left waiting
// takes the server for dead. It may be used concurrently.
type bounded struct {
	net.Listener
	limits     connectionLimits
	log        *slog.Logger
	full, many logthrottle.Log

	places *counter.Limiter
	own    *counter.Limiter // the places that only this machine gets
}

func newBounded(l net.Listener, limits connectionLimits, log *slog.Logger) *bounded {
	return &bounded{
		Listener: l, limits: limits, log: log,
		places: counter.NewLimiter(int64(limits.all), int64(limits.prefix)),
		own:    counter.NewLimiter(int64(limits.own), 0),
	}
}

// Accept waits for the next connection that is within the limits.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		runtime.Gosched() // requests of open connections come first, also when hundreds connect at once
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrOf(conn.RemoteAddr())
		trusted := among(b.limits.trusted, from) // on this machine, perhaps, and still on behalf of others
		own := !trusted && (from.IsValid() && from == addrOf(conn.LocalAddr()) || among(b.limits.loopback, from))
		var groups []counter.Group // that are counted
		if !own && !trusted {
			groups = counter.GroupsOf(from)
		}
		ok, full := b.places.Acquire(1, groups...)
		if ok {
			return &placed{Conn: conn, giveBack: sync.OnceFunc(func() { b.places.Release(1, groups...) })}, nil
		}
		if own {
			if ok, _ = b.own.Acquire(1); ok {
				return &placed{Conn: conn, giveBack: sync.OnceFunc(func() { b.own.Release(1) })}, nil
			}
		}
		if full == "" {
			b.full.Warn(context.Background(), b.log, time.Now(), "too many connections: the next ones are closed",
				slog.Int("connections", b.limits.all))
		} else {
			b.many.Warn(context.Background(), b.log, time.Now(),
				"too many connections from there: the next ones are closed", slog.String("prefix", full))
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // nothing of it stays in the kernel
		}
		_ = conn.Close()
	}
}

// placed is a connection that has a place until it is closed.
type placed struct {
	net.Conn
	giveBack func() // does it once
}

func (c *placed) Close() error {
	defer c.giveBack()
	return c.Conn.Close()
}

// addrOf returns the one form of an address, and the zero Addr for one that is not of TCP.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

func among(prefixes []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}
