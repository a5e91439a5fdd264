package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/store"
)

// inFlight returns how many requests a server answers right now.
func (s *server) inFlight() int { return s.app.Handler().(*httpapi.API).Stats().InFlight }

// slowLists is a store whose lists of contents say when they begin, and end when they are told to.
type slowLists struct {
	store.Store
	began, end chan struct{}
}

func (s slowLists) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	s.began <- struct{}{}
	<-s.end
	return s.Store.ListContents(ctx, q)
}

// L1: more requests than may be in flight are refused at once, of one IP prefix with 429 and of all
// with 503, and the next one after that is answered.
func TestTooManyInFlight(t *testing.T) {
	t.Parallel()
	log, slow := &testutil.Log{}, slowLists{began: make(chan struct{}), end: make(chan struct{})}
	s, _ := limited(t, httpapi.Limits{InFlight: 3, PrefixInFlight: 2}, func(c *khodnevis.Config) {
		slow.Store = c.Store.(store.Store)
		c.Store, c.Logger = slow, slog.New(slog.NewTextHandler(log, nil))
	})
	from := func(ip string) map[string]string { return map[string]string{"X-Forwarded-For": ip} }
	done := make(chan answer)
	hold := func(ip string) {
		go func() {
			a, err := s.send(t, request{path: "contents/", header: from(ip)})
			if err != nil {
				t.Error(err)
			}
			done <- a
		}()
		<-slow.began
	}
	hold("203.0.113.1")
	hold("203.0.113.2")
	if a := s.do(t, request{path: "ratings/", header: from("203.0.113.3")}); a.problem() != "throttled" ||
		a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("the third of a prefix: %s", a)
	}
	hold("203.0.114.1")
	for _, ip := range []string{"203.0.113.3", "203.0.114.1", "203.0.115.1"} {
		if a := s.do(t, request{path: "ratings/", header: from(ip), faulty: true}); a.status != 503 ||
			a.problem() != "unavailable" || strings.Contains(string(a.body), "outcome") {
			t.Errorf("one too many, from %s: %s", ip, a)
		}
	}
	a := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: `{}`, header: from("203.0.115.1"),
		faulty: true})
	if a.status != 503 || a.at(t, "outcome") != "not_accepted" {
		t.Errorf("a write that is one too many: %s", a)
	}
	close(slow.end)
	for range 3 {
		if a := <-done; a.status != 200 {
			t.Errorf("one in flight: %s", a)
		}
	}
	s.repeat(t, 1, request{path: "ratings/", header: from("203.0.113.1")}, 200)
	if n := strings.Count(log.String(), "too many requests at once"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// L1: of IPv6 addresses a /48 has four times the requests in flight that a /64 has.
func TestInFlightOfASite(t *testing.T) {
	t.Parallel()
	slow := slowLists{began: make(chan struct{}), end: make(chan struct{})}
	s, _ := limited(t, httpapi.Limits{InFlight: 100, PrefixInFlight: 1}, func(c *khodnevis.Config) {
		slow.Store = c.Store.(store.Store)
		c.Store = slow
	})
	list := func(site, network int) request {
		ip := fmt.Sprintf("2001:db8:%x:%x::1", site, network)
		return request{path: "contents/", header: map[string]string{"X-Forwarded-For": ip}}
	}
	var all sync.WaitGroup
	hold := func(r request) {
		all.Go(func() {
			if a, err := s.send(t, r); err != nil || a.status != 200 {
				t.Errorf("%s, %v", a, err)
			}
		})
		<-slow.began
	}
	hold(list(0, 0))
	s.repeat(t, 1, list(0, 0), 429)
	for network := 1; network < 4; network++ {
		hold(list(0, network))
	}
	s.repeat(t, 1, list(0, 4), 429)
	hold(list(1, 0))
	close(slow.end)
	all.Wait()
}

// I13: 200 clients from one place that send slowly, small bodies and large ones, keep nobody away.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	var entered atomic.Int64
	s := serve(t, setup{
		config: func(c *khodnevis.Config) { c.Limits = httpapi.Limits{PrefixInFlight: 50, Logins: 100} },
		mount: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { entered.Add(1); h.ServeHTTP(w, r) })
		},
	})
	for n := range 200 {
		size := 100
		if n%4 == 3 {
			size = 5000
		}
		target := []string{"users/login/", "ratings/", "users/logout/", "contents/"}[n%4]
		s.upload(t, "POST /api/"+target, "", s.tokens[[]string{ada, ben, sam}[n/4%3]], size, "{")
	}
	for range 100 {
		fmt.Fprint(s.dial(t), "GET /api/contents/ HTTP/1.1\r\nHo")
	}
	api := s.app.Handler().(*httpapi.API)
	testutil.Eventually(t, 30*time.Second, "all of them are waited for", func() bool {
		return entered.Load() == 200 && api.Reading() == 50 && s.inFlight() == 0
	})
	s.repeat(t, 1, request{path: "contents/"}, 200)
	s.repeat(t, 1, request{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`}, 201) // which hurries
}

// narrow is a listener whose connections hold little of what is sent.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return conn, err
}

// I13: clients that do not take their answers keep nobody away, as many as they are.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{config: func(c *khodnevis.Config) { c.Limits = httpapi.Limits{InFlight: 6, PrefixInFlight: 4} }})
	great, err := s.app.Contents.Create(t.Context(), s.ids[ada], content.Draft{Title: "t",
		Description: strings.Repeat("\U0001f600", 65_536)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(s.app.Handler())
	web.Listener = narrow{web.Listener}
	web.Start()
	t.Cleanup(web.Close)
	s.url = web.URL
	const clients = 20
	for range clients {
		conn := s.dial(t)
		if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /api/contents/%s/ HTTP/1.1\r\nHost: a\r\n\r\n", great.ID)
		if _, err := conn.Read(make([]byte, 1)); err != nil { // the answer has begun
			t.Fatal(err)
		}
	}
	if n := s.inFlight(); n != 0 {
		t.Errorf("%d requests are in flight whose answers wait for their clients", n)
	}
	s.repeat(t, clients, request{path: "contents/"}, 200)
}

// L1: waits take no place of those who are answered, and of one user there is a bound.
func TestWaitsAreNotInFlight(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) { c.Limits = httpapi.Limits{PrefixInFlight: 4} }})
	id := s.write(t, "Stalker")
	var all sync.WaitGroup
	ask := func() answer {
		a, err := s.send(t, request{method: "PUT", path: "contents/" + id + "/rating/", as: ben, body: `{"score":2}`,
			prefer: "wait=10"})
		if err != nil {
			t.Error(err)
		}
		return a
	}
	for n := range httpapi.WaitsOfUser {
		all.Go(func() {
			if a := ask(); a.status != 200 && a.status != 201 {
				t.Errorf("one that waits: %s", a)
			}
		})
		testutil.Eventually(t, 30*time.Second, "it waits", func() bool {
			return s.app.Ratings.Waiting() == n+1 && s.inFlight() == 0
		})
	}
	if a := ask(); a.status != 202 {
		t.Errorf("one wait too many: %s", a)
	}
	s.repeat(t, 1, request{path: "contents/"}, 200)
	s.work()
	all.Wait()
}

// I13: a client that does not take its answers is cut off.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{config: func(c *khodnevis.Config) { c.Limits.WriteTimeout = 200 * time.Millisecond }})
	great, err := s.app.Contents.Create(t.Context(), s.ids[ada], content.Draft{Title: "t",
		Description: strings.Repeat("\U0001f600", 65_536)})
	if err != nil {
		t.Fatal(err)
	}
	var closed atomic.Bool
	web := httptest.NewUnstartedServer(s.app.Handler())
	web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed.Store(true)
		}
	}
	web.Start()
	t.Cleanup(web.Close)
	s.url = web.URL
	conn := s.dial(t)
	const asked = 200 // more than fits between the two
	if _, err := io.WriteString(conn, strings.Repeat("GET /api/contents/"+great.ID+"/ HTTP/1.1\r\nHost: a\r\n\r\n",
		asked)); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 30*time.Second, "the connection is closed", closed.Load)
	r, answers := bufio.NewReader(conn), 0
	for ; answers < asked; answers++ {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			break
		}
	}
	if answers == asked {
		t.Error("all answers came")
	}
}

// deadlines notes what a handler asks of the connection.
type deadlines struct {
	*httptest.ResponseRecorder
	read  []time.Time
	write time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error  { d.read = append(d.read, at); return nil }
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = at; return nil }

// I13: in a host, requests have the deadlines that the host's server does not give them. A body has
// its own in any case, which are over when it is there.
func TestDeadlinesInAHost(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	const none, short, grace, own = time.Duration(0), time.Second, 5 * time.Second, 15 * time.Second
	const write = 30 * time.Second
	for _, x := range []struct {
		name   string
		server *http.Server
		body   bool
		read   []time.Duration
		write  time.Duration
	}{
		{"no server is known", nil, true, []time.Duration{own, grace, grace, none}, write},
		{"no body", &http.Server{}, false, nil, write},
		{"no timeouts", &http.Server{}, true, []time.Duration{own, grace, grace, none}, write},
		{"a long time to read", &http.Server{ReadTimeout: time.Hour}, true, []time.Duration{grace, grace, none}, write},
		{"a short time to read", &http.Server{ReadTimeout: short}, true, []time.Duration{short, short, none}, write},
		{"a time to write", &http.Server{WriteTimeout: time.Hour}, true, []time.Duration{own, grace, grace, none}, 0},
	} {
		var body io.Reader
		if x.body {
			body = strings.NewReader("{}")
		}
		r := httptest.NewRequest("POST", "/api/users/login/", body)
		if x.body {
			r.Header.Set("Content-Type", "application/json")
		}
		if x.server != nil {
			r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, x.server))
		}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		s.app.Handler().ServeHTTP(w, r)
		after := time.Now()
		within := func(got time.Time, want time.Duration) bool {
			if want == none {
				return got.IsZero()
			}
			// A byte of the body gives a millisecond more.
			return !got.Before(before.Add(want)) && !got.After(after.Add(want+2*time.Second/httpapi.LeastRate))
		}
		if !slices.EqualFunc(w.read, x.read, within) || !within(w.write, x.write) {
			t.Errorf("%s, at %v: the deadlines are %v and %v, want %v and %v from then",
				x.name, before, w.read, w.write, x.read, x.write)
		}
	}
}

// I13: after 5 s a body must have come at a least rate, and is given up after 15 s however it came.
func TestLeastRateOfABody(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	body := `{"title":"t","description":"` + strings.Repeat("a", 20_000) + `"}`
	r := httptest.NewRequest("POST", "/api/contents/", iotest.OneByteReader(strings.NewReader(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.tokens[ada])
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s.app.Handler().ServeHTTP(w, r)
	if w.Code != 201 || len(w.read) != len(body)+3 {
		t.Fatalf("%d %s with %d deadlines for %d bytes", w.Code, w.Body, len(w.read), len(body))
	}
	first := w.read[1] // the first is that of the request
	for n, at := range w.read[1 : len(w.read)-1] {
		want := min(httpapi.BodyGrace+time.Duration(n)*time.Second/httpapi.LeastRate, 15*time.Second)
		if got := at.Sub(first) + httpapi.BodyGrace; got != want {
			t.Fatalf("after %d bytes the next one may take until %v, want %v", n, got, want)
		}
	}
}
