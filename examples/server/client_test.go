package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// client is one connection and so little more that the machine is the server's.
type client struct {
	net.Conn
	answers *bufio.Reader
}

func connect(t testing.TB, address string) *client {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return connected(conn)
}

func connected(conn net.Conn) *client { return &client{conn, bufio.NewReader(conn)} }

// reply is an answer. Without one its status is 0.
type reply struct {
	status     int
	retryAfter string
	body       []byte
}

// post returns the status and the body of the answer, or 0 when there was none.
func (c *client) post(t testing.TB, path, token, body string) (status int, answer []byte) {
	got := c.send(t, http.MethodPost, path, token, body)
	return got.status, got.body
}

// send returns the answer. That there is none is an error of the test.
func (c *client) send(t testing.TB, method, path, token, body string) (got reply) {
	if token != "" {
		token = "Authorization: Bearer " + token + "\r\n"
	}
	if _, err := fmt.Fprintf(c,
		"%s %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", method, path,
		token, len(body), body); err != nil {
		t.Error(err)
		return reply{}
	}
	return c.receive(t)
}

// receive returns the next answer.
func (c *client) receive(t testing.TB) (got reply) {
	length := 0
	for first := true; ; first = false {
		line, err := c.answers.ReadSlice('\n')
		if err != nil {
			t.Error(err)
			return reply{}
		}
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		switch {
		case len(name) == 0:
			got.body = make([]byte, length)
			if _, err = io.ReadFull(c.answers, got.body); err != nil {
				t.Error(err)
				return reply{}
			}
			return got
		case first:
			got.status, err = strconv.Atoi(string(value[:3]))
		case bytes.EqualFold(name, []byte("Content-Length:")):
			length, err = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Retry-After:")):
			got.retryAfter = string(value)
		}
		if err != nil {
			t.Error(err)
			return reply{}
		}
	}
}

// offer has the clients send, each request when it is due, whether earlier ones are answered or
// not: rate a second, for span. With rate 0 each client sends when its last request is answered. A
// client of which send reports false stops.
func offer(clients []*client, rate int, span time.Duration, send func(c *client, n int) bool) {
	var next atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for _, c := range clients {
		all.Go(func() {
			for {
				n, due := int(next.Add(1)-1), time.Now()
				if rate > 0 {
					due = start.Add(time.Duration(n) * time.Second / time.Duration(rate))
				}
				if due.Sub(start) >= span {
					return
				}
				time.Sleep(time.Until(due))
				if !send(c, n) {
					return
				}
			}
		})
	}
	all.Wait()
}
