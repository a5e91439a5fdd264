//go:build unix

package main

import "syscall"

// maxFiles returns how many files this process may have open, connections among them; 0: nobody knows.
func maxFiles() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 0
	}
	return int(min(files.Cur, 1<<30)) //nolint:gosec // it fits
}
