//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// skipSync is the planted bug that kill -9 does not show: commits that are not synced survive the
// process, and not a power cut.
const skipSync = "skip-sync"

// syncedWrites is how many writes are sent, one after the other.
const syncedWrites = 40

// countSyncs sends writes to the embedded server under strace, one after the other, and demands at
// least one sync of the disk during each that was acknowledged. Then it demands that a build that
// skips syncs does not pass.
func (l *lab) countSyncs(ctx context.Context) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("no strace: install it, on Debian by apt-get install strace")
	}
	for _, plant := range []string{"", skipSync} {
		acknowledged, synced, err := l.syncs(ctx, plant)
		if err != nil {
			return err
		}
		fmt.Fprintf(l.out, "faultlab: syncs plant=%s acknowledged=%d synced=%d\n", plant, acknowledged, synced)
		if acknowledged < syncedWrites {
			return fmt.Errorf("%d of %d writes were acknowledged", acknowledged, syncedWrites)
		}
		if (synced == acknowledged) != (plant == "") {
			return fmt.Errorf("planted %q: %d of %d acknowledged writes were synced", plant, synced, acknowledged)
		}
	}
	return nil
}

// syncs returns how many writes were acknowledged, and during how many of them the disk was synced.
func (l *lab) syncs(ctx context.Context, plant string) (acknowledged, synced int, err error) {
	dir, err := os.MkdirTemp("", "faultlab-syncs-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	binary, err := build(l.root, dir, plant != "")
	if err != nil {
		return 0, 0, err
	}
	addrs, err := freePorts(1)
	if err != nil {
		return 0, 0, err
	}
	// Without a worker nobody else syncs.
	n := newNode(dir, binary, "server1", addrs[0], "api", plant, "KHODNEVIS_DATA="+filepath.Join(dir, "lab.db"))
	trace := filepath.Join(dir, "trace")
	n.process.argv = []string{"strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", trace, binary}
	defer n.process.kill()
	if err := n.process.start(); err != nil {
		return 0, 0, err
	}
	h, err := newHistory(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return 0, 0, err
	}
	defer h.file.Close()
	w := &world{stack: &stack{apis: []*node{n}}, history: h}
	c, author := newClient("writer", h), &account{name: "lab00", password: "a lab of faults"}
	if err := author.join(c, n); err != nil {
		return 0, 0, err
	}
	for range syncedWrites / 2 {
		var before, after int
		before, _ = countTrace(trace)
		made := w.create(c, n, author, true)
		if made == nil {
			return acknowledged, synced, errors.New("a content cannot be made")
		}
		middle, _ := countTrace(trace)
		o := w.rateContent(c, n, made.id, author, 4, http.MethodPost, nil)
		if after, err = countTrace(trace); err != nil {
			return acknowledged, synced, err
		}
		if o.fate() != done {
			return acknowledged, synced, fmt.Errorf("a rating is not taken: %s", o)
		}
		for _, n := range []int{middle - before, after - middle} {
			acknowledged++
			if n > 0 {
				synced++
			}
		}
	}
	return acknowledged, synced, ctx.Err()
}

// countTrace returns how many syncs have succeeded. strace writes each down before the process goes
// on.
func countTrace(path string) (n int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, "sync") && strings.HasSuffix(line, "= 0") {
			n++
		}
	}
	return n, lines.Err()
}
