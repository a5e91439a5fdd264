package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
)

// tried is a row of a golden table: what was sent and what came back.
type tried struct {
	Name    string          `json:"name"`
	Request string          `json:"request"`
	Status  int             `json:"status"`
	Answer  json.RawMessage `json:"answer,omitempty"`
}

// TestTables sends to every route of the matrix what leads to each status that it can answer with,
// and compares the answers with a golden table for each route, the same on every store.
func TestTables(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		f := &faults{}
		s := serve(t, setup{open: open, config: func(c *khodnevis.Config) { f.into(c) }})
		for _, c := range matrix(false) {
			if strings.HasPrefix(c.path, "docs/") { // pages, not JSON
				continue
			}
			rows := s.table(t, f, c)
			doc, err := json.Marshal(rows)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.NewReplacer("/", "_", "{", "", "}", "").Replace(c.method + "_" + strings.TrimSuffix(c.path, "/"))
			golden(t, "tables/"+strings.ToLower(name), answer{body: doc})
		}
		task := s.fixture(t).Replace("tasks/{task}/")
		s.clock.Advance(25 * time.Hour)
		s.login(t, ada)
		expired := s.do(t, request{path: task, as: ada, header: map[string]string{"X-Request-Id": "an-id"}})
		if expired.status != http.StatusGone {
			t.Errorf("a task of yesterday: %s", expired)
		}
		golden(t, "tables/get_tasks_task_expired", expired)
	})
}

// table tries one route. Whoever may use it uses it last, because it may be gone then.
func (s *server) table(t *testing.T, f *faults, c cell) []tried {
	t.Helper()
	fill := s.fixture(t)
	contentID := fill.Replace("{content}")
	s.fold(t, contentID)
	as := ada
	switch {
	case c.nobody < 300:
		as = nobody
	case c.owner >= 300:
		as = sam
	case c.method == http.MethodDelete && c.path == "users/me/": // who uses it is gone
		as = s.another(t, ada)
	}
	var rows []tried
	try := func(name string, want int, r request, change func(*request)) answer {
		t.Helper()
		sent := r
		sent.header = map[string]string{"X-Request-Id": "an-id"}
		if change != nil {
			change(&sent)
		}
		a := s.do(t, sent)
		if a.status != want {
			t.Errorf("%s %s, %s: %s, want %d", sent.method, sent.path, name, a, want)
		}
		row := tried{name, sent.method + " " + strings.NewReplacer(fill.Replace(c.path), c.path, s.ids[ada],
			"{user}").Replace(sent.path), a.status, nil}
		if json.Valid(a.body) && c.path != "schema/" {
			row.Answer = json.RawMessage(strings.ReplaceAll(string(a.body), fill.Replace("{fresh}"), "<fresh>"))
		}
		if len(row.Request) > 200 {
			row.Request = row.Request[:200] + "..."
		}
		rows = append(rows, row)
		return a
	}
	r := request{method: c.method, path: fill.Replace(c.path), as: as, body: fill.Replace(c.body)}
	if r.method == http.MethodGet && strings.HasPrefix(r.path, "tasks/") {
		testutil.Eventually(t, 30*time.Second, "it is known how it was stored", func() bool {
			return s.get(t, ada, r.path).at(t,
				"attempts") == 1.0
		})
	}
	if c.method == http.MethodGet && (c.path == "contents/" || c.path == "ratings/" || c.path == "users/") {
		r.path += "?page_size=1&fields=" + map[string]string{"contents/": "title", "ratings/": "score",
			"users/": "username"}[c.path]
	}
	join := "?"
	if strings.Contains(r.path, "?") {
		join = "&"
	}
	try("an unknown parameter", 400, r, func(r *request) { r.path += join + "nonsense=1" })
	try("a query that is none", 400, r, func(r *request) { r.path += join + "a=%zz" })
	try("a long query", 414, r, func(r *request) { r.path += join + "a=" + strings.Repeat("a", 9000) })
	try("a wish for HTML", 406, r, func(r *request) { r.header["Accept"] = "text/html" })
	try("another method", 405, r, func(r *request) { r.method, r.body = "PURGE", "" })
	switch {
	case c.nobody == 401:
		try("nobody", 401, r, func(r *request) { r.as = nobody })
		fallthrough
	case c.path != "schema/" && !(c.method == "POST" && c.nobody < 300):
		try("a bad token", 401, r, func(r *request) { r.as, r.header["Authorization"] = nobody, "Bearer junk" })
	}
	if c.ben == 403 {
		try("somebody else", 403, r, func(r *request) { r.as = ben })
	}
	if strings.Contains(c.path, "{content}") || strings.Contains(c.path, "{rating}") || strings.Contains(c.path,
		"{task}") || strings.Contains(c.path, "{session}") {
		try("what is not there", 404, r, func(r *request) {
			r.path = strings.NewReplacer("{content}", "none", "{rating}", "none:"+s.ids[as], "{task}", "none", "{session}",
				"none").Replace(c.path)
			if strings.HasPrefix(c.path, "ratings/") && as == nobody {
				r.path = "ratings/none:none/"
			}
		})
	}
	if c.body != "" {
		try("half an object", 400, r, func(r *request) { r.body = `{` })
		try("an unknown field", 400, r, func(r *request) { r.body = `{"nonsense":1}` })
		try("a long body", 413, r, func(r *request) { r.body = strings.Repeat(" ", 2<<20) })
		try("another media type", 415, r, func(r *request) { r.header["Content-Type"] = "text/plain" })
	}
	if strings.HasPrefix(c.path, "contents/{content}/") && strings.Count(c.path, "/") == 2 &&
		c.method != http.MethodGet {
		try("an old tag", 412, r, func(r *request) { r.header["If-Match"] = `"c77.s0"` })
	}
	if c.path == "contents/{content}/" && (c.method == http.MethodPut || c.method == http.MethodPatch) {
		f.update.Store(content.ErrConflict)
		try("a race that is lost", 409, r, nil)
		f.update.Store(nil)
	}
	writesRating := c.method != http.MethodGet && (strings.HasPrefix(c.path, "ratings/") || strings.HasSuffix(c.path,
		"/rating/") || strings.HasSuffix(c.path, "recalculate/"))
	switch {
	case writesRating:
		f.publish.Store(queue.ErrNotAccepted)
		try("a queue that is down", 503, r, func(r *request) { r.faulty = true })
		f.publish.Store(errors.New("no answer"))
		try("a queue that says nothing", 503, r, func(r *request) { r.faulty = true })
		f.publish.Store(nil)
	case c.path == "contents/" && c.method == http.MethodPost:
		keyed := func(body string) func(*request) {
			return func(r *request) { r.header["Idempotency-Key"], r.body = "k", body }
		}
		try("a key", 201, r, keyed(`{"title":"once"}`))
		try("the key again", 201, r, keyed(`{"title":"once"}`))
		try("the key of something else", 422, r, keyed(`{"title":"twice"}`))
		f.update.Store(content.ErrUnavailable)
		try("a store that is down", 503, r, func(r *request) { r.faulty = true })
		f.update.Store(content.ErrUnstorable)
		try("what no store takes", 400, r, nil)
		f.update.Store(errors.New("a bug"))
		try("a failure", 500, r, func(r *request) { r.faulty = true })
		f.update.Store(nil)
	case c.path == "users/" && c.method == http.MethodPost:
		try("a name that is taken", 400, r, func(r *request) {
			r.body = `{"username":"ada","password":"` + password +
				`"}`
		})
	case c.path == "contents/" || c.path == "ratings/" || strings.HasPrefix(c.path, "ratings/"):
		f.read.Store(content.ErrUnavailable)
		try("a store that is down", 503, r, func(r *request) { r.faulty = true })
		f.read.Store(errors.New("a bug"))
		try("a failure", 500, r, func(r *request) { r.faulty = true })
		f.read.Store(nil)
	case c.path == "users/login/":
		try("a wrong password", 401, r, func(r *request) { r.body = `{"username":"ada","password":"wrong password"}` })
	case c.path == "users/me/" && c.method != http.MethodGet, c.path == "users/me/password/":
		try("a wrong password", 403, r, func(r *request) {
			r.body = strings.Replace(r.body, `"current_password":"`+password, `"current_password":"wrong password`, 1)
		})
	}
	if c.path == "ratings/" && c.method == http.MethodPost {
		try("a content that is not there", 400, r, func(r *request) { r.body = `{"content":"none","score":2}` })
	}
	want, special := map[string]int{nobody: c.nobody, sam: c.staff}[as]
	if !special {
		want = c.owner
	}
	try("all well", want, r, func(r *request) {
		if r.method != http.MethodPost {
			r.prefer = "wait=10"
		}
	})
	if strings.HasSuffix(c.path, "logout/") {
		s.login(t, as)
	}
	return rows
}
