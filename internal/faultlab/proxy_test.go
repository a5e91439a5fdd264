//go:build linux

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo answers every byte with the same one and counts them.
func echo(t *testing.T) (addr string, got chan byte) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	got = make(chan byte, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				one := make([]byte, 1)
				for {
					if _, err := conn.Read(one); err != nil {
						return
					}
					got <- one[0]
					if _, err := conn.Write(one); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String(), got
}

func newTestLink(t *testing.T, target string) *link {
	t.Helper()
	addrs, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLink(addrs[0], target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func connect(t *testing.T, l *link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends a byte and returns what comes back within d.
func exchange(conn net.Conn, b byte, d time.Duration) error {
	if _, err := conn.Write([]byte{b}); err != nil {
		return err
	}
	return answered(conn, b, d)
}

func answered(conn net.Conn, b byte, d time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	one := make([]byte, 1)
	_, err := conn.Read(one)
	if err == nil && one[0] != b {
		err = io.ErrUnexpectedEOF
	}
	return err
}

const (
	long  = 10 * time.Second // for what must come
	short = 100 * time.Millisecond
)

func TestLinks(t *testing.T) {
	t.Parallel()
	set := func(t *testing.T, l *link, mode trouble) {
		t.Helper()
		if err := l.set(mode, short); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("refuse", func(t *testing.T) {
		t.Parallel()
		target, _ := echo(t)
		l := newTestLink(t, target)
		conn := connect(t, l)
		if err := exchange(conn, 'a', long); err != nil {
			t.Fatal(err)
		}
		set(t, l, refuse)
		if err := answered(conn, 'a', long); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("the connection ended with %v", err)
		}
		if _, err := net.Dial("tcp", l.listen); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a connection was not refused: %v", err)
		}
		set(t, l, none)
		if err := exchange(connect(t, l), 'b', long); err != nil {
			t.Error(err)
		}
	})
	t.Run("blackhole", func(t *testing.T) {
		t.Parallel()
		target, got := echo(t)
		l := newTestLink(t, target)
		conn := connect(t, l)
		set(t, l, blackhole)
		if err := exchange(conn, 'a', short); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("something got through: %v", err)
		}
		if len(got) > 0 {
			t.Error("the request arrived")
		}
		set(t, l, none)
		if err := answered(conn, 'a', long); err != nil {
			t.Errorf("what was sent did not arrive in the end: %v", err)
		}
	})
	t.Run("one way", func(t *testing.T) {
		t.Parallel()
		target, got := echo(t)
		l := newTestLink(t, target)
		conn := connect(t, l)
		set(t, l, oneWay)
		if err := exchange(conn, 'a', short); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an answer came: %v", err)
		}
		select {
		case <-got:
		case <-time.After(long):
			t.Error("the request did not arrive")
		}
		set(t, l, none)
		if err := answered(conn, 'a', long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection that lost an answer goes on: %v", err)
		}
	})
	t.Run("latency", func(t *testing.T) {
		t.Parallel()
		target, _ := echo(t)
		l := newTestLink(t, target)
		conn := connect(t, l)
		set(t, l, latency)
		began := time.Now()
		if err := exchange(conn, 'a', long); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2*short {
			t.Errorf("a round trip took %v, with %v each way", took, short)
		}
	})
}
