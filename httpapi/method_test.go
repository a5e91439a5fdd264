package httpapi_test

import (
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
