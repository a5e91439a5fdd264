package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The server has passwords hashed by a process of its own, which ends with it, however that ends, and then lets go of its standard error, too.
func TestPasswordsAreHashedApart(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		c := start(t, filepath.Join(t.TempDir(), "test.db"))
		c.signUp("alice")
		if n := len(hashing(t, c.cmd.Process.Pid)); n != 1 {
			t.Errorf("%d processes hash, want 1", n)
		}
		if err := c.end(s); (err == nil) != (s == syscall.SIGTERM) { // it waits for the end of the standard error
			t.Errorf("after %v: %v", s, err)
		}
	}
}

// hashing returns the processes that hash for one.
func hashing(t *testing.T, parent int) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range all {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // or it has ended
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		if strings.Contains(string(args), "\x00hash-passwords\x00") && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			found = append(found, dir)
		}
	}
	return found
}
