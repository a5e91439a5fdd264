package sqlitequeue_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
)

// killedEnv names the file for the process that is to be killed.
const killedEnv = "SQLITEQUEUE_TEST_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(killedEnv); path != "" {
		publishUntilKilled(path)
	}
	os.Exit(m.Run())
}

// publishUntilKilled prints the offset of each message once it is accepted.
func publishUntilKilled(path string) {
	f, err := sqlitefile.Open(path, sqlitefile.Config{})
	if err != nil {
		panic(err)
	}
	q, err := sqlitequeue.New(f, sqlitequeue.Config{})
	if err != nil {
		panic(err)
	}
	for range 7 {
		go publishForEver(q)
	}
	publishForEver(q)
}

func publishForEver(q *sqlitequeue.Queue) {
	for {
		ps, err := q.Publish(context.Background(), message("k", "1"), message("k", "2"))
		if err != nil {
			panic(err)
		}
		fmt.Printf("%d\n%d\n", ps[0].Offset, ps[1].Offset)
	}
}

func TestWhatWasAcceptedSurvivesBeingKilled(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for range 20 {
		accepted := killWhilePublishing(t, path)
		f := openFile(t, path)
		var check string
		if _, err := f.Get(t.Context(), &check, "PRAGMA quick_check"); err != nil || check != "ok" {
			t.Fatalf("quick_check says %q (%v)", check, err)
		}
		q := open(t, f, sqlitequeue.Config{})
		waiting := lag(t, q)
		delivered := map[int64]bool{}
		last := int64(-1)
		for _, d := range consume(t, q, int(waiting)) {
			if d.Offset <= last {
				t.Fatalf("%d follows %d", d.Offset, last)
			}
			last = d.Offset
			delivered[d.Offset] = true
		}
		for _, offset := range accepted {
			if !delivered[offset] {
				t.Errorf("message %d was accepted and is lost", offset)
			}
		}
		if len(delivered)%2 != 0 {
			t.Errorf("%d messages are there of publishes of two", len(delivered))
		}
		f.Close()
	}
}

// killWhilePublishing returns the offsets that a process printed before it was killed.
func killWhilePublishing(t *testing.T, path string) (accepted []int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), killedEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill sync.Once
	fatal := 50 + rand.IntN(200)
	for lines := bufio.NewScanner(out); lines.Scan(); { // what was printed before the kill is read after it
		var offset int64
		if _, err := fmt.Sscan(lines.Text(), &offset); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if accepted = append(accepted, offset); len(accepted) >= fatal {
			kill.Do(func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it ended by itself")
	}
	if len(accepted) < fatal {
		t.Fatalf("it accepted only %d messages", len(accepted))
	}
	return accepted
}
