package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testutil"
)

// enter opens a connection from an address of this machine and reports whether the server answers
// on it, or closes it. That it does neither is an error of the test.
func enter(t *testing.T, from, address string) (*client, bool) {
	t.Helper()
	var dialer net.Dialer
	if from != "127.0.0.1" { // which it is by itself, and sooner
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EMFILE) {
		t.Skip(err) // the machine has one address of loopback, or few files: neighbours, or a flood, cannot be had
	}
	var c *client
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		c = connected(conn)
		_, err = fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
	}
	if err == nil {
		_, err = c.answers.Peek(1)
	}
	switch {
	case err == nil:
		if got := c.receive(t); got.status != http.StatusOK {
			t.Errorf("from %s: %d %s", from, got.status, got.body)
		}
		return c, true
	case !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.EOF):
		t.Fatalf("from %s: neither served nor closed: %v", from, err)
	}
	return nil, false
}

// L1: a client that holds connections without end blocks its own prefix alone, and when all slots are
// taken, the health check of the machine itself still gets a response. Nobody waits.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var logged testutil.Log
	// Of the addresses of loopback, 127.0.0.1 is the one that the server is reached at; the others
	// stand for those of strangers.
	b := newBounded(inner,
		connectionLimits{all: 10, prefix: 3, own: 2, trusted: []netip.Prefix{netip.MustParsePrefix("127.0.9.0/28")}},
		slog.New(slog.NewTextHandler(&logged, nil)))
	server := &http.Server{Handler: pagesOf(t, "all")}
	served := make(chan error, 1)
	go func() { served <- server.Serve(b) }()
	address := inner.Addr().String()
	let := func(want bool, from ...string) (in []*client) {
		t.Helper()
		for _, ip := range from {
			c, ok := enter(t, ip, address)
			if ok != want {
				t.Fatalf("%s is served: %v, want %v", ip, ok, want)
			}
			in = append(in, c)
		}
		return in
	}
	flood := let(true, "127.0.1.1", "127.0.1.1", "127.0.1.200")
	let(false, "127.0.1.1", "127.0.1.3", "127.0.1.200")
	let(true, "127.0.2.1", "127.0.0.1")
	// a proxy brings as many as there are places
	let(true, "127.0.9.1", "127.0.9.1", "127.0.9.1", "127.0.9.1", "127.0.9.15")
	let(false, "127.0.2.1", "127.0.3.1", "127.0.9.1")
	own := let(true, "127.0.0.1", "127.0.0.1")
	let(false, "127.0.0.1", "127.0.3.1")

	// Closed connections give their places back: those of the machine itself first, then one of the
	// prefix that was full.
	for _, c := range append(own, flood[0]) {
		_ = c.Close()
	}
	testutil.Eventually(t, 30*time.Second, "there is one place again", func() bool { return b.count() == 9 })
	let(true, "127.0.1.7")
	let(false, "127.0.1.7", "127.0.3.1")
	_ = flood[1].Close()
	testutil.Eventually(t, 30*time.Second, "there is one place again", func() bool { return b.count() == 9 })
	let(true, "127.0.3.1")

	if err := server.Shutdown(t.Context()); err != nil { // closes those that are idle
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if b.count() != 0 || b.places.Groups() != 0 {
		t.Errorf("%d places of nobody, %d prefixes", b.count(), b.places.Groups())
	}
	for _, want := range []string{`"too many connections: the next ones are closed" connections=10`,
		`from there: the next ones are closed" prefix=127.0.1.0/24`} {
		if strings.Count(logged.String(), want) != 1 {
			t.Errorf("not once in the log: %s\n%s", want, &logged)
		}
	}
}

func (b *bounded) count() int { return int(b.places.Held() + b.own.Held()) }

// crowd is a listener at which connections of many addresses arrive.
type crowd struct {
	net.Listener
	from     func(n int64) net.IP
	arrivals atomic.Int64
}

func (c *crowd) Accept() (net.Conn, error) {
	n := c.arrivals.Add(1)
	if n > 20_000 {
		return nil, io.EOF
	}
	return &visitor{from: c.from(n)}, nil
}

type visitor struct {
	net.Conn
	from net.IP
}

func (v *visitor) RemoteAddr() net.Addr { return &net.TCPAddr{IP: v.from, Port: 1} }
func (v *visitor) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 2} }
func (v *visitor) Close() error         { return nil }

// There are never more than there are places, and each is given back once, however often and by
// however many a connection is closed.
func TestPlacesAreGivenBackOnce(t *testing.T) {
	t.Parallel()
	const all, prefix = 7, 2
	strangers := &crowd{from: func(n int64) net.IP { return net.IPv4(10, 0, byte(n%5), byte(n)) }}
	b := newBounded(strangers, connectionLimits{all: all, prefix: prefix}, slog.New(slog.DiscardHandler))
	var held atomic.Int64
	var prefixes [5]atomic.Int64
	var doors sync.WaitGroup
	for range 16 {
		doors.Go(func() {
			for {
				conn, err := b.Accept()
				if err != nil {
					return
				}
				of := &prefixes[addrOf(conn.RemoteAddr()).As4()[2]]
				if n, p := held.Add(1), of.Add(1); n > all || p > prefix {
					t.Errorf("%d connections are held, %d of one prefix", n, p)
				}
				of.Add(-1)
				held.Add(-1)
				var closing sync.WaitGroup
				closing.Go(func() { _ = conn.Close() })
				_ = conn.Close()
				closing.Wait()
			}
		})
	}
	doors.Wait()
	if b.count() != 0 || b.places.Groups() != 0 {
		t.Errorf("%d places of nobody, %d prefixes", b.count(), b.places.Groups())
	}
}

// L1: IPv6 connections are counted by their /48 too, which has four times the places of a /64.
func TestConnectionsOfASiteAreBounded(t *testing.T) {
	t.Parallel()
	const all, prefix = 100, 2
	strangers := &crowd{from: func(n int64) net.IP {
		return net.ParseIP(fmt.Sprintf("2001:db8:%x:%x::1", n%3, n%60))
	}}
	b := newBounded(strangers, connectionLimits{all: all, prefix: prefix}, slog.New(slog.DiscardHandler))
	sites, networks := map[string]int{}, map[string]int{}
	for {
		conn, err := b.Accept()
		if err != nil {
			break
		}
		from := addrOf(conn.RemoteAddr())
		networks[netip.PrefixFrom(from, 64).Masked().String()]++
		sites[netip.PrefixFrom(from, 48).Masked().String()]++
	}
	for network, n := range networks {
		if n > prefix {
			t.Errorf("%d connections of %s", n, network)
		}
	}
	if len(sites) != 3 {
		t.Errorf("connections of %v", sites)
	}
	for site, n := range sites {
		if n != 4*prefix {
			t.Errorf("%d connections of %s, want %d", n, site, 4*prefix)
		}
	}
}

// A handler that takes over a connection gives its place back when it closes it.
func TestHijackedConnectionsGiveTheirPlaceBack(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBounded(inner, connectionLimits{own: 1}, slog.New(slog.DiscardHandler))
	taken := make(chan net.Conn, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			panic(http.ErrAbortHandler)
		}
		taken <- conn
	})}
	go func() { _ = server.Serve(b) }()
	defer server.Close()
	for range 3 {
		c := connect(t, inner.Addr().String())
		_, _ = fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: here\r\n\r\n")
		closed := make(chan error, 1)
		go func() { _, err := c.answers.Peek(1); closed <- err }()
		select {
		case conn := <-taken:
			if n := b.count(); n != 1 {
				t.Errorf("%d connections are held", n)
			}
			_, _ = conn.Close(), conn.Close()
		case err := <-closed:
			t.Fatalf("it is not let in: %v", err)
		}
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d connections are held", n)
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	of := func(s settings) connectionLimits {
		l, err := s.connectionLimits(0)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	on := of(settings{limits: "on", proxies: "192.0.2.7, 2001:db8::/48"})
	if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"),
		netip.MustParsePrefix("2001:db8::/48")}; !reflect.DeepEqual(on.trusted, want) {
		t.Errorf("trusted are %v", on.trusted)
	}
	if on.all != 4096 || on.prefix != 512 || on.own != 16 {
		t.Errorf("%+v", on)
	}
	for ip, want := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::ffff:127.0.0.1": true, "::1": true,
		"192.0.2.7": false, "128.0.0.1": false} {
		if got := among(on.loopback, addrOf(&net.TCPAddr{IP: net.ParseIP(ip)})); got != want {
			t.Errorf("%s is this machine: %v", ip, got)
		}
	}
	if !among([]netip.Prefix{netip.MustParsePrefix("fe80::/10")},
		addrOf(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"})) {
		t.Error("an address with a zone is in no prefix")
	}
	for files, want := range map[int]int{0: 4096, 100: 50, 1000: 744, 4096: 3840, 5000: 4096, 1 << 30: 4096} {
		if l, err := (settings{}).connectionLimits(files); err != nil || l.all != want || l.prefix != want/8 {
			t.Errorf("with %d files: %+v, want %d, %v", files, l, want, err)
		}
	}
	if off := of(settings{limits: "off"}); off.prefix != off.all || off.all != 4096 {
		t.Errorf("for a load test: %+v", off)
	}
}

// L1: a server all of whose places are taken by connections that ask nothing any more tells this
// machine that it lives, closes the next one at once, and serves when they are gone.
func TestFullServerLives(t *testing.T) { // not beside others, which need files, too
	if files := maxFiles(); files < 2*maxConnections {
		t.Skipf("a process may have %d files open, which is too few to fill a server", files) // connections are files
	}
	fill(t, start(t, filepath.Join(t.TempDir(), "data.db")), maxConnections)
}

// L1: so does one that may have few files open.
func TestFullServerWithFewFilesLives(t *testing.T) {
	c := startBy(t, []string{"sh", "-c", `ulimit -n 500; exec "$0" "$@"`}, filepath.Join(t.TempDir(), "data.db"))
	fill(t, c, 250)
	if err := c.end(syscall.SIGTERM); err != nil || !strings.Contains(c.log.String(), "files=500 connections=250") {
		t.Errorf("it ends with %v and has logged\n%s", err, c.log)
	}
}

// fill takes all places of a server, which has so many.
func fill(t *testing.T, c *child, places int) {
	t.Helper()
	address := strings.TrimPrefix(c.url, "http://")
	var idle []*client
	add := func() bool {
		c, ok := enter(t, "127.0.0.1", address)
		if ok {
			idle = append(idle, c)
		}
		return ok
	}
	for n := range places {
		if !add() {
			t.Fatalf("only %d connections are served", n)
		}
	}
	if err := checkHealth(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	for add() {
		if len(idle) > places+maxOwnConnections {
			t.Fatalf("%d connections are served", len(idle))
		}
	}
	for _, c := range idle {
		_ = c.Close()
	}
	testutil.Eventually(t, 30*time.Second, "there are places again", func() bool {
		_, ok := enter(t, "127.0.0.1", address)
		return ok
	})
}
