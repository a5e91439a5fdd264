//go:build !linux

package hashproc

import (
	"errors"
	"os/exec"
)

const possible = false

func startIdle(*exec.Cmd) error { return errors.ErrUnsupported }
