package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// pagesOf serves what a process with this role serves.
func pagesOf(t *testing.T, role string) http.Handler {
	t.Helper()
	s := settings{data: filepath.Join(t.TempDir(), "pages.db"), role: role, recalculate: "@every 30s", limits: "off"}
	b, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return routes(b, role != "worker", b.app.Ready)
}

func ask(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestPages(t *testing.T) {
	t.Parallel()
	all, worker := pagesOf(t, "all"), pagesOf(t, "worker")
	const bare = "default-src 'none'; frame-ancestors 'none'"
	for _, c := range []struct {
		h            http.Handler
		method, path string
		status       int
		media, csp   string
	}{
		{all, "GET", "/", 200, "text/html; charset=utf-8", pagePolicy},
		{all, "HEAD", "/", 200, "text/html; charset=utf-8", pagePolicy},
		{all, "GET", "/demo/", 200, "text/html; charset=utf-8", pagePolicy},
		{all, "GET", "/static/base.css", 200, "text/css; charset=utf-8", pagePolicy},
		{all, "GET", "/static/demo.js", 200, "text/javascript; charset=utf-8", pagePolicy},
		{all, "GET", "/static/favicon.svg", 200, "image/svg+xml", pagePolicy},
		{all, "GET", "/favicon.ico", 200, "image/svg+xml", pagePolicy},
		{all, "GET", "/livez", 200, "text/plain; charset=utf-8", bare},
		{all, "GET", "/api/contents/", 200, "application/json", bare},
		{all, "GET", "/demo/nothing", 404, "application/problem+json", bare},
		{all, "GET", "/demo/index.html", 404, "application/problem+json", bare},
		{all, "GET", "/static/", 404, "application/problem+json", bare},
		{all, "GET", "/static/nothing.css", 404, "application/problem+json", bare},
		{all, "GET", "/static/..%2fhome.html", 404, "application/problem+json", bare},
		{all, "GET", "/static/..%2f..%2fpages.go", 404, "application/problem+json", bare},
		{all, "GET", "/nothing", 404, "application/problem+json", bare},
		{all, "GET", "/api", 404, "application/problem+json", bare},
		// which the API takes from hosts that strip the prefix
		{all, "GET", "/contents/", 404, "application/problem+json", bare},
		{all, "GET", "/contents", 404, "application/problem+json", bare},
		{all, "POST", "/users/login/", 404, "application/problem+json", bare},
		{all, "OPTIONS", "/ratings/", 404, "application/problem+json", bare},
		{all, "GET", "/docs/", 404, "application/problem+json", bare},
		{all, "GET", "/%61pi/contents/", 404, "application/problem+json", bare},
		{all, "GET", "/api%2fcontents/", 404, "application/problem+json", bare},
		{all, "GET", "/" + strings.Repeat("a", 8<<10), 414, "application/problem+json", bare},
		{all, "GET", "//api/contents/", 404, "application/problem+json", bare},
		{all, "GET", "/api/contents/../", 404, "application/problem+json", bare},
		{all, "POST", "/api//contents/", 404, "application/problem+json", bare},
		{all, "POST", "/livez", 405, "application/problem+json", bare},
		{all, "OPTIONS", "/readyz", 204, "", bare},
		{all, "HEAD", "/readyz", 200, "text/plain; charset=utf-8", bare},
		{all, "POST", "/", 405, "application/problem+json", bare},
		{all, "POST", "/demo/", 405, "application/problem+json", bare},
		{all, "DELETE", "/static/base.css", 405, "application/problem+json", bare},
		{all, "TRACE", "/favicon.ico", 405, "application/problem+json", bare},
		{all, "OPTIONS", "/", 204, "", bare},
		{all, "OPTIONS", "/demo/", 204, "", bare},
		{all, "OPTIONS", "/static/demo.js", 204, "", bare},
		{all, "POST", "/demo", 405, "application/problem+json", bare},
		{all, "POST", "/static/nothing.css", 404, "application/problem+json", bare},
		{all, "GET", "//", 404, "application/problem+json", bare},
		{all, "GET", "//livez", 404, "application/problem+json", bare},
		{all, "GET", "/./livez", 404, "application/problem+json", bare},
		{all, "GET", "/static/../livez", 404, "application/problem+json", bare},
		{all, "GET", "/static//base.css", 404, "application/problem+json", bare},
		{all, "GET", "/static%2fbase.css", 404, "application/problem+json", bare},
		{all, "GET", "/demo//", 404, "application/problem+json", bare},
		{worker, "GET", "/", 200, "text/html; charset=utf-8", pagePolicy},
		{worker, "POST", "/", 405, "application/problem+json", bare},
		{worker, "GET", "/demo", 404, "application/problem+json", bare},
		{worker, "GET", "/demo/", 404, "application/problem+json", bare},
		{worker, "GET", "/api/contents/", 404, "application/problem+json", bare},
	} {
		got := ask(c.h, c.method, c.path, "X-Request-Id", "pages-1")
		if got.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got.StatusCode, c.status)
		}
		for name, want := range map[string]string{"Content-Type": c.media, "Content-Security-Policy": c.csp,
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Request-Id": "pages-1"} {
			if is := got.Header.Get(name); is != want {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.path, name, is, want)
			}
		}
		if allow := got.Header.Get("Allow"); (c.status == 405 || c.status == 204) != (allow == "GET, HEAD, OPTIONS") {
			t.Errorf("%s %s: Allow is %q", c.method, c.path, allow)
		}
	}
}

// The demo without its slash is the one place that leads to another.
func TestDemoWithoutItsSlash(t *testing.T) {
	t.Parallel()
	h := pagesOf(t, "all")
	for _, method := range []string{"GET", "HEAD"} {
		got := ask(h, method, "/demo", "X-Request-Id", "demo-1")
		if got.StatusCode != http.StatusTemporaryRedirect || got.Header.Get("Location") != "/demo/" ||
			got.Header.Get("X-Request-Id") != "demo-1" {
			t.Errorf("%s: %d %v", method, got.StatusCode, got.Header)
		}
	}
}

// What is nowhere is told of with the path that was asked for, and with the headers of the API.
func TestNowhere(t *testing.T) {
	t.Parallel()
	h := pagesOf(t, "all")
	for _, path := range []string{"/nothing", "/users/me/?fields=id", "/%61pi/contents/"} {
		got := ask(h, "GET", path, "X-Request-Id", "nowhere-1")
		var p struct {
			Code, Instance string
			RequestID      string `json:"request_id"`
		}
		if err := json.NewDecoder(got.Body).Decode(&p); err != nil {
			t.Fatal(err)
		}
		if want, _, _ := strings.Cut(path, "?"); p.Code != "not_found" || p.Instance != want || p.RequestID != "nowhere-1" {
			t.Errorf("%s: %+v", path, p)
		}
		if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Vary") == "" {
			t.Errorf("%s: %v", path, got.Header)
		}
	}
}

// Browsers keep what they have as long as it is the same.
func TestPagesAreKept(t *testing.T) {
	t.Parallel()
	h := pagesOf(t, "api")
	tags := map[string]string{}
	for _, path := range []string{"/demo/", "/static/base.css", "/static/demo.js", "/static/favicon.svg"} {
		got := ask(h, "GET", path)
		tag := got.Header.Get("ETag")
		if !regexp.MustCompile(`^"[0-9a-f]{16}"$`).MatchString(tag) ||
			got.Header.Get("Cache-Control") != "public, max-age=0, must-revalidate" {
			t.Errorf("%s: ETag %s, Cache-Control %s", path, tag, got.Header.Get("Cache-Control"))
		}
		if other, taken := tags[tag]; taken {
			t.Errorf("%s and %s have the same ETag", path, other)
		}
		tags[tag] = path
		if again := ask(h, "GET", path, "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.StatusCode)
		}
		if changed := ask(h, "GET", path, "If-None-Match", `"other"`); changed.StatusCode != http.StatusOK {
			t.Errorf("%s changed: %d", path, changed.StatusCode)
		}
	}
}

func TestHomeSaysWhatRunsHere(t *testing.T) {
	t.Parallel()
	for role, says := range map[string][]string{
		"all": {"<dd>SQLite</dd>", "serves requests, stores ratings", `href="/demo/"`, `href="/api/docs/"`,
			`href="/api/schema/"`, `href="/api/contents/"`, `href="/readyz"`, version()},
		"api":    {"others store ratings", `href="/demo/"`},
		"worker": {"others serve requests", `href="/readyz"`},
	} {
		body, err := io.ReadAll(ask(pagesOf(t, role), "GET", "/").Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range says {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s does not say %q", role, want)
			}
		}
		if role == "worker" && (strings.Contains(string(body), "/api/") || strings.Contains(string(body), "/demo/")) {
			t.Error("a worker links to an API that it does not serve")
		}
	}
}

// I9: everybody may read what runs here, so it tells neither where on the machine anything is, nor
// what it was built with.
func TestHomeRevealsNothingOfTheMachine(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for want, s := range map[string]settings{
		"SQLite": {},
		"SQLite, PostgreSQL, Redis": {postgres: "postgres://someone:secret-word@db.example/data?sslmode=disable",
			redis: "redis://:secret-word@cache.example"},
	} {
		s.data, s.role, s.recalculate, s.limits = filepath.Join(folder, "where.db"), "api", "@every 30s", "off"
		b, err := open(s)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(ask(routes(b, true, b.app.Ready), "GET", "/").Body)
		if err = errors.Join(err, b.close()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), "<dd>"+want+"</dd>") {
			t.Errorf("it does not say %s", want)
		}
		for _, inside := range []string{folder, "where.db", "secret-word", "someone", ".example", runtime.Version(),
			runtime.GOOS, runtime.GOARCH} {
			if strings.Contains(string(body), inside) {
				t.Errorf("with %s it tells %q", want, inside)
			}
		}
	}
}

// What the policy would refuse is not there in the first place: no inline script or style, nothing
// from elsewhere. And stored text can only become text: nothing makes markup of a string.
func TestPagesNeedNoException(t *testing.T) {
	t.Parallel()
	forbidden := map[string]*regexp.Regexp{
		"an inline script":  regexp.MustCompile(`<script(?:[^>]*>\s*[^\s<]|>)`),
		"an inline style":   regexp.MustCompile(`<style|\sstyle=`),
		"an inline handler": regexp.MustCompile(`\son[a-z]+=["']`),
		"markup from a string": regexp.MustCompile(
			`innerHTML|outerHTML|insertAdjacentHTML|document\.write|parseFromString|setHTML|eval\(|new Function`),
		"storage":        regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie`),
		"another origin": regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}/?`),
	}
	err := fs.WalkDir(embedded, "pages", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(body), "http://www.w3.org/2000/svg", "") // a name, not an address
		for what, pattern := range forbidden {
			if found := pattern.FindString(text); found != "" {
				t.Errorf("%s has %s: %s", path, what, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
