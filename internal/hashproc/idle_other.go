//go:build !linux

package hashproc

import "errors"

const (
	possible = false
	self     = ""
)

func becomeIdle() error { return errors.ErrUnsupported }
