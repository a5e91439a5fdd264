package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestMemory: after a burst of ratings the process takes no more memory than SECURITY.md says: that
// of Go, of SQLite, and of the program. The server is built without the race detector, which takes
// memory of its own.
func TestMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("no /proc/self/smaps_rollup, which has the memory of a process")
	}
	program := filepath.Join(t.TempDir(), "server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := startProgram(t, []string{program}, filepath.Join(t.TempDir(), "k.db"))
	tokens, contents := make([]string, 50), make([]string, 1000)
	for i := range tokens {
		tokens[i], _ = c.signUp(fmt.Sprint("burst", i))
	}
	for i := range contents {
		var made struct{ ID string }
		c.setUp(201, "POST", "/api/contents/", tokens[0], object{"title": fmt.Sprint("film ", i)}, &made)
		contents[i] = made.ID
	}
	const posts, clients = 50_000, 400
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	var sent, accepted atomic.Int64
	var burst sync.WaitGroup
	for range clients {
		burst.Go(func() {
			for i := int(sent.Add(1)); i <= posts; i = int(sent.Add(1)) {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/api/ratings/",
					strings.NewReader(fmt.Sprintf(`{"content":%q,"score":%d}`, contents[i/len(tokens)%len(contents)], 1+i%5)))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+tokens[i%len(tokens)])
				if answer, err := client.Do(r); err == nil {
					if answer.StatusCode == http.StatusAccepted {
						accepted.Add(1)
					}
					_ = answer.Body.Close()
				}
			}
		})
	}
	burst.Wait()
	if n := accepted.Load(); n < posts/2 {
		t.Errorf("of %d ratings %d were accepted", posts, n)
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^Pss: +([0-9]+) kB$`).FindSubmatch(rollup)
	if found == nil {
		t.Fatalf("no Pss in %s", rollup)
	}
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the process takes %d MiB", kib>>10)
	if kib<<10 > maxMemory {
		t.Errorf("the process takes %d MiB, want at most %d", kib>>10, maxMemory>>20)
	}
}
