package httpapi_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// standing is a clock that moves only when a test moves it.
type standing struct {
	start time.Time
	ahead atomic.Int64
}

func (c *standing) Now() time.Time          { return c.start.Add(time.Duration(c.ahead.Load())) }
func (c *standing) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// limited starts a server with limits, whose clock stands. Requests come from 127.0.0.1, or from
// where a header says.
func limited(t *testing.T, limits httpapi.Limits, config func(*khodnevis.Config)) (*server, *standing) {
	t.Helper()
	now := &standing{start: time.Now()}
	limits.RequestTimeout = time.Minute // beside all other tests, a request may take long
	return serve(t, setup{config: func(c *khodnevis.Config) {
		c.Now, c.Limits, c.TrustedProxies = now.Now, limits, prefixes("127.0.0.1/32")
		if config != nil {
			config(c)
		}
	}}), now
}

// rates is a rating by somebody at an address.
func rates(as, contentID, ip string) request {
	return request{method: "POST", path: "ratings/", as: as, body: fmt.Sprintf(`{"content":%q,"score":3}`, contentID),
		header: map[string]string{"X-Forwarded-For": ip}}
}

// repeat sends a request n times and wants the same answer each time.
func (s *server) repeat(t *testing.T, n int, r request, status int) (last answer) {
	t.Helper()
	for i := range n {
		if last = s.do(t, r); last.status != status {
			t.Fatalf("%s %s as %q, the %d. time: %s, want %d", r.method, r.path, r.as, i+1, last, status)
		}
	}
	return last
}

var (
	policyHeader = regexp.MustCompile(`^"[a-z-]+";q=[1-9]\d*;w=60$`)
	limitHeader  = regexp.MustCompile(`^"[a-z-]+";r=\d+;t=([1-9]|[1-5]\d|60)$`)
)

// wantLimit checks what an answer tells of its quota.
func wantLimit(t *testing.T, a answer, policy, limit string) {
	t.Helper()
	if p, l := a.header.Get("RateLimit-Policy"), a.header.Get("RateLimit"); p != policy || l != limit ||
		!policyHeader.MatchString(p) || !limitHeader.MatchString(l) {
		t.Errorf("RateLimit-Policy: %s\nRateLimit: %s\nwant\n%s\n%s", p, l, policy, limit)
	}
}

// L2: 60 ratings a minute; the 61st is refused until the minute is over, and neither a neighbour
// nor another kind of request is.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	s, now := limited(t, httpapi.Limits{}, nil)
	id := s.write(t, "Stalker")
	first := s.do(t, rates(ada, id, "203.0.113.1"))
	wantLimit(t, first, `"rating-user";q=60;w=60`, `"rating-user";r=59;t=60`)
	now.Advance(20*time.Second + time.Millisecond)
	wantLimit(t, s.repeat(t, 59, rates(ada, id, "203.0.113.1"), 202), `"rating-user";q=60;w=60`,
		`"rating-user";r=0;t=40`)
	refused := s.repeat(t, 3, rates(ada, id, "203.0.113.1"), 429)
	wantLimit(t, refused, `"rating-user";q=60;w=60`, `"rating-user";r=0;t=40`)
	if got := refused.header.Get("Retry-After"); got != "40" || refused.problem() != "throttled" {
		t.Errorf("%s with Retry-After %s", refused, got)
	}
	s.repeat(t, 1, rates(ada, id, "198.51.100.1"), 429) // wherever the same user goes
	s.repeat(t, 1, request{method: "PUT", path: "contents/" + id + "/rating/", as: ada, body: `{"score":3}`}, 429)
	s.repeat(t, 1, request{method: "DELETE", path: "ratings/" + id + ":" + s.ids[ada] + "/", as: ada}, 429)

	wantLimit(t, s.repeat(t, 1, rates(ben, id, "203.0.113.2"), 202), `"rating-user";q=60;w=60`,
		`"rating-user";r=59;t=60`)
	wantLimit(t, s.repeat(t, 1, request{path: "contents/" + id + "/", as: ada}, 200), `"read-user";q=600;w=60`,
		`"read-user";r=599;t=60`)
	s.repeat(t, 30, request{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`}, 201)
	wantLimit(t, s.repeat(t, 1, request{method: "POST", path: "contents/", as: ada, body: `{"title":"t"}`}, 429),
		`"content-user";q=30;w=60`, `"content-user";r=0;t=60`)
	wantLimit(t, s.repeat(t, 600, request{path: "contents/" + id + "/"}, 200), `"read-anonymous";q=600;w=60`,
		`"read-anonymous";r=0;t=60`)
	s.repeat(t, 1, request{path: "contents/" + id + "/"}, 429)
	s.repeat(t, 1, request{path: "contents/" + id + "/", as: ben}, 200) // at the same address

	now.Advance(40 * time.Second)
	s.repeat(t, 1, rates(ada, id, "203.0.113.1"), 202)
}

// L2: every route has a limit, and tells it whether it answers well or not.
func TestEveryRouteIsLimited(t *testing.T) {
	t.Parallel()
	all, _ := limited(t, httpapi.Limits{}, nil)
	for path, methods := range all.app.Handler().(*httpapi.API).Routes() {
		for _, method := range methods {
			one := httpapi.Limits{RatingWrites: 1, ContentWrites: 1, Reads: 1, Logins: 1, PrefixFactor: 1}
			s, _ := limited(t, one, nil)
			r := request{method: method, path: strings.ReplaceAll(strings.TrimPrefix(path, "/"), ":id", "x"), as: ada}
			for n, a := range []answer{s.do(t, r), s.do(t, r)} {
				if (a.status == 429) != (n == 1) || a.header.Get("RateLimit") == "" || a.header.Get("RateLimit-Policy") == "" {
					t.Errorf("%s %s, the %d. time: %s\n%v", method, path, n+1, a, a.header)
				}
			}
		}
	}
}

// L2: an IP prefix has some times what a user has, whoever its users are and whether or not their
// credentials are good.
func TestRateLimitOfAPrefix(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, httpapi.Limits{RatingWrites: 3, Reads: 2, PrefixFactor: 2}, nil)
	id := s.write(t, "Stalker")
	s.repeat(t, 3, rates(ada, id, "203.0.113.1"), 202)
	s.repeat(t, 3, rates(ben, id, "203.0.113.200"), 202)
	wantLimit(t, s.repeat(t, 1, rates(sam, id, "203.0.113.99"), 429), `"rating-prefix";q=6;w=60`,
		`"rating-prefix";r=0;t=60`)
	s.repeat(t, 1, rates(sam, id, "203.0.114.1"), 202)
	s.repeat(t, 1, rates(sam, id, "2001:db8:0:1::1"), 202)

	at := func(ip, token string) request {
		return request{path: "contents/" + id + "/", header: map[string]string{"X-Forwarded-For": ip,
			"Authorization": token}}
	}
	s.repeat(t, 2, at("2001:db8:0:2::1", ""), 200)
	s.repeat(t, 1, at("2001:db8:0:2::2", ""), 429)
	s.repeat(t, 2, at("2001:db8:0:3::1", "Bearer kha_nonsense"), 401)
	s.repeat(t, 9, at("2001:db8:0:3::1", "Bearer kha_nonsense"), 429)
	s.repeat(t, 1, at("2001:db8:0:4::1", ""), 200)
}

// L2: of IPv6 addresses a /48 has four times what a /64 has, of whatever an IP prefix has so much.
// IPv4 addresses that are mapped into IPv6 are those of IPv4.
func TestRateLimitOfASite(t *testing.T) {
	t.Parallel()
	s, now := limited(t, httpapi.Limits{RatingWrites: 2, Reads: 2, Logins: 2, ContentRatings: 1, PrefixFactor: 1}, nil)
	id := s.write(t, "Stalker")
	at := func(network int) string { return fmt.Sprintf("2001:db8:0:%x::1", network) }
	from := func(ip string, r request) request {
		r.header = map[string]string{"X-Forwarded-For": ip}
		return r
	}
	read := request{path: "contents/" + id + "/"}
	login := request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"wrong password"}`}
	for n := range 4 {
		s.repeat(t, 2, from(at(n), read), 200)
		s.repeat(t, 2, from(at(n), login), 401)
		s.repeat(t, 1, rates([]string{ada, ben}[n/2], id, at(n)), 202)
	}
	refused := func(r request, name string, limit int) {
		t.Helper()
		wantLimit(t, s.repeat(t, 1, r, 429), fmt.Sprintf("%q;q=%d;w=60", name, limit), fmt.Sprintf("%q;r=0;t=60", name))
	}
	refused(from(at(0), read), "read-anonymous", 2)
	refused(from(at(4), read), "read-anonymous-site", 8)
	refused(from(at(4), login), "login-site", 8)
	refused(rates(sam, id, at(4)), "rating-content-site", 4)
	s.repeat(t, 1, rates(sam, id, "2001:db8:1:4::1"), 202)
	s.repeat(t, 1, from("2001:db8:1:4::1", read), 200)

	s.repeat(t, 1, from("203.0.113.1", read), 200)
	s.repeat(t, 1, from("::ffff:203.0.113.2", read), 200)
	s.repeat(t, 1, from("::ffff:203.0.113.3", read), 429)
	s.repeat(t, 1, from("::ffff:203.0.114.3", read), 200)

	now.Advance(time.Minute)
	wrong := request{path: "contents/" + id + "/", header: map[string]string{"Authorization": "Bearer kha_nonsense"}}
	for n := range 4 {
		wrong.header["X-Forwarded-For"] = at(n)
		s.repeat(t, 2, wrong, 401)
	}
	wrong.header["X-Forwarded-For"] = at(4)
	refused(wrong, "read-denied-site", 8)
}

// L2: what neighbours read, as nobody, signs nobody out: tokens are refreshed, people log in and
// register, and a token that has ended is called that.
func TestReadsSignNobodyOut(t *testing.T) {
	t.Parallel()
	s, now := limited(t, httpapi.Limits{}, nil)
	office := func(r request) request {
		r.header = map[string]string{"X-Forwarded-For": "203.0.113.1"}
		return r
	}
	post := func(path, body string) request { return office(request{method: "POST", path: path, body: body}) }
	login := post("users/login/", `{"username":"ada","password":"`+password+`"}`)
	refresh := func(session answer) request {
		return post("users/token/refresh/", fmt.Sprintf(`{"refresh":%q}`, session.at(t, "refresh")))
	}
	session := s.do(t, login)
	wantLimit(t, session, `"login";q=60;w=60`, `"login";r=59;t=60`)
	s.repeat(t, 600, office(request{path: "contents/"}), 200)
	s.repeat(t, 1, office(request{path: "contents/"}), 429)
	s.repeat(t, 600, post("users/logout/", ""), 429)

	session = s.repeat(t, 1, refresh(session), 200)
	wantLimit(t, session, `"refresh";q=60;w=60`, `"refresh";r=59;t=60`)
	wantLimit(t, s.repeat(t, 1, login, 200), `"login";q=60;w=60`, `"login";r=58;t=60`)
	s.repeat(t, 1, post("users/", `{"username":"forough","password":"`+password+`"}`), 201)
	ended := office(request{path: "contents/"})
	ended.header["Authorization"] = "Bearer kha_nonsense"
	wantLimit(t, s.repeat(t, 1, ended, 401), `"read-denied";q=600;w=60`, `"read-denied";r=599;t=60`)

	// Logins and registrations are counted together, refreshes by session.
	s.repeat(t, 57, login, 200)
	wantLimit(t, s.repeat(t, 1, login, 429), `"login";q=60;w=60`, `"login";r=0;t=60`)
	s.repeat(t, 1, post("users/", `{}`), 429)
	other := s.do(t, request{method: "POST", path: "users/login/", body: login.body})
	for range 59 {
		session = s.repeat(t, 1, refresh(session), 200)
	}
	wantLimit(t, s.repeat(t, 1, refresh(session), 429), `"refresh";q=60;w=60`, `"refresh";r=0;t=60`)
	s.repeat(t, 1, refresh(other), 200)
	now.Advance(time.Minute)
	s.repeat(t, 1, refresh(session), 200)
	s.repeat(t, 1, login, 200)
}

// L2: refresh tokens that are made up take nothing from sessions, and are looked for so often and
// no more; what is none is counted as a login.
func TestWrongRefreshTokensAreBounded(t *testing.T) {
	t.Parallel()
	s, now := limited(t, httpapi.Limits{Reads: 5, PrefixFactor: 4, Logins: 7}, nil)
	login := `{"username":"ada","password":"` + password + `"}`
	session := s.do(t, request{method: "POST", path: "users/login/", body: login})
	refresh := func(token string) request {
		return request{method: "POST", path: "users/token/refresh/", body: fmt.Sprintf(`{"refresh":%q}`, token)}
	}
	s.repeat(t, 3, refresh("junk"), 401)
	s.repeat(t, 2, request{method: "POST", path: "users/token/refresh/", body: `{`}, 400)
	wantLimit(t, s.repeat(t, 1, refresh(""), 401), `"login";q=7;w=60`, `"login";r=0;t=60`)
	s.repeat(t, 1, refresh("junk"), 429)
	for range 16 { // and four were not even formed like one
		s.repeat(t, 1, refresh(forgedRefresh(t)), 401)
	}
	s.repeat(t, 9, refresh(forgedRefresh(t)), 429)
	s.repeat(t, 1, request{path: "users/me/", as: ada}, 200)
	elsewhere := refresh(fmt.Sprint(session.at(t, "refresh")))
	elsewhere.header = map[string]string{"X-Forwarded-For": "203.0.114.1"}
	s.repeat(t, 1, elsewhere, 200)
	now.Advance(time.Minute)
	s.repeat(t, 1, refresh(forgedRefresh(t)), 401)
}

// forgedRefresh returns a refresh token that nobody was given.
func forgedRefresh(t *testing.T) string {
	t.Helper()
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	token := "khr_" + base64.RawURLEncoding.EncodeToString(random)
	return token + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(token)))
}

// L2: who is not signed in, or not rightly, takes nothing from neighbours who are, however often
// they ask.
func TestNetworksHaveAFairShare(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, httpapi.Limits{RatingWrites: 3, Reads: 3, PrefixFactor: 2}, nil)
	id := s.write(t, "Stalker")
	s.repeat(t, 3, rates(nobody, id, "203.0.113.1"), 401)
	s.repeat(t, 20, rates(nobody, id, "203.0.113.1"), 429)
	s.repeat(t, 3, rates(ada, id, "203.0.113.1"), 202)
	s.repeat(t, 3, request{path: "contents/" + id + "/", as: ada,
		header: map[string]string{"X-Forwarded-For": "203.0.113.1"}}, 200)
}

// L2: one IP prefix gives one content so many ratings, and another one others.
func TestRateLimitOfAContent(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, httpapi.Limits{ContentRatings: 2}, nil)
	one, other := s.write(t, "One"), s.write(t, "Other")
	s.repeat(t, 1, rates(ada, one, "203.0.113.1"), 202)
	put := request{method: "PUT", path: "contents/" + one + "/rating/", as: ben, body: `{"score":3}`,
		header: map[string]string{"X-Forwarded-For": "203.0.113.2"}}
	s.repeat(t, 1, put, 201)
	wantLimit(t, s.repeat(t, 1, rates(sam, one, "203.0.113.3"), 429), `"rating-content";q=2;w=60`,
		`"rating-content";r=0;t=60`)
	s.repeat(t, 1, put, 429)
	s.repeat(t, 1, rates(sam, other, "203.0.113.3"), 202)
	s.repeat(t, 1, rates(sam, one, "198.51.100.1"), 202)
}

// brokenCounter is a cache that does not count.
type brokenCounter struct {
	cache.Cache
	mu    sync.Mutex
	err   error // nil: it is silent
	asked int
}

func (c *brokenCounter) Add(ctx context.Context, _ string, _ int64, _ time.Duration) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.err != nil {
		return 0, c.err
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

// A14: without a cache that counts, and while it is down or silent, the process counts. It is never
// unlimited.
func TestLimitsWithoutCache(t *testing.T) {
	t.Parallel()
	plain := lrucache.New(lrucache.Config{})
	for name, c := range map[string]cache.Cache{
		"it cannot count": struct{ cache.Cache }{plain},
		"it is down":      &brokenCounter{Cache: plain, err: errors.New("connection refused")},
		"it is silent":    &brokenCounter{Cache: plain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &testutil.Log{}
			s, now := limited(t, httpapi.Limits{RatingWrites: 5}, func(cfg *khodnevis.Config) {
				cfg.Cache, cfg.Logger = c, slog.New(slog.NewTextHandler(log, nil))
			})
			id := s.write(t, "Stalker")
			for range 2 {
				s.repeat(t, 5, rates(ada, id, "203.0.113.1"), 202)
				s.repeat(t, 3, rates(ada, id, "203.0.113.1"), 429)
				now.Advance(time.Minute)
			}
			broken, ok := c.(*brokenCounter)
			if !ok {
				return
			}
			if n := strings.Count(log.String(), "httpapi.throttle_local"); n != 1 {
				t.Errorf("it is told %d times that the cache does not count", n)
			}
			// Once by logins and once by requests, in each of two periods.
			if broken.asked > 2*2 {
				t.Errorf("a cache that does not count was asked %d times", broken.asked)
			}
		})
	}
}

// L2: processes with one cache share their counts.
func TestLimitsAreShared(t *testing.T) {
	t.Parallel()
	shared := lrucache.New(lrucache.Config{})
	one, now := limited(t, httpapi.Limits{Reads: 6}, func(c *khodnevis.Config) { c.Cache = shared })
	other := serve(t, setup{beside: one, config: func(c *khodnevis.Config) {
		c.Cache, c.Now, c.Limits = shared, now.Now, httpapi.Limits{Reads: 6, RequestTimeout: time.Minute}
	}})
	list := request{path: "contents/"}
	one.repeat(t, 3, list, 200)
	other.repeat(t, 3, list, 200)
	one.repeat(t, 1, list, 429)
	other.repeat(t, 1, list, 429)
}

// Without limits nothing is counted or told, and the log says so.
func TestLimitsOff(t *testing.T) {
	t.Parallel()
	log := &testutil.Log{}
	s, _ := limited(t, httpapi.Limits{Off: true, Reads: 1},
		func(c *khodnevis.Config) { c.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	if a := s.repeat(t, 5, request{path: "contents/"}, 200); a.header.Get("RateLimit") != "" {
		t.Errorf("RateLimit: %s", a.header.Get("RateLimit"))
	}
	if !strings.Contains(log.String(), "level=WARN msg=\"httpapi: rate limits are off\"") {
		t.Errorf("logged: %s", log)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	t.Parallel()
	_, err := khodnevis.New(khodnevis.Config{Limits: httpapi.Limits{
		RatingWrites: -1, ContentWrites: -1, Reads: -1, Logins: -1, ContentRatings: -1, PrefixFactor: -1,
	}})
	names := []string{"RatingWrites", "ContentWrites", "Reads", "Logins", "ContentRatings", "PrefixFactor"}
	for _, name := range names {
		if err == nil || !strings.Contains(err.Error(), "Limits."+name+" is -1") {
			t.Errorf("%v does not mention %s", err, name)
		}
	}
}

// What throttles of passwords refuse tells of no quota: those of requests are not used up.
func TestThrottlesHaveNoRateLimitHeaders(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, httpapi.Limits{}, func(c *khodnevis.Config) { c.Auth.LimitsOff = false })
	login := request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"the wrong one"}`}
	for range 20 {
		a := s.do(t, login)
		quota := a.header.Values("RateLimit")
		if a.status == 429 {
			if len(quota) > 0 || len(a.header.Values("RateLimit-Policy")) > 0 || a.header.Get("Retry-After") == "" {
				t.Errorf("refused with %v", a.header)
			}
			return
		}
		if a.status != 401 || len(quota) != 1 {
			t.Fatalf("a wrong password: %s, RateLimit %v", a, quota)
		}
	}
	t.Error("nothing was refused")
}

// askedUsers counts how often it is asked, and knows nobody.
type askedUsers struct {
	n atomic.Int64
}

func (a *askedUsers) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	if r.Header.Get("Authorization") == "" {
		return auth.Principal{}, auth.ErrNoCredentials
	}
	a.n.Add(1)
	return auth.Principal{}, auth.ErrInvalidCredentials
}

// L2: wrong credentials are checked as often as an IP prefix may ask at all, and no more.
func TestWrongCredentialsAreBounded(t *testing.T) {
	t.Parallel()
	users := &askedUsers{}
	s, now := limited(t, httpapi.Limits{Reads: 5, PrefixFactor: 4},
		func(c *khodnevis.Config) { c.Authenticator = users })
	wrong := request{path: "ratings/", header: map[string]string{"X-Forwarded-For": "203.0.113.1",
		"Authorization": "wrong"}}
	for range 100 {
		s.do(t, wrong)
	}
	if n := users.n.Load(); n != 20 {
		t.Errorf("%d were checked, want 20", n)
	}
	for n := range 500 { // of one /48, which has four times as much
		header := map[string]string{"X-Forwarded-For": fmt.Sprintf("2001:db8:0:%x::1", n%5), "Authorization": "wrong"}
		s.do(t, request{path: "ratings/", header: header})
	}
	if n := users.n.Load(); n != 20+80 {
		t.Errorf("%d were checked, want 80 more", n)
	}
	s.repeat(t, 1, request{path: "ratings/", header: map[string]string{"X-Forwarded-For": "203.0.114.1"}}, 200)
	now.Advance(time.Minute)
	s.repeat(t, 1, wrong, 401)
}
