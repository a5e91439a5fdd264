package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/rating/score"
)

// TestSchemaIsServed checks how the schema is served, and that it describes the routes that there
// are.
func TestSchemaIsServed(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	a := s.get(t, nobody, "schema/")
	etag := a.header.Get("ETag")
	if a.status != 200 || etag == "" || a.text(t, "openapi") != "3.1.0" || a.text(t, "servers.0.url") != "/api" {
		t.Fatalf("the schema is %s, ETag %q", a, etag)
	}
	if again := s.get(t, ada, "schema"); again.header.Get("ETag") != etag || string(again.body) != string(a.body) {
		t.Errorf("again it is another one: %s", again)
	}
	if fresh := s.do(t, request{path: "schema/", header: map[string]string{"If-None-Match": "W/" +
		etag}}); fresh.status != http.StatusNotModified {
		t.Errorf("with its ETag it is %s", fresh)
	}
	s.runAll(t, []exchange{
		{"a parameter", request{path: "schema/?format=yaml"}, 400, "validation_failed ?format=unknown_parameter"},
		{"a method", request{method: "POST", path: "schema/", as: ada}, 405, "method_not_allowed"},
		{"another media type", request{path: "schema/", header: map[string]string{"Accept": "text/html"}}, 406,
			"not_acceptable"},
	})
}

// TestSchemaFollowsTheConfiguration checks that what is not mounted is not described, wherever the
// rest is.
func TestSchemaFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	own := func(*khodnevis.Config) {}
	for name, x := range map[string]struct {
		prefix  string
		config  func(*khodnevis.Config)
		server  string
		absent  []string
		minimum float64 // of a score
	}{
		"everything":     {"/api/", own, "/api", nil, 1},
		"another prefix": {"/blog/v1/api/", own, "/blog/v1/api", nil, 1},
		"no prefix":      {"/", own, "/", nil, 1},
		"another scale":  {"/api/", func(c *khodnevis.Config) { c.Scale = score.Scale{Min: -2, Max: 2} }, "/api", nil, -2},
		"host's users": {"/api/", func(c *khodnevis.Config) { c.Authenticator = strangeUsers{} }, "/api",
			[]string{"/users/"}, 1},
		"host's contents": {"/api/", func(c *khodnevis.Config) { c.RatedContents = strangeContents{} }, "/api",
			[]string{"/contents/", "/contents/{id}/"}, 1},
	} {
		s := serve(t, setup{config: func(c *khodnevis.Config) { x.config(c); c.Prefix = x.prefix }})
		a := s.get(t, nobody, "schema/")
		if got := a.text(t, "servers.0.url"); got != x.server {
			t.Errorf("%s: the server is %q, want %q", name, got, x.server)
		}
		if got := a.at(t, "components.schemas.NewRating.properties.score.minimum"); got != x.minimum {
			t.Errorf("%s: the least score is %v, want %v", name, got, x.minimum)
		}
		described := a.at(t, "paths").(map[string]any)
		mounted := s.app.Handler().(*httpapi.API).Routes()
		for path, methods := range mounted {
			if strings.HasPrefix(path, "/docs/") { // the page is for people
				delete(mounted, path)
				continue
			}
			item, ok := described[strings.ReplaceAll(path, ":id", "{id}")].(map[string]any)
			if !ok {
				t.Errorf("%s: %s is not described", name, path)
			}
			for _, method := range methods {
				if _, ok := item[strings.ToLower(method)]; !ok {
					t.Errorf("%s: %s %s is not described", name, method, path)
				}
			}
		}
		if len(described) != len(mounted) {
			t.Errorf("%s: %d paths are described, %d are there", name, len(described), len(mounted))
		}
		for _, path := range x.absent {
			if _, ok := described[path]; ok {
				t.Errorf("%s: %s is described", name, path)
			}
		}
	}
}

// TestProblemsOfOperations: an operation lists the codes that it gives, and no others. That it lists
// all of them, every exchange of the tests checks.
func TestProblemsOfOperations(t *testing.T) {
	t.Parallel()
	own := serve(t, setup{})
	strict := serve(t, setup{config: func(c *khodnevis.Config) { c.RequireIfMatch, c.PrivateRatings = true, true }})
	of := func(s *server, operation string) string {
		t.Helper()
		c, err := contractOf(s.app.Handler().(*httpapi.API).Schema())
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, o := range c.operations {
			if o.Name != operation {
				continue
			}
			for _, status := range slices.Sorted(maps.Keys(o.answers)) {
				if status >= 400 {
					lines = append(lines, fmt.Sprint(status, " ", strings.Join(o.answers[status].codes, " ")))
				}
			}
		}
		return strings.Join(lines, "\n")
	}
	const every = "\n413 too_large\n414 uri_too_long"
	const last = "\n429 throttled\n500 internal_error\n503 unavailable"
	const reads = "400 validation_failed malformed_query incomplete_body body_not_allowed"
	const writes = "400 validation_failed malformed_json not_an_object malformed_query incomplete_body"
	const signedIn = "\n401 not_authenticated invalid_token"
	for operation, want := range map[string]string{
		"getSchema": reads + "\n401 invalid_token\n406 not_acceptable\n408 timeout" + every + last,
		"listUsers": reads + " invalid_cursor cursor_mismatch" + signedIn +
			"\n403 permission_denied\n406 not_acceptable\n408 timeout" + every + last,
		"listContents": reads + " invalid_cursor cursor_mismatch query_too_broad unstorable" + signedIn +
			"\n406 not_acceptable\n408 timeout" + every + last,
		"login": writes + " unstorable\n401 invalid_login\n406 not_acceptable\n408 timeout" + every +
			"\n415 unsupported_media_type" + last,
		"changeMe": writes + " unstorable" + signedIn +
			"\n403 reauth_required\n404 not_found\n406 not_acceptable\n408 timeout" + every +
			"\n415 unsupported_media_type" + last,
		"createContent": writes + " unstorable" + signedIn +
			"\n406 not_acceptable\n408 timeout\n409 idempotency_key_in_flight\n410 content_deleted" + every +
			"\n415 unsupported_media_type\n422 idempotency_key_reused" + last,
		"deleteContent": reads + signedIn + "\n403 permission_denied\n404 not_found\n406 not_acceptable\n408 timeout" +
			"\n409 conflict\n412 precondition_failed" + every + last,
		"createRating": writes + " rejected" + signedIn + "\n406 not_acceptable\n408 timeout" + every +
			"\n415 unsupported_media_type" + last,
	} {
		if got := of(own, operation); got != want {
			t.Errorf("%s lists\n%s\nwant\n%s", operation, got, want)
		}
	}
	for operation, want := range map[string]string{"deleteContent": "428 precondition_required",
		"listRatings": "404 not_found"} {
		if got := of(strict, operation); !strings.Contains(got, want) || strings.Contains(of(own, operation), want) {
			t.Errorf("%s lists\n%s\nwant %s, and only there", operation, got, want)
		}
	}
}

// TestSchemaLinks checks that the links of answers lead to where what was made is read.
func TestSchemaLinks(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	schema := s.get(t, nobody, "schema/")
	byName := map[string]string{} // paths of what is read
	for path, item := range schema.at(t, "paths").(map[string]any) {
		if get, ok := item.(map[string]any)["get"].(map[string]any); ok {
			byName[get["operationId"].(string)] = strings.TrimPrefix(path, "/")
		}
	}
	id := s.write(t, "Mirror")
	for _, x := range []struct {
		what   request
		path   string
		status string
		next   string
	}{
		{request{method: "POST", path: "contents/", as: ada, body: `{"title":"Solaris"}`}, "/contents/", "201",
			"getContent"},
		{rates(ada, id, ""), "/ratings/", "202", "getTask"},
		{request{method: "PUT", path: "contents/" + id + "/rating/", as: ben, body: `{"score":2}`, prefer: "wait=10"},
			"/contents/{id}/rating/", "201", "getRating"},
	} {
		a := s.do(t, x.what)
		path := schema.at(t, "paths").(map[string]any)[x.path].(map[string]any)
		operation := path[strings.ToLower(x.what.method)].(map[string]any)
		links := operation["responses"].(map[string]any)[x.status].(map[string]any)["links"].(map[string]any)
		link := links[x.next].(map[string]any)
		if link["operationId"] != x.next || len(links) != 1 {
			t.Errorf("%s: the links are %v", x.path, links)
		}
		member, ok := strings.CutPrefix(link["parameters"].(map[string]any)["path.id"].(string), "$response.body#/")
		if !ok || strconv.Itoa(a.status) != x.status {
			t.Fatalf("%s: %s, by %v", x.path, a, link)
		}
		where := strings.Replace(byName[x.next], "{id}", a.text(t, member), 1)
		if read := s.get(t, x.what.as, where); read.status != 200 {
			t.Errorf("%s: %s is %s", x.path, where, read)
		}
	}
}
