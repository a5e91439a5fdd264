package httpapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
)

// pagePolicy lets the page of the docs load what is served beside it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' " +
	"data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// TestDocs checks that the page and everything that it loads is served, under whatever prefix, and
// asks for nothing from elsewhere.
func TestDocs(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/api/", "/", "/blog/v1/"} {
		s := serve(t, setup{config: func(c *khodnevis.Config) { c.Prefix = prefix }})
		todo, seen := []string{prefix + "docs/"}, map[string]bool{}
		links := regexp.MustCompile(`(?:href|src)="([^"#]*)"|from "\./([^"]*)"`)
		for len(todo) > 0 {
			path := todo[0]
			todo = todo[1:]
			if seen[path] {
				continue
			}
			seen[path] = true
			a := s.do(t, request{path: path, header: map[string]string{"Accept": "text/html"}})
			if strings.HasSuffix(path, "schema/") {
				continue // it is read by a script, which asks for JSON
			}
			want := "text/html; charset=utf-8"
			for ending, mediaType := range map[string]string{".js": "text/javascript; charset=utf-8",
				".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"} {
				if strings.HasSuffix(path, ending) {
					want = mediaType
				}
			}
			if a.status != 200 || a.header.Get("Content-Type") != want || len(a.body) == 0 {
				t.Errorf("%s: %d %s", path, a.status, a.header.Get("Content-Type"))
			}
			unless := map[string]string{"If-None-Match": a.header.Get("ETag")}
			if again := s.do(t, request{path: path, header: unless}); again.status != 304 {
				t.Errorf("%s again: %d", path, again.status)
			}
			text := strings.ReplaceAll(string(a.body), "http://www.w3.org/2000/svg", "")
			unsafe := regexp.MustCompile(`https?://|<script>|style=|\son[a-z]+=|\{prefix\}|innerHTML|` +
				`localStorage|sessionStorage`)
			if at := unsafe.FindString(text); at != "" {
				t.Errorf("%s has %q", path, at)
			}
			for _, m := range links.FindAllStringSubmatch(text, -1) {
				if m[2] != "" {
					m[1] = prefix + "docs/" + m[2]
				}
				todo = append(todo, m[1])
			}
		}
		if len(seen) != 9 {
			t.Errorf("below %s there are %v", prefix, seen)
		}
		s.runAll(t, []exchange{
			{"no such file", request{path: prefix + "docs/docs.go"}, 404, "not_found"},
			{"a parameter", request{path: prefix + "docs/?q=1"}, 400, "validation_failed ?q=unknown_parameter"},
			{"a method", request{method: "DELETE", path: prefix + "docs/docs.js"}, 405, "method_not_allowed"},
		})
	}
}
