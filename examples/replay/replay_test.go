package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testData is a data set of 30 films with some odd rows, in a file.
func testData(t *testing.T) string {
	t.Helper()
	rows := []map[string]any{{"Title": nil}, {"Title": 1941, "IMDB Rating": 6.1, "IMDB Votes": 3000}}
	for i := range 28 {
		rows = append(rows,
			map[string]any{"Title": fmt.Sprintf("Film %d", i), "IMDB Rating": 1.5 + float64(i)/4, "IMDB Votes": i * i * 100})
	}
	data, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "movies.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// replayed runs the command and returns its exit status, its summary by line, and all that it
// printed.
func replayed(t *testing.T, args ...string) (int, map[string]int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := command(t.Context(), args, &out, &errs)
	summary := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9 ]+?) {2,}([\d,]+)$`).FindAllStringSubmatch(out.String(), -1) {
		n, err := strconv.Atoi(strings.ReplaceAll(m[2], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		summary[m[1]] = n
	}
	return code, summary, out.String() + errs.String()
}

func small(t *testing.T, server string, more ...string) []string {
	t.Helper()
	args := []string{"-server", server, "-data", testData(t), "-users", "40", "-ratings", "600", "-rerate", "0.5",
		"-clients", "8", "-timeout", "20s"}
	return append(args, more...)
}

func TestRun(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + closed.Addr().String()
	closed.Close()

	for name, tc := range map[string]struct {
		fake   *fake
		before string // servers that come first in the list
	}{
		"a good server":                {fake: &fake{}},
		"a server with accidents":      {fake: &fake{accidents: true}},
		"accidents and no keys":        {fake: &fake{accidents: true, noKeys: true}},
		"a worker far behind":          {fake: &fake{pace: 7}},
		"one of two servers is dead":   {fake: &fake{}, before: dead + ","},
		"one is dead, one just ailing": {fake: &fake{accidents: true}, before: dead + ", "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.fake
			code, got, out := replayed(t, small(t, tc.before+serve(t, f))...)
			if code != exitOK {
				t.Fatalf("exit status %d:\n%s", code, out)
			}
			if got["users"] != 40 || got["films"] != 30 || got["stored"] != 600 {
				t.Errorf("users, films, stored are %d, %d, %d, want 40, 30, 600:\n%s", got["users"], got["films"], got["stored"],
					out)
			}
			if got["accepted"] != 600+got["superseded by a later one"] || got["superseded by a later one"] == 0 {
				t.Errorf("%d accepted and %d superseded do not make the 600 stored", got["accepted"],
					got["superseded by a later one"])
			}
			if got["sent"] = got["ratings sent"]; got["sent"] != got["accepted"]+got["retried"] {
				t.Errorf("%d sent are not %d accepted and %d retried", got["sent"], got["accepted"], got["retried"])
			}
			if tc.fake.accidents != (got["changes left out"] > 0) {
				t.Errorf("%d changes left out", got["changes left out"])
			}
			if !f.noKeys && len(f.contents) != 30 {
				t.Errorf("%d contents of 30 films: the Idempotency-Key of a retry differs", len(f.contents))
			}
		})
	}
}

func TestRunCatches(t *testing.T) {
	t.Parallel()
	for plant, line := range map[string]string{
		"average":   "wrong averages",
		"lost":      "lost",
		"stale":     "wrong averages",
		"doubled":   "wrong counts",
		"histogram": "wrong histograms",
		"failed":    "tasks without success",
		"gone":      "films gone",
		"refused":   "refused",
		"mixed up":  "refused",
	} {
		t.Run(plant, func(t *testing.T) {
			t.Parallel()
			code, got, out := replayed(t, small(t, serve(t, &fake{plant: plant}), "-timeout", "300ms")...)
			if code != exitWrong || got[line] == 0 || !strings.Contains(out, "WRONG") {
				t.Errorf("exit status %d, %s: %d:\n%s", code, line, got[line], out)
			}
			switch plant {
			case "average", "histogram":
				if got["wrong counts"] != 0 || got["lost"] != 0 {
					t.Errorf("right counts are called wrong:\n%s", out)
				}
			case "lost", "doubled":
				if got["wrong counts"] != 1 {
					t.Errorf("wrong counts: %d, want the planted one:\n%s", got["wrong counts"], out)
				}
			case "refused":
				if got["wrong counts"] != 0 || got["stored"] != got["accepted"]-got["superseded by a later one"] {
					t.Errorf("what was refused is called lost:\n%s", out)
				}
			}
		})
	}
}

func TestCheckOnly(t *testing.T) {
	t.Parallel()
	f := &fake{}
	server, state := serve(t, f), filepath.Join(t.TempDir(), "journal")
	for range 2 { // the second run finds its users registered and adds to the same journal
		if code, _, out := replayed(t, small(t, server, "-state", state)...); code != exitOK {
			t.Fatalf("run: exit status %d:\n%s", code, out)
		}
	}
	check := []string{"-server", server, "-check-only", "-state", state, "-timeout", "300ms"}
	code, got, out := replayed(t, check...)
	if code != exitOK || got["users"] != 40 || got["films"] != 60 || got["stored"] != 1200 ||
		strings.Contains(out, "cut short") {
		t.Fatalf("check: exit status %d, want 40 users, 60 films, 1,200 stored:\n%s", code, out)
	}

	for _, c := range f.contents {
		if len(c.ratings) > 0 {
			for user := range c.ratings {
				delete(c.ratings, user) // as a restart on an old backup would
				break
			}
			break
		}
	}
	code, got, out = replayed(t, check...)
	if code != exitWrong || got["lost"] != 1 || got["wrong counts"] != 1 {
		t.Errorf("check after a loss: exit status %d, want 1 lost:\n%s", code, out)
	}

	cut, err := os.OpenFile(state, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(cut, `{"begin":"x"}`)
	cut.Close()
	if _, _, out = replayed(t, check...); !strings.Contains(out, "1 runs of the journal were cut short") {
		t.Errorf("an open run is not mentioned:\n%s", out)
	}
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	code, _, out := replayed(t, small(t, "http://"+closed.Addr().String(), "-timeout", "100ms")...)
	if code != exitWrong || !strings.Contains(out, "no definite answer in 100ms") {
		t.Errorf("a dead server: exit status %d:\n%s", code, out)
	}
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"attic", exitUsage, `unknown command "attic"`},
		{"-server ftp://x", exitUsage, "not a URL"},
		{"-server http://x,", exitUsage, "not a URL"},
		{"-rerate 1.1", exitUsage, "-rerate"},
		{"-rerate NaN", exitUsage, "-rerate"},
		{"-users 0", exitUsage, "-users"},
		{"-timeout 0s", exitUsage, "-timeout"},
		{"-check-only", exitUsage, "-state"},
		{"run extra", exitUsage, "extra"},
		{"-data nowhere.json", exitWrong, "npm pack vega-datasets && tar xzf"},
		{"-users 1 -data " + testData(t), exitWrong, "at most 30"},
	} {
		code, _, out := replayed(t, strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(out, tc.says) {
			t.Errorf("replay %s: exit status %d, want %d and %q:\n%s", tc.args, code, tc.code, tc.says, out)
		}
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]string{
		"http://127.0.0.1:8000":    "http://127.0.0.1:8000/api/",
		"http://127.0.0.1:8000/":   "http://127.0.0.1:8000/api/",
		"https://host/blog/api":    "https://host/blog/api/",
		"https://host:1/blog/api/": "https://host:1/blog/api/",
	} {
		if got, err := baseURL(server); got != want || err != nil {
			t.Errorf("baseURL(%q) = %q, %v, want %q", server, got, err, want)
		}
	}
}
