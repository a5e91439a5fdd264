package hashproc

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	possible = true
	self     = "/proc/self/exe"
)

// becomeIdle begins this program anew with the policy SCHED_IDLE (sched(7)): whoever else wakes up takes its processor at once. A policy is that of a
// thread, and of a program the one that begins it, so it is not too late for the threads that there are. It returns only if it fails.
func becomeIdle() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
		return fmt.Errorf("sched_setattr: %w", err)
	}
	return fmt.Errorf("execve: %w", syscall.Exec(self, []string{self, argument, idle}, nil))
}
