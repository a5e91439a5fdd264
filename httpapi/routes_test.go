package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/docsection"
)

// cell says which status nobody, somebody else, the owner and staff get.
type cell struct {
	method, path, body        string
	nobody, ben, owner, staff int
}

// matrix is who may do what. Owner is the content's author, the rating's rater, the task's creator
// and the session's user.
func matrix(private bool) []cell {
	hide := func(open, hidden int) int {
		if private {
			return hidden
		}
		return open
	}
	return []cell{
		{"GET", "contents/", "", 200, 200, 200, 200},
		{"POST", "contents/", `{"title":"t"}`, 401, 201, 201, 201},
		{"GET", "contents/{content}/", "", 200, 200, 200, 200},
		{"PUT", "contents/{content}/", `{"title":"t","description":"d"}`, 401, 403, 200, 200},
		{"PATCH", "contents/{content}/", `{"title":"t"}`, 401, 403, 200, 200},
		{"DELETE", "contents/{content}/", "", 401, 403, 204, 204},
		{"GET", "contents/{content}/stats/", "", 200, 200, 200, 200},
		{"POST", "contents/{content}/stats/recalculate/", "", 401, 403, 403, 202},
		{"GET", "contents/{content}/windows/", "", 401, 403, 403, 200},
		{
			"POST",
			"contents/{content}/windows/",
			`{"ruling":"excluded","from":"2026-01-31T12:00:00Z","until":"2026-02-01T12:00:00Z"}`,
			401,
			403,
			403,
			201,
		},
		{"DELETE", "contents/{content}/windows/", "", 401, 403, 403, 204},
		{"GET", "contents/{content}/rating/", "", 401, 404, 200, 404},
		{"PUT", "contents/{content}/rating/", `{"score":2}`, 401, 201, 200, 201},
		{"DELETE", "contents/{content}/rating/", "", 401, 404, 204, 404},
		{"GET", "ratings/", "", hide(200, 401), 200, 200, 200},
		{"POST", "ratings/", `{"content":"{content}","score":2}`, 401, 202, 202, 202},
		{"GET", "ratings/{rating}/", "", hide(200, 401), hide(200, 404), 200, 200},
		{"PUT", "ratings/{rating}/", `{"score":2}`, 401, hide(403, 404), 200, 403},
		{"PATCH", "ratings/{rating}/", `{"score":2}`, 401, hide(403, 404), 200, 403},
		{"DELETE", "ratings/{rating}/", "", 401, hide(403, 404), 204, 204},
		{"GET", "tasks/{task}/", "", 401, 404, 200, 200},
		{"GET", "users/", "", 401, 403, 403, 200},
		{"POST", "users/", `{"username":"{fresh}","password":"correct horse battery"}`, 201, 201, 201, 201},
		{"POST", "users/login/", `{"username":"ada","password":"correct horse battery"}`, 200, 200, 200, 200},
		{"POST", "users/token/refresh/", `{"refresh":"{refresh}"}`, 200, 200, 200, 200},
		{"POST", "users/logout/", "", 401, 204, 204, 204},
		{"GET", "users/me/", "", 401, 200, 200, 200},
		{"PATCH", "users/me/", `{"email":"new@example.org","current_password":"correct horse battery"}`, 401, 200, 200,
			200},
		{
			"POST",
			"users/me/password/",
			`{"current_password":"correct horse battery","new_password":"correct horse battery"}`,
			401,
			204,
			204,
			204,
		},
		{"GET", "users/me/sessions/", "", 401, 200, 200, 200},
		{"DELETE", "users/me/sessions/", "", 401, 204, 204, 204},
		{"DELETE", "users/me/sessions/{session}/", "", 401, 404, 204, 404},
		{"DELETE", "users/me/", `{"current_password":"correct horse battery","ratings":"delete"}`, 401, 204, 204, 204},
		{"GET", "schema/", "", 200, 200, 200, 200},
		{"GET", "docs/", "", 200, 200, 200, 200},
		{"GET", "docs/{file}/", "", 200, 200, 200, 200},
	}
}

// matrixKinds are the servers that every cell of the matrix is tried on.
func matrixKinds() map[string]func(*khodnevis.Config) {
	return map[string]func(*khodnevis.Config){
		"public ratings":               func(*khodnevis.Config) {},
		"private ratings":              func(c *khodnevis.Config) { c.PrivateRatings = true },
		"public ratings, host's users": func(c *khodnevis.Config) { c.Authenticator = bearerUsers{} },
		"private ratings, host's users": func(c *khodnevis.Config) {
			c.PrivateRatings, c.Authenticator = true, bearerUsers{}
		},
	}
}

// bearerUsers are a host's users, whose names are their tokens.
type bearerUsers struct{}

func (bearerUsers) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	switch name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); name {
	case "":
		return auth.Principal{}, auth.ErrNoCredentials
	case ada, ben, sam:
		return auth.Principal{Subject: "host|" + name, Staff: name == sam}, nil
	}
	return auth.Principal{}, auth.ErrInvalidCredentials
}

// TestMatrix runs every cell of the matrix over HTTP.
func TestMatrix(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		for name, config := range matrixKinds() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testMatrix(t, setup{open: open, config: config})
			})
		}
	})
}

func testMatrix(t *testing.T, kind setup) {
	var cfg khodnevis.Config
	kind.config(&cfg)
	s := serve(t, kind)
	if cfg.Authenticator != nil {
		for _, name := range []string{ada, ben, sam} {
			s.ids[name], s.tokens[name] = "host|"+name, name
		}
	}
	people := []string{nobody, ben, ada, sam}
	fill := s.fixture(t)
	for _, c := range matrix(cfg.PrivateRatings) {
		if cfg.Authenticator != nil && strings.HasPrefix(c.path, "users/") {
			continue
		}
		r := request{method: c.method, path: fill.Replace(c.path), body: fill.Replace(c.body), header: bearer("junk")}
		byBody := s.app.Handler().(*httpapi.API).Policy(c.route(), c.method) == "everybody, by the body"
		if a := s.do(t, r); (a.problem() == "invalid_token") == byBody || !byBody &&
			a.header.Get("WWW-Authenticate") != `Bearer realm="khodnevis", error="invalid_token"` {
			t.Errorf("%s %s with a bad token: %s, challenge %q", c.method, c.path, a, a.header.Get("WWW-Authenticate"))
		} else if byBody {
			fill = s.fixture(t)
		}
		for i, want := range []int{c.nobody, c.ben, c.owner, c.staff} {
			as := people[i]
			if c.method == "DELETE" && c.path == "users/me/" && as != nobody {
				as = s.another(t, as)
			}
			a := s.do(t, request{method: c.method, path: fill.Replace(c.path), as: as, body: fill.Replace(c.body)})
			if a.status != want {
				t.Errorf("%s %s as %q: %s, want %d", c.method, c.path, people[i], a, want)
			}
			if challenge := a.header.Get("WWW-Authenticate"); a.status == 401 && challenge != `Bearer realm="khodnevis"` {
				t.Errorf("%s %s as %q: the challenge is %q", c.method, c.path, people[i], challenge)
			}
			if strings.HasSuffix(c.path, "logout/") && people[i] != nobody {
				s.login(t, people[i])
			}
			if c.method != "GET" && a.status < 400 { // it is not what it was
				fill = s.fixture(t)
			}
		}
	}
}

// another makes an account that may do what the one of name may, and returns its name.
func (s *server) another(t *testing.T, name string) string {
	t.Helper()
	other := name + "-too"
	s.join(t, other)
	if name == sam {
		if err := s.app.Users.SetStaff(t.Context(), other, true); err != nil {
			t.Fatal(err)
		}
		s.login(t, other)
	}
	return other
}

// fixture makes one of everything, owned by ada, and returns what fills in its identifiers.
func (s *server) fixture(t *testing.T) *strings.Replacer {
	t.Helper()
	contentID := s.write(t, "A film")
	ratingID := s.rate(t, ada, contentID, 5)
	task := s.do(t, request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":5}`,
		contentID)}).text(t, "task")
	var login auth.Tokens
	if s.app.Users != nil {
		var err error
		if login, err = s.app.Users.Login(t.Context(), auth.Credentials{Username: ada, Password: password},
			auth.Source{}); err != nil {
			t.Fatal(err)
		}
	}
	return strings.NewReplacer("{file}", "docs.js", "{content}", contentID, "{rating}", ratingID, "{task}", task,
		"{session}", login.Session.ID,
		"{refresh}", login.Refresh, "{fresh}", "u"+strings.ReplaceAll(contentID, "-", "")[20:])
}

// TestMatrixIsWhole checks that there is no route without a row in the matrix, none in the matrix
// that is not there, and that the rows keep the policies of the routes.
func TestMatrixIsWhole(t *testing.T) {
	t.Parallel()
	api := serve(t, setup{}).app.Handler().(*httpapi.API)
	in := map[string]cell{}
	for _, c := range append(matrix(false), matrix(true)...) {
		in[c.method+" "+c.route()] = c
		policy := api.Policy(c.route(), c.method)
		switch open := policy == "everybody" || policy == "everybody, by the body"; {
		case !open && c.nobody != 401, open && c.nobody == 401 && !strings.HasPrefix(c.path, "ratings/"), c.nobody == 403:
			t.Errorf("%s %s is for %s, and nobody gets %d", c.method, c.path, policy, c.nobody)
		case policy == "staff" && (c.ben != 403 || c.owner != 403):
			t.Errorf("%s %s is for %s, and others get %d and %d", c.method, c.path, policy, c.ben, c.owner)
		}
	}
	for path, methods := range api.Routes() {
		for _, method := range methods {
			if _, ok := in[method+" "+path]; !ok {
				t.Errorf("%s %s is not in the matrix", method, path)
			}
			delete(in, method+" "+path)
		}
	}
	for route := range in {
		t.Errorf("%s is in the matrix only", route)
	}
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// route is the path in the form that the router knows.
func (c cell) route() string { return "/" + parameter.ReplaceAllString(c.path, ":id") }

// TestMatrixIsDocumented keeps the table in SECURITY.md the one that TestMatrix runs.
func TestMatrixIsDocumented(t *testing.T) {
	t.Parallel()
	api := serve(t, setup{}).app.Handler().(*httpapi.API)
	private := matrix(true)
	var b strings.Builder
	b.WriteString("| route | for | anonymous | another user | owner | staff |\n|---|---|---|---|---|---|\n")
	for i, c := range matrix(false) {
		status := func(open, hidden int) string {
			if open == hidden {
				return strconv.Itoa(open)
			}
			return fmt.Sprintf("%d (%d)", open, hidden)
		}
		p := private[i]
		fmt.Fprintf(&b, "| %s `%s` | %s | %s | %s | %s | %s |\n", c.method, parameter.ReplaceAllString(c.path, "{id}"),
			api.Policy(c.route(), c.method),
			status(c.nobody, p.nobody), status(c.ben, p.ben), status(c.owner, p.owner), status(c.staff, p.staff))
	}
	docsection.Check(t, filepath.Join("..", "SECURITY.md"), "authorisation", b.String(), *update)
}

// TestOrderOfChecks: route, then credentials, then the body, then existence, then rights, then the
// state.
func TestOrderOfChecks(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		contentID := s.write(t, "A film")
		ratingID := s.rate(t, ada, contentID, 5)
		stale := map[string]string{"If-Match": `"c77.s0"`}
		junk := map[string]string{"Authorization": "Bearer junk"}
		s.runAll(t, []exchange{
			{"an unknown path, without credentials and with a bad body", request{method: "POST", path: "nowhere/", body: `{`},
				404, "not_found"},
			{"a wrong method before credentials", request{method: "DELETE", path: "contents/", body: `{`}, 405,
				"method_not_allowed"},
			{"credentials before the body", request{method: "POST", path: "contents/", body: `{`}, 401, "not_authenticated"},
			{"credentials before the media type", request{method: "POST", path: "contents/", body: `a`,
				header: map[string]string{"Content-Type": "text/plain"}}, 401, "not_authenticated"},
			{"credentials before the size", request{method: "POST", path: "ratings/", body: strings.Repeat(" ", 5000)}, 401,
				"not_authenticated"},
			{"a bad token before the body", request{method: "POST", path: "contents/", body: `{`, header: junk}, 401,
				"invalid_token"},
			{"a bad token where none is needed", request{path: "contents/", header: junk}, 401, "invalid_token"},
			{"credentials before existence", request{method: "DELETE", path: "contents/none/"}, 401, "not_authenticated"},
			{"the body before existence", request{method: "PUT", path: "contents/none/", as: ben, body: `{`}, 400,
				"malformed_json"},
			{"fields before existence", request{method: "PUT", path: "contents/none/", as: ben, body: `{"title":"t"}`}, 400,
				"validation_failed #/description=required"},
			{"the score before existence", request{method: "PUT", path: "ratings/none:none/", as: ben, body: `{"score":9}`},
				400, "validation_failed #/score=max_value"},
			{"fields before rights", request{method: "PATCH", path: "contents/" + contentID + "/", as: ben,
				body: `{"title":""}`}, 400, "validation_failed #/title=blank"},
			{"existence before rights", request{method: "POST", path: "contents/none/stats/recalculate/", as: ben}, 404,
				"not_found"},
			{"rights before read-only fields", request{method: "PATCH", path: "contents/" + contentID + "/", as: ben,
				body: `{"id":"x"}`}, 403, "permission_denied"},
			{"rights before the precondition", request{method: "PATCH", path: "contents/" + contentID + "/", as: ben,
				body: `{"title":"x"}`, header: stale}, 403, "permission_denied"},
			{"the precondition last", request{method: "DELETE", path: "contents/" + contentID + "/", as: ada, header: stale},
				412, "precondition_failed"},
			{"somebody else's rating, read-only fields", request{method: "PUT", path: "ratings/" + ratingID + "/", as: ben,
				body: `{"score":1,"rater":"x"}`}, 403, "permission_denied"},
			{"staff only, before the query", request{path: "users/?nonsense=1", as: ben}, 403, "permission_denied"},
		})
		if got := s.get(t, nobody, "ratings/"+ratingID+"/"); got.at(t, "score") != 5.0 {
			t.Errorf("after all that was refused the rating is %s", got)
		}
	})
}

// TestPrivateRatings checks what hides that a rating exists.
func TestPrivateRatings(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { c.PrivateRatings = true }})
		contentID := s.write(t, "A film")
		of := map[string]string{}
		for i, name := range []string{ada, ben} {
			of[name] = s.rate(t, name, contentID, 4+i)
		}
		s.runAll(t, []exchange{
			{"", request{path: "ratings/?nonsense=1"}, 401, "not_authenticated"},
			{"", request{path: "ratings/" + of[ada] + "/?nonsense=1"}, 401, "not_authenticated"},
			{"", request{path: "ratings/none:none/"}, 401, "not_authenticated"},
			{"", request{path: "ratings/" + of[ada] + "/", as: ben}, 404, "not_found"},
			{"", request{method: "DELETE", path: "ratings/" + of[ada] + "/", as: ben}, 404, "not_found"},
		})
		for name, want := range map[string]int{ada: 1, ben: 1, sam: 2} {
			a := s.get(t, name, "ratings/?count=exact&content="+contentID)
			if got := a.list(t, "id"); len(got) != want || a.at(t, "count") != float64(want) {
				t.Errorf("%s sees %v and counts %v, want %d", name, got, a.at(t, "count"), want)
			}
		}
	})
}

// TestCredentials checks what is said about them, and where they are looked for.
func TestCredentials(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		good := "Bearer " + s.tokens[ada]
		refresh, err := s.app.Users.Login(t.Context(), auth.Credentials{Username: ada, Password: password}, auth.Source{})
		if err != nil {
			t.Fatal(err)
		}
		const missing, wrong = `Bearer realm="khodnevis"`, `Bearer realm="khodnevis", error="invalid_token"`
		try := func(name, header string, status int, challenge string) {
			t.Helper()
			a := s.do(t, request{path: "users/me/", header: map[string]string{"Authorization": header}})
			if a.status != status || a.header.Get("WWW-Authenticate") != challenge {
				t.Errorf("%s: %s, challenge %q, want %d %q", name, a, a.header.Get("WWW-Authenticate"), status, challenge)
			}
		}
		try("good", good, 200, "")
		try("another case of the scheme", "bearer "+s.tokens[ada], 200, "")
		try("none", "", 401, missing)
		try("another scheme", "Basic YWRhOmFkYQ==", 401, wrong)
		try("the scheme alone", "Bearer", 401, wrong)
		try("junk", "Bearer junk", 401, wrong)
		try("one letter more", good+"0", 401, wrong)
		try("a refresh token", "Bearer "+refresh.Refresh, 401, wrong)
		try("a long one", "Bearer "+strings.Repeat("k", 4000), 401, wrong)
		s.runAll(t, []exchange{
			{"in the query", request{path: "users/me/?access_token=" + s.tokens[ada]}, 401, "not_authenticated"},
			{"in the query of something public", request{path: "contents/?access_token=" + s.tokens[ada]}, 400,
				"validation_failed ?access_token=unknown_parameter"},
			{"in a cookie", request{path: "users/me/", header: map[string]string{"Cookie": "access=" + s.tokens[ada]}}, 401,
				"not_authenticated"},
		})
		s.do(t, request{method: http.MethodPost, path: "users/logout/", as: ada})
		try("logged out", good, 401, wrong)
		s.login(t, ada)
		good = "Bearer " + s.tokens[ada]
		s.clock.Advance(2 * 60 * 60 * 1e9)
		try("expired", good, 401, wrong)
	})
}

// TestCacheControl checks who may keep which answer.
func TestCacheControl(t *testing.T) {
	t.Parallel()
	s := serve(t, setup{})
	fill := s.fixture(t)
	const shared, own, none = "public, max-age=0, must-revalidate", "private, no-cache", "no-store"
	for _, x := range []struct {
		path, anonymous, owner string
	}{
		{"contents/", shared, own},
		{"contents/{content}/", shared, own},
		{"contents/{content}/?fields=id", shared, own},
		{"contents/{content}/stats/", shared, own},
		{"contents/{content}/rating/", none, own},
		{"ratings/", shared, own},
		{"ratings/{rating}/", shared, own},
		{"tasks/{task}/", none, none},
		{"users/", none, none},
		{"users/me/", none, none},
		{"users/me/sessions/", none, none},
		{"nowhere/", none, none},
		{"contents/none/", none, none},
		{"contents/?nonsense=1", none, none},
	} {
		for as, want := range map[string]string{nobody: x.anonymous, ada: x.owner} {
			if got := s.get(t, as, fill.Replace(x.path)).header.Get("Cache-Control"); got != want {
				t.Errorf("%s for %q: Cache-Control %q, want %q", x.path, as, got, want)
			}
		}
	}
}
