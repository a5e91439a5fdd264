package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/authtest"
)

// The whole test of a host's authenticator is the suite.
func TestAuthenticator(t *testing.T) {
	t.Parallel()
	authtest.Run(t, func(t *testing.T) authtest.Host {
		now := time.Now()
		s := newSite(func() time.Time { return now })
		s.cost = bcrypt.MinCost
		sign := func(name string, moderator bool) func(*http.Request) {
			if err := s.add(name, "a password", moderator); err != nil {
				t.Fatal(err)
			}
			cookie, ok := s.begin(name, "a password")
			if !ok {
				t.Fatalf("%s cannot sign in", name)
			}
			return func(r *http.Request) { r.AddCookie(cookie) }
		}
		ended := sign("eve", false)
		now = now.Add(sessionFor)
		ana, ben := sign("ana", false), sign("ben", true)
		return authtest.Host{
			Authenticator: s,
			Users: []authtest.User{{Principal: auth.Principal{Subject: "2"}, Sign: ana},
				{Principal: auth.Principal{Subject: "3", Staff: true}, Sign: ben}},
			Wrong: map[string]func(*http.Request){
				"a session that ended": ended,
				"two sessions":         func(r *http.Request) { ana(r); ben(r) },
			},
		}
	}, authtest.Config{})
}

// browser does what browsers do: it keeps cookies and says where a request comes from.
type browser struct {
	t    *testing.T
	site string
	http *http.Client
}

// open starts the site and a browser on it.
func open(t *testing.T) *browser {
	t.Helper()
	s := newSite(time.Now)
	s.cost = bcrypt.MinCost
	handler, app, err := newHandler(s)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewTLSServer(handler)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := app.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { web.Close(); stop(); running.Wait() })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := web.Client()
	client.Jar = jar
	return &browser{t, web.URL, client}
}

// send sends a request as a page of an origin makes the browser do, and returns the status, the
// JSON object that came back, if it is one, and the header. The browser adds its cookies
// whatever the origin is.
func (b *browser) send(origin, method, path, mediaType, body string) (int, map[string]any, http.Header) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.site+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	from := "same-origin"
	if origin != b.site {
		from = "cross-site"
	}
	r.Header.Set("Sec-Fetch-Site", from)
	r.Header.Set("Origin", origin)
	if body != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	var object map[string]any
	_ = json.Unmarshal(raw, &object) // pages are none
	return resp.StatusCode, object, resp.Header
}

// api calls the API from a page of the site.
func (b *browser) api(method, path, body string) (int, map[string]any, http.Header) {
	b.t.Helper()
	return b.send(b.site, method, "/blog/api/"+path, "application/json", body)
}

// post sends a form of the site.
func (b *browser) post(path, name, password string) int {
	b.t.Helper()
	form := url.Values{"name": {name}, "password": {password}}.Encode()
	status, _, _ := b.send(b.site, http.MethodPost, path, "application/x-www-form-urlencoded", form)
	return status
}

func TestSite(t *testing.T) {
	t.Parallel()
	b := open(t)
	if status, _, _ := b.api("POST", "contents/", `{"title":"Stalker"}`); status != 401 {
		t.Errorf("a stranger writes: %d", status)
	}
	if status := b.post("/join", "ana", "a password"); status != 200 {
		t.Fatalf("join: %d", status)
	}
	status, content, header := b.api("POST", "contents/", `{"title":"Stalker"}`)
	if status != 201 || content["author"] != "1" || !strings.HasPrefix(header.Get("Location"), "/blog/api/contents/") {
		t.Fatalf("write: %d %v, at %q", status, content, header.Get("Location"))
	}
	id := content["id"].(string)
	if status, rating, _ := b.api("PUT", "contents/"+id+"/rating/", `{"score":5}`); status != 201 ||
		rating["rater"] != "1" {
		t.Errorf("rate: %d %v", status, rating)
	}
	status, again, _ := b.send(b.site, http.MethodGet, header.Get("Location"), "", "")
	if status != 200 || again["ratings_count"] != 1.0 || again["average_score"] != 5.0 {
		t.Errorf("read: %d %v", status, again)
	}
	for _, path := range []string{"users/", "users/login/", "users/me/", "users/token/refresh/"} {
		if status, _, _ := b.api("POST", path, `{}`); status != 404 {
			t.Errorf("the module's own users are there: %s is %d", path, status)
		}
	}
}

// Another site that makes the browser send the cookie along changes nothing, and still may be
// linked from.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.post("/join", "ana", "a password")
	_, content, _ := b.api("POST", "contents/", `{"title":"Stalker"}`)
	one := "/blog/api/contents/" + content["id"].(string) + "/"
	const evil = "https://evil.example"
	for _, r := range []struct{ method, path, mediaType, body string }{
		{"POST", "/blog/api/contents/", "application/json", `{"title":"BUY"}`},
		{"POST", "/blog/api/contents/", "text/plain", `{"title":"BUY"}`},
		{"PATCH", one, "application/json", `{"title":"BUY"}`},
		{"PUT", one + "rating/", "application/json", `{"score":1}`},
		{"DELETE", one, "", ""},
		{"POST", "/logout", "", ""},
	} {
		if status, _, _ := b.send(evil, r.method, r.path, r.mediaType, r.body); status != 403 {
			t.Errorf("%s %s from another site: %d", r.method, r.path, status)
		}
	}
	status, list, header := b.send(evil, "GET", "/blog/api/contents/?count=exact", "", "")
	if status != 200 || list["count"] != 1.0 || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("read from another site: %d %v", status, list)
	}
	if status, kept, _ := b.send(b.site, "GET", one, "", ""); status != 200 || kept["title"] != "Stalker" ||
		kept["ratings_count"] != 0.0 {
		t.Errorf("after all that: %d %v", status, kept)
	}
	if status, _, _ := b.api("POST", "contents/", `{"title":"Mirror"}`); status != 201 {
		t.Errorf("still signed in: %d", status)
	}
}

// Sessions are the site's: they end with its logout, and a cookie that is kept from before is worth
// nothing.
func TestSessions(t *testing.T) {
	t.Parallel()
	b := open(t)
	if status := b.post("/login", "ana", "a password"); status != 403 {
		t.Errorf("an unknown user: %d", status)
	}
	b.post("/join", "ana", "a password")
	if status := b.post("/join", "ana", "another password"); status != 400 {
		t.Errorf("a taken name: %d", status)
	}
	site, err := url.Parse(b.site)
	if err != nil {
		t.Fatal(err)
	}
	stolen := b.http.Jar.Cookies(site)
	if status := b.post("/logout", "", ""); status != 200 || len(b.http.Jar.Cookies(site)) != 0 {
		t.Errorf("logout: %d", status)
	}
	if status, problem, _ := b.api("POST", "contents/", `{"title":"t"}`); status != 401 ||
		problem["code"] != "not_authenticated" {
		t.Errorf("signed out: %d %v", status, problem)
	}
	b.http.Jar.SetCookies(site, stolen)
	if status, problem, _ := b.api("POST", "contents/", `{"title":"t"}`); status != 401 ||
		problem["code"] != "invalid_token" {
		t.Errorf("with the old cookie: %d %v", status, problem)
	}
	if status := b.post("/login", "ana", "a passwort"); status != 403 {
		t.Errorf("a wrong password: %d", status)
	}
	if status := b.post("/login", "ana", "a password"); status != 200 {
		t.Errorf("login: %d", status)
	}
}
