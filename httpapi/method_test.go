package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/httpapi"
)

// TestMethods tries every method on every path, with and without the slash at its end, under more
// than one prefix.
func TestMethods(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/api/", "/blog/v1.0/"} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			testMethods(t, prefix)
		})
	}
}

func testMethods(t *testing.T, prefix string) {
	s := serve(t, setup{config: func(c *khodnevis.Config) { c.Prefix = prefix }})
	all := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"}
	for path, methods := range s.app.Handler().(*httpapi.API).Routes() {
		allowed := append([]string{"OPTIONS"}, methods...)
		if slices.Contains(methods, "GET") {
			allowed = append(allowed, "HEAD")
		}
		slices.Sort(allowed)
		for _, method := range all {
			for _, path := range []string{path, strings.TrimSuffix(path, "/")} {
				path := strings.TrimSuffix(prefix, "/") + strings.ReplaceAll(path, ":id", "none")
				a := s.do(t, request{method: method, path: path})
				switch {
				case method == "OPTIONS":
					if a.status != 204 || a.header.Get("Allow") != strings.Join(allowed, ", ") {
						t.Errorf("OPTIONS %s: %s, Allow %q, want %q", path, a, a.header.Get("Allow"), allowed)
					}
				case !slices.Contains(allowed, method):
					if a.status != 405 || method != "HEAD" && a.problem() != "method_not_allowed" ||
						a.header.Get("Allow") != strings.Join(allowed, ", ") {
						t.Errorf("%s %s: %s, Allow %q, want %q", method, path, a, a.header.Get("Allow"), allowed)
					}
				default:
					if a.status == 405 || a.status >= 300 && a.status < 400 {
						t.Errorf("%s %s: %s", method, path, a)
					}
				}
			}
		}
	}
	a := s.do(t, request{method: strings.Repeat("X", 5000), path: "contents/"})
	if a.status != 405 || len(a.body) > 2<<10 {
		t.Errorf("a long method: %d with %d bytes", a.status, len(a.body))
	}
	if a := s.do(t, request{method: "OPTIONS", path: "nowhere/"}); a.status != 404 {
		t.Errorf("OPTIONS of nothing: %s", a)
	}
}

// TestHead checks that HEAD is GET without the body.
func TestHead(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		ratingID := s.rate(t, ada, contentID, 4)
		s.write(t, "Another film")
		s.fold(t, contentID) // nothing changes between the two requests
		for _, path := range []string{
			"contents/", "contents/?page_size=1", "contents/" + contentID + "/", "contents/" + contentID +
				"/stats/", "contents/" + contentID + "/rating/",
			"ratings/", "ratings/" + ratingID + "/", "users/me/", "users/me/sessions/", "users/", "contents/none/",
			"contents/?nonsense=1", "nowhere/",
		} {
			id := map[string]string{"X-Request-Id": "head.and_get-1"}
			get := s.do(t, request{path: path, as: ada, header: id})
			head := s.do(t, request{method: "HEAD", path: path, as: ada, header: id})
			for _, h := range []http.Header{get.header, head.header} {
				h.Del("Date")
			}
			if head.status != get.status || len(head.body) != 0 || !equalHeaders(head.header, get.header) {
				t.Errorf("%s:\nHEAD %d %v\nGET  %d %v", path, head.status, head.header, get.status, get.header)
			}
		}
	})
}

func equalHeaders(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}

// TestHeadersOfAMiddleware: what a middleware around the API has set is sent beside the values of the
// API, whatever the response is.
func TestHeadersOfAMiddleware(t *testing.T) {
	t.Parallel()
	outer := http.Header{
		"Vary": {"Origin", "X-Tenant"}, "Link": {"</style.css>; rel=preload"}, "Www-Authenticate": {"Negotiate"},
		"Ratelimit": {`"host";r=1;t=9`}, "Ratelimit-Policy": {`"host";q=5;w=9`}, "Set-Cookie": {"a=b", "c=d"},
		"Strict-Transport-Security":   {"max-age=9"},
		"Access-Control-Allow-Origin": {"https://example.org"}, "Server-Timing": {"proxy;dur=1"},
	}
	s := serve(t, setup{
		config: func(c *khodnevis.Config) { c.Limits, c.Auth.LimitsOff = httpapi.Limits{}, false },
		mount: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name, values := range outer {
					w.Header()[name] = slices.Clone(values)
				}
				h.ServeHTTP(w, r)
			})
		},
	})
	path := "contents/" + s.write(t, "A film") + "/"
	s.write(t, "Another film")
	wrong := request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"wrong password"}`}
	for range 5 {
		refused := wrong
		refused.refused = true
		if _, err := s.send(t, refused); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		request
		status int
		own    map[string]string // the API's own values
	}{
		{request{path: "contents/?page_size=1"}, 200, map[string]string{"Link": `rel="next"`, "Ratelimit": `"read-`}},
		{request{path: path, header: map[string]string{"If-None-Match": "*"}}, 304, nil},
		{request{method: "HEAD", path: path}, 200, nil},
		{request{method: "OPTIONS", path: path}, 204, nil},
		{request{method: "POST", path: "contents/"}, 401, map[string]string{"Www-Authenticate": "Bearer"}},
		{request{path: "nowhere/"}, 404, nil},
		{request{method: "DELETE", path: path, as: ada}, 204, nil},
		{wrong, 429, nil}, // a throttle, whose response has no quota of the API
		{request{path: "docs/"}, 200, nil},
	} {
		c.refused = true // the schema does not know the host's headers
		a, err := s.send(t, c.request)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != c.status {
			t.Errorf("%s %s: %s, want %d", c.method, c.path, a, c.status)
		}
		for name, values := range outer {
			for _, v := range values {
				if !slices.Contains(a.header.Values(name), v) {
					t.Errorf("%s %s, %d: %s %q is lost: %q", c.method, c.path, a.status, name, v, a.header.Values(name))
				}
			}
		}
		own := map[string]string{"Vary": "Authorization, Accept-Encoding"}
		maps.Copy(own, c.own)
		for name, want := range own {
			if last := a.header.Values(name); !strings.Contains(last[len(last)-1], want) || len(last) != len(outer[name])+1 {
				t.Errorf("%s %s, %d: %s is %q, want %q at its end", c.method, c.path, a.status, name, last, want)
			}
		}
	}
}

// TestMounts mounts the API in hosts in every way that is promised, and follows the links.
func TestMounts(t *testing.T) {
	t.Parallel()
	under := func(pattern string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle(pattern, h)
			mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { panic("not for the host") })
			return mux
		}
	}
	stripped := func(strip string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler { return under(strip + "/")(http.StripPrefix(strip, h)) }
	}
	for name, m := range map[string]struct {
		prefix string
		mount  func(http.Handler) http.Handler
	}{
		"alone":                       {"/api/", nil},
		"in a ServeMux":               {"/api/", under("/api/")},
		"at the root":                 {"/", nil},
		"deep":                        {"/blog/api/", under("/blog/api/")},
		"deep, a level above":         {"/blog/api/", under("/blog/")},
		"behind StripPrefix":          {"/blog/api/", stripped("/blog")},
		"all of the prefix stripped":  {"/blog/api/", stripped("/blog/api")},
		"with a tilde in the segment": {"/~me/v1.0/", under("/~me/")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, setup{mount: m.mount, config: func(c *khodnevis.Config) { c.Prefix = m.prefix }})
			for _, path := range []string{"contents/", "contents"} {
				made := s.do(t, request{method: "POST", path: path, as: ada, body: `{"title":"t"}`})
				if link := made.header.Get("Location"); made.status != 201 || link != m.prefix+"contents/"+made.text(t,
					"id")+"/" {
					t.Fatalf("POST %s: %s, Location %q", path, made, link)
				}
				contentID := made.text(t, "id")
				if got := s.do(t, request{path: strings.TrimSuffix(made.header.Get("Location"), "/")}); got.status != 200 {
					t.Errorf("the Location leads to %s", got)
				}
				accepted := s.do(t, request{method: "POST", path: strings.Replace(path, "contents", "ratings", 1), as: ada,
					body: `{"content":"` + contentID + `","score":4}`})
				for _, link := range []string{accepted.header.Get("Location"), accepted.text(t, "status_url"),
					accepted.text(t, "rating.url")} {
					if got := s.do(t, request{path: link, as: ada}); !strings.HasPrefix(link, m.prefix) || got.status != 200 {
						t.Errorf("%s leads to %s", link, got)
					}
				}
			}
			if seen := s.walk(t, nobody, "contents?page_size=1", "id"); len(seen) != 2 {
				t.Errorf("the list has %q", seen)
			}
			next := s.get(t, nobody, "contents?page_size=1").text(t, "next")
			if !strings.HasPrefix(next, m.prefix+"contents/?") {
				t.Errorf("next is %s", next)
			}
			if got := s.get(t, nobody, "contents/none/?a=b").text(t, "instance"); got != m.prefix+"contents/none/" {
				t.Errorf("the instance is %s", got)
			}
		})
	}
}
