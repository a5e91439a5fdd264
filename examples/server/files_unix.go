//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// maxFiles returns how many files this process may have open, connections among them; 0: nobody
// knows.
func maxFiles() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 0
	}
	return int(min(files.Cur, 1<<30)) //nolint:gosec // it fits
}

// exposed returns which of the files of a database somebody else than its owner may read or write.
func exposed(path string) []string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the others are beside it
	}
	var names []string
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o066 != 0 {
			names = append(names, name)
		}
	}
	return names
}
