//go:build linux

package hashproc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if Main() {
		return
	}
	os.Exit(m.Run())
}

// newHelper returns a Helper that is closed when the test ends, and what it logs.
func newHelper(t *testing.T) (*Helper, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	h := New(slog.New(slog.NewTextHandler(&log, nil)))
	h.patience = time.Minute // an idle process may have to wait for other tests
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, &log
}

// want is the key of idKey, computed with the reference implementation (argon2-cffi).
const want = "4c0c6205e90ee22387bd8737abfce7fc"

func idKey(h *Helper) string {
	return hex.EncodeToString(h.IDKey([]byte("password"), []byte("somesalt"), 2, 32, 1, 16))
}

// A child hashes, many at once, and all threads of it are idle ones.
func TestAnIdleProcessHashes(t *testing.T) {
	t.Parallel()
	h, log := newHelper(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := idKey(h); got != want {
				t.Errorf("the key is %s, want %s", got, want)
			}
		})
	}
	all.Wait()
	if h.child == nil || log.Len() > 0 {
		t.Fatalf("no process runs: %s", log)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", h.child.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("it has no threads: %v", err)
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ") // from the third field on (proc_pid_stat(5)); the policy is the 41st
		if fields := strings.Fields(after); fields[41-3] != "5" {
			t.Errorf("the policy of %s is %s, want 5, SCHED_IDLE", thread, fields[41-3])
		}
	}
}

// Whatever happens to the process, every password is hashed; and there is another process after a while.
func TestAFailingProcess(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(t *testing.T, h *Helper){
		"killed": func(t *testing.T, h *Helper) {
			send(t, h, syscall.SIGKILL)
		},
		"not startable": func(_ *testing.T, h *Helper) {
			h.command = func() *exec.Cmd { return exec.Command("/nowhere") }
		},
		"another program": func(_ *testing.T, h *Helper) {
			h.command = func() *exec.Cmd { return exec.Command("/bin/true") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log := newHelper(t)
			now := time.Now()
			h.now = func() time.Time { return now }
			fail(t, h)
			for range 2 {
				if got := idKey(h); got != want {
					t.Errorf("the key is %s, want %s", got, want)
				}
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 || h.child != nil {
				t.Errorf("%d warnings, and the process is %v", n, h.child)
			}
			now = now.Add(pause)
			h.command = again
			if got := idKey(h); got != want || h.child == nil {
				t.Errorf("later the key is %s, want %s, and the process %v", got, want, h.child)
			}
		})
	}
}

// What is late is computed here, and what is very late ends the process.
func TestALateProcess(t *testing.T) {
	t.Parallel()
	h, log := newHelper(t)
	now := time.Now()
	h.now = func() time.Time { return now }
	hashed := func() {
		t.Helper()
		if got := idKey(h); got != want {
			t.Errorf("the key is %s, want %s", got, want)
		}
	}
	late := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.child == nil {
			t.Fatal("no process runs")
		}
		return h.child.late
	}
	send(t, h, syscall.SIGSTOP)
	h.patience = time.Millisecond
	hashed()
	h.patience = time.Hour // from now on it is not asked
	hashed()
	if n := late(); n != 1 {
		t.Fatalf("%d answers are late, want 1", n)
	}
	if err := h.child.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); late() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the late answer does not come")
		}
	}
	hashed()
	send(t, h, syscall.SIGSTOP)
	h.patience = time.Millisecond
	hashed()
	now = now.Add(dead)
	hashed()
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || h.child != nil {
		t.Errorf("%d warnings, and the process is %v", n, h.child)
	}
}

func send(t *testing.T, h *Helper, s syscall.Signal) {
	t.Helper()
	if h.patience = time.Minute; idKey(h) == "" || h.child == nil {
		t.Fatal("no process runs")
	}
	if err := h.child.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// After Close there is no process, and none is started.
func TestClose(t *testing.T) {
	t.Parallel()
	h, log := newHelper(t)
	idKey(h)
	pid := h.child.cmd.Process.Pid
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
	if got := idKey(h); got != want || h.child != nil || log.Len() > 0 {
		t.Errorf("the key is %s, want %s, the process %v, and it logged %s", got, want, h.child, log)
	}
}
