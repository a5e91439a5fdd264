//go:build !planted

// Package planted has bugs that a build with the tag planted can have, so that the fault lab
// (internal/faultlab) can show that it finds them. In every other build the constants are false,
// and the compiler removes what they guard.
package planted

import "time"

// The bugs. What each of them does is said where it is.
const (
	AckEarly           = false
	CommitEarly        = false
	CountTwice         = false
	WallClock          = false
	ForgetInvalidation = false
	SkipSync           = false
)

// Skew is by how much the clock of this process is wrong where WallClock looks at it.
const Skew = time.Duration(0)
