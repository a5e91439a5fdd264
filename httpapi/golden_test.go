package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/testutil"
)

var update = flag.Bool("update", false, "write the golden files anew")

// volatile is what differs from run to run.
var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}` +
	`|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|kh[ar]_[A-Za-z0-9_-]{51}|"A[A-Za-z0-9_-]{60,}"` +
	`|cursor=[A-Za-z0-9_-]+|/tasks/[A-Za-z0-9_-]+/`)

// golden compares a JSON answer with the file of that name. Identifiers, times, tokens and cursors
// are replaced by what they are, identifiers numbered as they come.
func golden(t *testing.T, name string, a answer) {
	t.Helper()
	numbers := map[string]int{}
	masked := volatile.ReplaceAllStringFunc(string(a.body), func(s string) string {
		switch {
		case s[0] == '"':
			return `"<task>"`
		case s[0] == 'c':
			return "cursor=<cursor>"
		case s[0] == '/':
			return "/tasks/<task>/"
		case s[0] == 'k':
			return "<token " + s[:3] + ">"
		case len(s) == 27:
			return "<time>"
		}
		if numbers[s] == 0 {
			numbers[s] = len(numbers) + 1
		}
		return fmt.Sprintf("<id %d>", numbers[s])
	})
	var got bytes.Buffer
	if err := json.Indent(&got, []byte(masked), "", "\t"); err != nil {
		t.Fatalf("%s: %s: %v", name, a, err)
	}
	got.WriteByte('\n')
	file := filepath.Join("testdata", "golden", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is\n%s\nnot\n%s", name, got.Bytes(), want)
	}
}

// TestShapes compares one answer of each kind as a whole.
func TestShapes(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open, idle: true})
		post := func(as, path, body string) answer {
			return s.do(t, request{method: "POST", path: path, as: as, body: body})
		}
		made := post(ada, "contents/", `{"title":"A <film>","description":"About it"}`)
		golden(t, "content_unrated", made)
		contentID := made.text(t, "id")
		golden(t, "stats_unrated", s.get(t, nobody, "contents/"+contentID+"/stats/"))
		accepted := post(ada, "ratings/", `{"content":"`+contentID+`","score":4}`)
		golden(t, "rating_accepted", accepted)
		golden(t, "task_pending", s.get(t, ada, accepted.header.Get("Location")))
		golden(t, "rating_pending", s.get(t, ada, accepted.text(t, "rating.url")))
		s.work()
		testutil.Eventually(t, 30*time.Second, "it is known how it was stored",
			func() bool { return s.get(t, ada, accepted.header.Get("Location")).at(t, "attempts") == 1.0 })
		golden(t, "task_success", s.get(t, ada, accepted.header.Get("Location")))
		golden(t, "rating", s.get(t, nobody, accepted.text(t, "rating.url")))
		s.fold(t, contentID)
		golden(t, "content", s.get(t, nobody, "contents/"+contentID+"/"))
		s.settle(t, contentID)
		golden(t, "stats", s.get(t, nobody, "contents/"+contentID+"/stats/"))
		s.write(t, "Another")
		golden(t, "contents", s.get(t, nobody, "contents/?page_size=1&ordering=created_at"))
		golden(t, "ratings", s.get(t, nobody, "ratings/?content="+contentID+"&count=exact"))
		recalculate := post(sam, "contents/"+contentID+"/stats/recalculate/", "")
		golden(t, "recalculate_accepted", recalculate)
		golden(t, "task_recalculated", s.do(t, request{path: recalculate.header.Get("Location"), as: sam,
			prefer: "wait=10"}))
		golden(
			t,
			"user",
			post(nobody, "users/", `{"username":"Carl","password":"correct horse battery","email":"carl@example.org"}`),
		)
		login := post(nobody, "users/login/", `{"username":"carl","password":"correct horse battery"}`)
		golden(t, "login", login)
		golden(t, "sessions", s.do(t, request{path: "users/me/sessions/",
			header: map[string]string{"Authorization": "Bearer " + login.text(t, "access"), "User-Agent": "test"}}))
		id := map[string]string{"X-Request-Id": "an-id"}
		golden(t, "problem_fields", s.do(t, request{method: "POST", path: "ratings/", as: ada,
			body: `{"score":6,"extra":1}`, header: id}))
		golden(t, "problem_parameters", s.do(t, request{path: "contents/" + contentID + "/?page=2&page_size=0",
			header: id}))
		golden(t, "problem_header", s.do(t, request{method: "PUT", path: "contents/" + contentID + "/", as: ada,
			body:   `{"title":"t","description":""}`,
			header: map[string]string{"X-Request-Id": "an-id", "If-Match": "x"}}))
		golden(t, "problem_not_found", s.do(t, request{path: "nowhere/", header: id}))
	})
}
