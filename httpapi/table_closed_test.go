package httpapi_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/httpapi"
)

// TestTablesOfConditions adds to the tables what depends on conditions and limits: 304, 409 and 410
// for keys, 428 and 429, and the pages for people.
func TestTablesOfConditions(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		f := &faults{}
		s := serve(t, setup{open: open, config: f.into})
		now := &standing{start: time.Now()}
		strict := serve(t, setup{open: open, config: func(c *khodnevis.Config) {
			c.Now, c.RequireIfMatch = now.Now, true
			c.Limits = httpapi.Limits{RatingWrites: 1, ContentWrites: 1, Reads: 1, Logins: 1, PrefixFactor: 1}
		}})
		guarded := serve(t, setup{open: open, config: func(c *khodnevis.Config) {
			c.Now, c.Auth.LimitsOff = now.Now,
				false
		}})
		var rows []tried
		try := func(s *server, name, path string, want int, r request) answer {
			t.Helper()
			if r.header == nil {
				r.header = map[string]string{}
			}
			r.header["X-Request-Id"] = "an-id"
			a := s.do(t, r)
			if a.status != want {
				t.Errorf("%s %s, %s: %s, want %d", r.method, r.path, name, a, want)
			}
			row := tried{name, r.method + " " + path, a.status, nil}
			if json.Valid(a.body) && path != "schema/" {
				row.Answer = a.body
			}
			rows = append(rows, row)
			return a
		}
		fill := strings.NewReplacer("{content}", s.write(t, "A film"), "{file}", "docs.js")
		for _, path := range []string{"contents/{content}/", "schema/", "docs/", "docs/{file}/"} {
			r := request{method: "GET", path: fill.Replace(path)}
			tag := try(s, "all well", path, 200, r).header.Get("ETag")
			r.header = map[string]string{"If-None-Match": tag}
			try(s, "what the client has", path, 304, r)
		}
		try(s, "a page that is not there", "docs/{file}/", 404, request{method: "GET", path: "docs/none/"})

		f.creating = make(chan struct{})
		keyed := request{method: "POST", path: "contents/", as: ada, body: `{"title":"once"}`,
			header: map[string]string{"Idempotency-Key": "k"}}
		first := make(chan error, 1)
		go func() {
			_, err := s.send(t, keyed)
			first <- err
		}()
		<-f.creating
		again := keyed
		again.header = map[string]string{"Idempotency-Key": "k"}
		try(s, "the key of one that is not answered yet", "contents/", 409, again)
		f.creating <- struct{}{}
		if err := <-first; err != nil {
			t.Error(err)
		}
		made := s.do(t, keyed).header.Get("Location")
		s.do(t, request{method: "DELETE", path: made, as: ada})
		again.header = map[string]string{"Idempotency-Key": "k"}
		try(serve(t, setup{beside: s}), "the key of what is deleted, where the answer is not kept", "contents/", 410, again)

		fill = strings.NewReplacer("{content}", strict.write(t, "A film"), "{rating}", "x:x", "{task}", "x", "{session}",
			"x", "{file}", "docs.js")
		for _, c := range matrix(false) {
			now.Advance(time.Minute)
			strict.login(t, ada)
			r := request{method: c.method, path: fill.Replace(c.path), as: ada}
			if c.path == "contents/{content}/" && c.method != http.MethodGet {
				r.body = c.body
				try(strict, "no tag", c.path, 428, r)
			} else {
				strict.do(t, r)
			}
			r.header = map[string]string{}
			try(strict, "one more than the limit", c.path, 429, r)
		}
		wrong := request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"wrong password"}`}
		guarded.repeat(t, 5, wrong, 401)
		try(guarded, "too many wrong passwords", "users/login/", 429, wrong)
		doc, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "tables/conditions", answer{body: doc})
	})
}

// onePlace are the statuses of which one row stands for all routes, because one place makes the
// answer, or none can be made here.
var onePlace = map[int]string{
	200: "a write of a rating answers 200, 201 or 202 by one function, and each is a row of some route",
	201: "as 200",
	202: "as 200",
	204: "as 200",
	401: "credentials are checked before the route runs",
	403: "the services refuse, and one function maps their error",
	404: "one problem document stands for all that is absent",
	409: "a lost race is mapped from one error",
	413: "one function reads bodies",
	500: "one function answers for errors that nothing maps",
	503: "one function maps errors of what is down",
}

// noRow are the statuses without a row.
var noRow = map[int]string{
	408: "a body that is slow takes real time",
}

// TestTablesAreClosed checks that what the schema documents has a row in a golden table: each
// status of each operation, or one row of a status where one place makes the answer.
func TestTablesAreClosed(t *testing.T) {
	t.Parallel()
	c, err := contractOf(serve(t, setup{}).app.Handler().(*httpapi.API).Schema())
	if err != nil {
		t.Fatal(err)
	}
	type pair struct {
		operation string
		status    int
	}
	pairs, statuses := map[pair]bool{{"getTask", http.StatusGone}: true}, map[int]bool{} // get_tasks_task_expired.json
	files, err := filepath.Glob("testdata/golden/tables/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rows []tried
		if strings.HasSuffix(file, "_expired.json") {
			continue
		}
		if err := json.Unmarshal(raw, &rows); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, row := range rows {
			method, path, _ := strings.Cut(row.Request, " ")
			path, _, _ = strings.Cut(path, "?")
			if op := c.find(method, path); op != nil {
				pairs[pair{op.Name, row.Status}], statuses[row.Status] = true, true
			}
		}
	}
	for _, op := range c.operations {
		for status := range op.answers {
			switch {
			case noRow[status] != "", pairs[pair{op.Name, status}], onePlace[status] != "" && statuses[status]:
			default:
				t.Errorf("%s has no row for %d", op.Name, status)
			}
		}
	}
}
