package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// TestMain lets the test binary be the server, since only another process can be killed, or the
// storm of BenchmarkLoginStorm.
func TestMain(m *testing.M) {
	if os.Getenv("KHODNEVIS_TEST_CHILD") != "" {
		main()
		return
	}
	if url := os.Getenv("KHODNEVIS_STORM"); url != "" {
		clients, _ := strconv.Atoi(os.Getenv("KHODNEVIS_STORM_CLIENTS"))
		storm(url, clients, os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// open returns a backend that is ready for use, without a log.
func open(s settings) (*backend, error) {
	b, err := plan(s, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := b.build(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// child is a server in a process of its own.
type child struct {
	t    testing.TB
	cmd  *exec.Cmd
	url  string
	log  *testutil.Log
	ends chan error
}

// childEnv is the environment of a server in a process of its own: none of the settings that are
// made around the tests.
func childEnv() []string {
	environ := slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, prefix) })
	return append(environ, "KHODNEVIS_TEST_CHILD=1")
}

// start starts a server on data and waits until it serves.
func start(t testing.TB, data string, args ...string) *child {
	t.Helper()
	return startBy(t, nil, data, args...)
}

// startBy is start by another command, which is given that of the server.
func startBy(t testing.TB, by []string, data string, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, append(slices.Clone(by), exe), data, args...)
}

// startProgram is start of a command that is the server.
func startProgram(t testing.TB, command []string, data string, args ...string) *child {
	t.Helper()
	c := &child{t: t, log: &testutil.Log{}, ends: make(chan error, 1)}
	command = slices.Concat(command, []string{"-addr", "127.0.0.1:0", "-data", data, "-limits", "off"}, args)
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = childEnv()
	c.cmd.Stderr = c.log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server says nothing: %v\n%s", err, c.log)
	}
	_, rest, _ := strings.Cut(first, "http://")
	address, _, ok := strings.Cut(rest, "/")
	if !ok {
		t.Fatalf("the server says %q", first)
	}
	c.url = "http://" + address
	go func() { c.ends <- c.cmd.Wait() }()
	return c
}

// end sends a signal and waits for the process to end.
func (c *child) end(s os.Signal) error {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-c.ends:
		return err
	case <-time.After(60 * time.Second):
		c.t.Fatalf("the server does not end\n%s", c.log)
		return nil
	}
}

// send makes one request; a status of 0 means that no whole answer came.
func (c *child) send(ctx context.Context, method, path, token string, body, answer any) (int, error) {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			c.t.Error(err)
			return 0, err
		}
		sent = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, sent)
	if err != nil {
		return 0, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return 0, err
	}
	if answer != nil && got.StatusCode < 300 {
		if err := json.Unmarshal(text, answer); err != nil {
			return 0, fmt.Errorf("%s: %w", text, err)
		}
	}
	return got.StatusCode, nil
}

// must is send for what cannot fail.
func (c *child) must(want int, method, path, token string, body, answer any) {
	c.t.Helper()
	status, err := c.send(c.t.Context(), method, path, token, body, answer)
	if err != nil || status != want {
		c.t.Fatalf("%s %s: %d %v, want %d\n%s", method, path, status, err, want, c.log)
	}
}

// setUp is must for what a test needs before it begins. A server on a busy machine may answer 503,
// and is asked again, for a minute at most. A registration that is refused then was taken by the
// attempt before.
func (c *child) setUp(want int, method, path, token string, body, answer any) {
	c.t.Helper()
	again := false
	for deadline := time.Now().Add(time.Minute); ; again = true {
		status, err := c.send(c.t.Context(), method, path, token, body, answer)
		switch {
		case err == nil && (status == want || again && status == http.StatusBadRequest):
			return
		case err != nil || status != http.StatusServiceUnavailable || time.Now().After(deadline):
			c.t.Fatalf("%s %s: %d %v, want %d\n%s", method, path, status, err, want, c.log)
		}
	}
}

type object = map[string]any

// signUp registers a user and returns a token and the user's identifier.
func (c *child) signUp(name string) (token, id string) {
	c.t.Helper()
	credentials := object{"username": name, "password": "a rather long one"}
	c.setUp(201, "POST", "/api/users/", "", credentials, nil)
	var login struct {
		Access string
		User   struct{ ID string }
	}
	c.setUp(200, "POST", "/api/users/login/", "", credentials, &login)
	return login.Access, login.User.ID
}

// load submits ratings from several clients, each by a user of its own over all contents again and
// again, until ctx is done or the server is gone. It returns, by rating, the last score that got a
// 202, and the score of an attempt without an answer.
func (c *child) load(
	ctx context.Context, tokens map[string]string, contents []string, accepted func(),
) (sure, unsure map[string]int, odd []string) {
	sure, unsure = map[string]int{}, map[string]int{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	for user, token := range tokens {
		clients.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				content, score := contents[n%len(contents)], 1+(n+len(user)+n/len(contents))%5
				key := content + ":" + user
				mu.Lock()
				unsure[key] = score
				mu.Unlock()
				status, err := c.send(context.WithoutCancel(ctx), "POST", "/api/ratings/", token,
					object{"content": content, "score": score}, nil)
				mu.Lock()
				switch {
				case status == http.StatusAccepted:
					sure[key] = score
					delete(unsure, key)
					accepted()
				case err != nil:
					odd = append(odd, err.Error())
					mu.Unlock()
					return
				default:
					odd = append(odd, fmt.Sprint(status))
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return sure, unsure, odd
}

// settle waits until every accepted rating is stored, and checks that all are and that nothing was
// counted twice.
func (c *child) settle(contents []string, sure, unsure map[string]int) {
	c.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for _, content := range contents {
		for {
			wrong := c.compare(content, sure, unsure)
			if wrong == "" {
				break
			}
			if time.Now().After(deadline) {
				c.t.Fatalf("%s\n%s", wrong, c.log)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
}

func (c *child) compare(content string, sure, unsure map[string]int) string {
	stored := map[string]int{}
	var page struct {
		Next    string
		Results []struct {
			ID    string
			Score int
		}
	}
	for next := "/api/ratings/?page_size=100&content=" + content; next != ""; next = page.Next {
		page.Next, page.Results = "", nil
		c.must(200, "GET", next, "", nil, &page)
		for _, r := range page.Results {
			if _, twice := stored[r.ID]; twice {
				return r.ID + " is listed twice"
			}
			stored[r.ID] = r.Score
		}
	}
	sum := 0
	for key, score := range stored {
		sum += score
		if want, ok := sure[key]; !(ok && score == want) && score != unsure[key] {
			return fmt.Sprintf("%s is stored as %d; last accepted was %d, and in flight %d", key, score, want, unsure[key])
		}
	}
	for key := range sure {
		if _, ok := stored[key]; !ok && strings.HasPrefix(key, content) {
			return fmt.Sprintf("%s got a 202 and is not stored", key)
		}
	}
	var stats struct {
		Count int `json:"ratings_count"`
		Sum   int
	}
	c.must(200, "GET", "/api/contents/"+content+"/stats/", "", nil, &stats)
	if stats.Count != len(stored) || stats.Sum != sum {
		return fmt.Sprintf("%s: %d ratings with sum %d are counted, %d with sum %d are stored", content, stats.Count,
			stats.Sum, len(stored), sum)
	}
	return ""
}

// scene is a server with users and contents.
func scene(t *testing.T, users, contents int) (c *child, data string, tokens map[string]string, ids []string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "khodnevis.db")
	c = start(t, data)
	tokens = map[string]string{}
	last := ""
	for i := range users {
		token, user := c.signUp(fmt.Sprintf("user%d", i))
		tokens[user], last = token, token
	}
	for range contents {
		var made struct{ ID string }
		c.setUp(201, "POST", "/api/contents/", last, object{"title": "t"}, &made)
		ids = append(ids, made.ID)
	}
	return c, data, tokens, ids
}

// kill -9 in the middle of everything: what got a 202 is stored, once.
func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	c, data, tokens, contents := scene(t, 8, 5)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		sure, unsure, _ := c.load(ctx, tokens, contents, func() {
			if n++; n == 300 {
				_ = c.cmd.Process.Kill()
			}
		})
		cancel()
		<-c.ends
		if n < 300 {
			t.Fatalf("only %d ratings were accepted\n%s", n, c.log)
		}
		c = start(t, data)
		c.settle(contents, sure, unsure)
	}
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, c.log)
	}
	if out, err := runCommand(t, data, "verify"); err != nil || !strings.Contains(out, "0 had drifted") {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// SIGTERM under load: requests in flight get their answers, the process ends with 0, and nothing
// accepted is lost.
func TestStoppedServerCutsNothingOff(t *testing.T) {
	t.Parallel()
	c, data, tokens, contents := scene(t, 8, 5)
	n := 0
	var ended error
	stopped := make(chan struct{})
	sure, _, odd := c.load(t.Context(), tokens, contents, func() {
		if n++; n == 300 {
			go func() { defer close(stopped); ended = c.end(syscall.SIGTERM) }()
		}
	})
	<-stopped
	if ended != nil {
		t.Errorf("the server ended with %v\n%s", ended, c.log)
	}
	for _, o := range odd {
		if !slices.ContainsFunc(notRead, func(text string) bool { return strings.Contains(o, text) }) {
			t.Errorf("a client saw %s", o)
		}
	}
	c = start(t, data)
	// what was stored was answered: a request that met a closed connection left nothing behind
	c.settle(contents, sure, nil)
}

// What a client sees of a server that stops, when its request was never read: a connection that is
// refused, or one that was idle and is closed at that moment. net/http has no values for the last
// two.
var notRead = []string{"connection refused", "connection reset", "broken pipe", "EOF", "server closed idle connection"}

// runCommand runs a command of the server in a process of its own.
func runCommand(t *testing.T, data string, args ...string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"-data", data}, args...)...)
	cmd.Env = childEnv()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// falsify breaks the buckets of a content.
func falsify(t *testing.T, data, contentID string) {
	t.Helper()
	db, err := sqlitestore.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	err = db.File().Write(t.Context(), func(tx sqlitefile.Tx) error {
		_, err := tx.Exec(`UPDATE rating_buckets SET n = n + 1 WHERE content = ?`, contentID)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	c, data, tokens, contents := scene(t, 2, 1)
	var token string
	for _, tk := range tokens {
		token = tk
	}
	c.must(202, "POST", "/api/ratings/", token, object{"content": contents[0], "score": 4}, nil)
	c.must(403, "GET", "/api/users/", token, nil, nil)
	if out, err := runCommand(t, data, "staff", "user0"); err != nil || !strings.Contains(out, "user0 is staff now") {
		t.Errorf("staff beside a running server: %v\n%s", err, out)
	}
	var login struct{ Access string }
	c.must(200, "POST", "/api/users/login/", "", object{"username": "user0", "password": "a rather long one"}, &login)
	c.must(200, "GET", "/api/users/", login.Access, nil, nil)
	if out, err := runCommand(t, data, "verify"); err != nil {
		t.Errorf("verify beside a running server: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"recalculate"}, {"recalculate", contents[0]}} {
		if out, err := runCommand(t, data, args...); err != nil ||
			!strings.Contains(out, "1 contents recalculated, 0 had drifted") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	c.must(200, "PUT", "/api/contents/"+contents[0]+"/rating/", token, object{"score": 5}, nil) // stored
	falsify(t, data, contents[0])
	if out, err := runCommand(t, data, "verify"); err == nil ||
		!strings.Contains(out, contents[0]+": bucket 0: 2 ratings of 5, recounted 1\n") ||
		!strings.Contains(out, "1 had drifted") {
		t.Errorf("numbers that had drifted: %v\n%s", err, out)
	}
	if out, err := runCommand(t, data, "verify"); err != nil {
		t.Errorf("once they are repaired: %v\n%s", err, out)
	}
	for _, bad := range [][]string{{"recalculate", "none"}, {"recalculate", "a", "b"}, {"staff"}, {"staff", "nobody"},
		{"nonsense"}, {"verify", "twice"}} {
		if out, err := runCommand(t, data, bad...); err == nil {
			t.Errorf("%v succeeds: %s", bad, out)
		}
	}
}

// A command whose file is not there has been given another one than the server: it must not make
// one and find nothing wrong with it.
func TestCommandsMakeNoFile(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "none.db")
	for _, args := range [][]string{{"verify"}, {"recalculate"}, {"staff", "ana"}, {"nonsense"}} {
		var printed testutil.Log
		err := run(t.Context(), append([]string{"-data", data}, args...), nil, nil, &printed, &printed)
		if err == nil {
			t.Errorf("%q succeeds: %s", args, &printed)
		}
		if args[0] != "nonsense" &&
			(!errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "-data") ||
				!strings.Contains(err.Error(), data)) {
			t.Errorf("%q: %v", args, err)
		}
		if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%q made a file: %v", args, err)
		}
	}
}

// A command needs no queue: with the store in PostgreSQL it leaves the file alone, and says so.
func TestCommandsNameTheirAdapters(t *testing.T) {
	t.Parallel()
	const away = "postgres://u@127.0.0.1:1/db?sslmode=disable"
	data := filepath.Join(t.TempDir(), "data.db")
	db, err := sqlitestore.Open(data)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"khodnevis works on SQLite in " + data + "\n": {"-data", data, "verify"},
		"khodnevis works on PostgreSQL, Redis\n": {"-data", data + "none", "-postgres", away, "-redis", "127.0.0.1:1",
			"verify"},
		"khodnevis works on PostgreSQL\n": {"-data", data + "none", "-postgres", away, "-kafka", "127.0.0.1:1", "verify"},
	} {
		var stdout, stderr testutil.Log
		err := run(t.Context(), args, nil, nil, &stdout, &stderr)
		if !strings.HasPrefix(stderr.String(), want) {
			t.Errorf("%q says %q (%v), want %q", args, &stderr, err, want)
		}
		if strings.Contains(stdout.String(), "works on") {
			t.Errorf("%q mixes it with what was asked for: %s", args, &stdout)
		}
	}
	if _, err := os.Stat(data + "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a command on PostgreSQL made a file: %v", err)
	}
}
