package httpapi_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// credentials are those of ada.
const credentials = `{"username":"ada","password":"` + password + `"}`

// strangers makes accounts and returns their access tokens.
func (s *server) strangers(t *testing.T, n int) []string {
	t.Helper()
	tokens := make([]string, n)
	for i := range tokens {
		name := fmt.Sprintf("stranger%d", i)
		s.join(t, name)
		tokens[i] = s.tokens[name]
	}
	return tokens
}

// upload sends the head of a request that announces a body of so many bytes, and the beginning of
// it.
func (s *server) upload(t *testing.T, target, from, token string, announced int, begin string) net.Conn {
	t.Helper()
	conn := s.dial(t)
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\n"+
		"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", target, from, token, announced, begin)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// I13: 75 accounts from 15 /64s of one /48, each with 7 bodies of a megabyte of which 10 bytes
// come, take nothing from others: they read and log in throughout. The slow bodies are cut off for
// being slow.
func TestSlowBodiesOfManyPrefixes(t *testing.T) {
	t.Parallel()
	const accounts, each, networks = 75, 7, 15
	var entered atomic.Int64
	s, _ := limited(t, httpapi.Limits{Logins: 1000}, nil)
	handler := s.app.Handler()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.url = web.URL
	elsewhere := func() {
		t.Helper()
		from := map[string]string{"X-Forwarded-For": "203.0.113.7"}
		s.repeat(t, 1, request{path: "contents/", header: from}, 200)
		s.repeat(t, 1, request{path: "users/me/", as: ada, header: from}, 200)
		s.repeat(t, 1, request{method: "POST", path: "users/login/", header: from, body: credentials}, 200)
	}
	var slow []net.Conn
	for n, token := range s.strangers(t, accounts) {
		for range each {
			from := fmt.Sprintf("2001:db8:0:%x::1", n%networks)
			slow = append(slow, s.upload(t, "POST /api/contents/", from, token, 1<<20, `{"title":"`))
		}
		elsewhere()
	}
	testutil.Eventually(t, 30*time.Second, "all of them are waited for", func() bool {
		return entered.Load() >= accounts*each
	})
	elsewhere()

	over := make(chan struct{})
	var all sync.WaitGroup
	for _, conn := range slow {
		all.Go(func() {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 408 {
				t.Errorf("a slow body: %s", resp.Status)
			}
		})
	}
	go func() { all.Wait(); close(over) }()
	for waits := true; waits; {
		select {
		case <-over:
			waits = false
		case <-time.After(200 * time.Millisecond):
			elsewhere()
		}
	}
}

// I13: bodies are held up to so many bytes, of all and of one IP prefix, and small ones in any
// case. Bytes count when they arrive.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	// Of a megabyte each, a prefix may have as many as there are prefixes that fill the memory.
	const large, share = 1 << 20, httpapi.ShareOfMemory
	s, _ := limited(t, httpapi.Limits{}, nil)
	api := s.app.Handler().(*httpapi.API)
	tokens := s.strangers(t, share)
	almost := strings.Repeat(" ", large-1)
	upload := func(prefix, n int, begin string) net.Conn {
		return s.upload(t, "POST /api/contents/", fmt.Sprintf("203.0.%d.%d", prefix, n), tokens[n%share], large, begin)
	}
	content := func(prefix int) request {
		body := fmt.Sprintf("{%s%q:%q}", strings.Repeat(" ", 300_000), "title", "t")
		return request{method: "POST", path: "contents/", as: ada, body: body, faulty: true,
			header: map[string]string{"X-Forwarded-For": fmt.Sprintf("203.0.%d.1", prefix)}}
	}
	var held []net.Conn
	for n := range 2 * share {
		held = append(held, upload(200, n, `{"title":"`))
	}
	testutil.Eventually(t, 30*time.Second, "all of them are waited for", func() bool {
		return api.Reading() == 2*share && s.inFlight() == 0
	})
	if n := api.BodyBytes(); n != 0 {
		t.Errorf("%d bytes are held of bodies that were only announced", n)
	}
	fill := func(prefix int) {
		t.Helper()
		before := api.BodyBytes()
		for n := range share {
			held = append(held, upload(prefix, n, almost))
		}
		testutil.Eventually(t, 30*time.Second, "they are held", func() bool {
			return api.BodyBytes()-before == share*(large-1-httpapi.SmallBody)
		})
	}
	fill(0)
	if a := s.do(t, content(0)); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("one too many of a prefix: %s", a)
	}
	s.repeat(t, 1, content(1), 201)
	for prefix := 1; prefix < share; prefix++ {
		fill(prefix)
	}
	a := s.do(t, content(share))
	if a.status != 503 || a.at(t, "outcome") != "not_accepted" || a.header.Get("Retry-After") == "" {
		t.Errorf("one too many of all: %s", a)
	}
	for _, prefix := range []int{0, share} { // small ones need nothing
		from := map[string]string{"X-Forwarded-For": fmt.Sprintf("203.0.%d.1", prefix)}
		s.repeat(t, 1, request{method: "POST", path: "users/login/", header: from, body: credentials}, 200)
		s.repeat(t, 1, request{method: "POST", path: "contents/", as: ada, header: from, body: `{"title":"t"}`}, 201)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	testutil.Eventually(t, 30*time.Second, "nothing is held of those who are gone", func() bool {
		return api.BodyBytes() == 0 && api.Reading() == 0
	})
	s.repeat(t, 1, content(0), 201)
}

// I13: credentials are checked before a large body is waited for.
func TestCredentialsComeBeforeTheBody(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, httpapi.Limits{ContentWrites: 1}, nil)
	for _, want := range []struct {
		token  string
		status int
	}{{"kha_nonsense", 401}, {s.tokens[ada], 0}, {s.tokens[ada], 429}} {
		conn := s.upload(t, "POST /api/contents/", "203.0.113.1", want.token, 1<<20, "{")
		if want.status == 0 { // it is waited for
			testutil.Eventually(t, 30*time.Second, "it is waited for", func() bool {
				return s.app.Handler().(*httpapi.API).Reading() == 1
			})
			continue
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want.status {
			t.Errorf("%s, want %d", resp.Status, want.status)
		}
	}
}
