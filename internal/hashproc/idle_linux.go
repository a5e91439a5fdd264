package hashproc

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

const possible = true

// startIdle starts cmd with the policy SCHED_IDLE (sched(7)): whoever else wakes up takes its processor at once. A process has the policy of the
// thread that starts it; that one here serves for nothing else and ends with its goroutine.
func startIdle(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
			started <- fmt.Errorf("sched_setattr: %w", err)
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}
