package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating/task"
)

// signs are all that identifiers are made of.
const signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@|=+-"

// strangeUsers signs everybody in under the name in a header, as a host with users of its own may.
type strangeUsers struct{}

func (strangeUsers) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	name := r.Header.Get("X-User")
	if name == "" {
		return auth.Principal{}, auth.ErrNoCredentials
	}
	return auth.Principal{Subject: name, Staff: name == sam}, nil
}

// strangeContents has every content that was ever heard of but "none", as a host with contents of
// its own may.
type strangeContents struct{}

func (strangeContents) Rateable(_ context.Context, ids []string) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "none" }), nil
}

// TestStrangeIdentifiers takes identifiers with every legal sign through links, filters and
// cursors.
func TestStrangeIdentifiers(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) {
			c.Authenticator, c.RatedContents = strangeUsers{}, strangeContents{}
		}})
		as := func(name string) map[string]string { return map[string]string{"X-User": name} }
		var names []string
		for _, sign := range "_.@|=+-" {
			names = append(names, "a"+string(sign)+"b")
			if sign != '.' {
				names = append(names, string(sign))
			}
		}
		names = append(names, "...", ".a", "a.", "..a", signs, strings.Repeat("|", 128), "auth0|me@example.org=")
		const film = "tt=1|2+3@x"
		for _, name := range names {
			a := s.do(t, request{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":4}`, name),
				prefer: "wait=10", header: as(name)})
			if a.status != 201 || a.text(t, "id") != name+":"+name {
				t.Fatalf("rate %q: %s", name, a)
			}
			link := a.header.Get("Location")
			for _, path := range []string{link, strings.ReplaceAll(link, ":", "%3A"), "/api/ratings/" +
				everyByte(name+":"+name) + "/", strings.TrimSuffix(link, "/")} {
				if got := s.do(t, request{path: path}); got.status != 200 || got.text(t, "id") != name+":"+name {
					t.Errorf("%s: %s", path, got)
				}
			}
			if got := s.get(t, nobody, "contents/"+everyByte(name)+"/stats/"); got.text(t, "content") != name ||
				got.at(t, "ratings_count") != 1.0 {
				t.Errorf("stats of %q: %s", name, got)
			}
			for _, filter := range []string{"content", "rater"} {
				if got := s.get(t, nobody, "ratings/?"+url.Values{filter: {name}}.Encode()).list(t, "id"); len(got) != 1 ||
					got[0] != name+":"+name {
					t.Errorf("ratings with %s %q: %q", filter, name, got)
				}
			}
			s.do(t, request{method: "PUT", path: "contents/" + url.PathEscape(film) + "/rating/", body: `{"score":2}`,
				header: as(name), prefer: "wait=10"})
			task := s.do(t, request{method: "POST", path: "ratings/", body: fmt.Sprintf(`{"content":%q,"score":5}`, name),
				header: as(name)})
			if got := s.do(t, request{path: task.header.Get("Location"), header: as(name)}); got.status != 200 ||
				got.text(t, "id") != task.text(t, "task") {
				t.Errorf("the task of %q: %s", name, got)
			}
		}
		for _, ordering := range []string{"id", "updated_at", "-updated_at"} {
			seen := s.walk(t, nobody, "ratings/?page_size=7&ordering="+ordering+"&"+url.Values{"content": {film}}.Encode(),
				"rater")
			if len(seen) != len(names) {
				t.Errorf("ordered by %s, %d of %d raters are listed: %q", ordering, len(seen), len(names), seen)
			}
		}
	})
}

// everyByte escapes every byte.
func everyByte(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// walk follows next from path to the end and returns a member of all results.
func (s *server) walk(t *testing.T, as, path, member string) []string {
	t.Helper()
	var seen []string
	for range 1000 {
		a := s.get(t, as, path)
		if a.status != 200 {
			t.Fatalf("%s: %s", path, a)
		}
		seen = append(seen, a.list(t, member)...)
		next, ok := a.at(t, "next").(string)
		if link := a.header.Get("Link"); ok != (link != "") || ok && link != "<"+next+`>; rel="next"` {
			t.Errorf("next is %q and Link %q", next, link)
		}
		if !ok {
			return seen
		}
		path = next
	}
	t.Fatalf("%s has no end", path)
	return nil
}

// TestNoSuchPath asks for what cannot be an identifier.
const maxTaskID = task.MaxID

// A path is the same whether its letters are escaped or not, also where an outer middleware has set
// URL.Path alone, and the identifier of a task may have its whole length.
func TestEscapedPaths(t *testing.T) {
	s := serve(t, setup{})
	contentID := s.write(t, "escaped")
	for path, want := range map[string]int{
		"/api/%63ontents/": 200, "/api/content%73/" + contentID: 200, "/api/content%73/" + contentID + "/stats/": 200,
		"/api/%6eothing/": 404, "/api/content%2Fs/": 404,
	} {
		if a := s.do(t, request{path: path}); a.status != want {
			t.Errorf("%s: %s", path, a)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v9/contents/"+url.PathEscape(contentID)+"%7E/", nil)
	r.URL.Path = "/api/contents/" + contentID + "/"
	if s.app.Handler().ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("behind a rewrite: %d %s", w.Code, w.Body)
	}
}

func TestNoSuchPath(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	contentID := s.write(t, "A film")
	ratingID := s.rate(t, ada, contentID, 4)
	long := strings.Repeat("a", 129)
	for _, path := range []string{
		"", "contents", "..", "contents//", "contents/./", "contents/../", "contents/%2e/", "contents/%2e%2e/",
		"contents/..%2f/", "contents/a%2Fb/",
		"contents/a%2541/", "contents/1%00/", "contents/%00/", "contents/" + long + "/", "contents/" +
			strings.Repeat("a", 600) + "/", "contents/a b/",
		"contents/%20/", "contents/é/", "contents/%c3%a9/", "contents/%ff/", "contents/a;b/", "contents/a,b/",
		"contents/*/", "contents/:id/",
		"contents/a:b/", "contents/~/", "contents/none/", "contents/none/stats/", "contents/none/nonsense/", "contents/" +
			contentID + "/nonsense/",
		"contents/" + contentID + "/stats/nonsense/", "contents/" + contentID + "//stats/", "contents/" + contentID +
			"%2Fstats/", "contents/" + strings.ToUpper(contentID) + "X/",
		"ratings/none/", "ratings/:/", "ratings/" + contentID + ":/", "ratings/" + contentID + "/", "ratings/" + ratingID +
			":x/", "ratings/" + contentID + ":" + long + "/",
		"ratings/" + contentID + "::" + s.ids[ada] + "/", "ratings/" + contentID + "%253A" + s.ids[ada] +
			"/", "ratings/..:../", "ratings/" + contentID + ":../",
		"tasks/", "tasks/none/", "tasks/" + strings.Repeat("A", maxTaskID) + "/",
		"tasks/" + strings.Repeat("A", maxTaskID+1) + "/",
		"users/" + s.ids[ada] + "/", "users/me/nonsense/", "/", "/API/contents/", "/apicontents/", "/nowhere/contents/",
		"//api/contents/", "/api//contents/", "/%61pi/contents/",
	} {
		if path == "contents" { // the other form of the path, which is served
			continue
		}
		if a := s.do(t, request{path: path, as: ada}); a.status != 404 || a.problem() != "not_found" {
			t.Errorf("%q: %s", path, a)
		}
	}
	if a := s.do(t, request{path: "contents/?search=" + strings.Repeat("a", 9000)}); a.status != 414 ||
		a.problem() != "uri_too_long" {
		t.Errorf("a long query: %s", a)
	}
	if a := s.do(t, request{path: strings.Repeat("a/", 20_000)}); a.status != 414 || len(a.body) > 4<<10 {
		t.Errorf("a long path: %d with %d bytes", a.status, len(a.body))
	}
}

// dial connects to the server until the test ends.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// raw sends bytes and returns the answers to them.
func (s *server) raw(t *testing.T, text string, answers int) []*http.Response {
	t.Helper()
	conn := s.dial(t)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	var all []*http.Response
	from := bufio.NewReader(conn)
	for range answers {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatalf("%q: answer %d: %v", text, len(all)+1, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%q: answer %d: %v", text, len(all)+1, err)
		}
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		all = append(all, resp)
	}
	return all
}

// TestRawPaths sends what no client library would.
func TestRawPaths(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	for target, want := range map[string]int{
		"/api/contents/../contents/":         404,
		"/api/contents/%zz/":                 400, // by net/http
		"http://other.example/api/contents/": 200,
		"/api/contents/?":                    200,
		"/api/contents/?&&":                  200,
		"/api/contents/?a=%zz":               400,
		"/api/contents/?=1":                  400,
		"/api/contents/?page_size=1;b":       400,
		"/api/contents/?search=\xff":         400,
	} {
		resp := s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n", 1)[0]
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", target, resp.StatusCode, want)
		}
	}
}
