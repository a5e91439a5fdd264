//go:build planted

package planted

import (
	"cmp"
	"os"
	"time"
)

// The bugs. KHODNEVIS_TEST_PLANTED names the one that this process has.
var (
	AckEarly           = has("ack-early")
	CommitEarly        = has("commit-early")
	CountTwice         = has("count-twice")
	WallClock          = has("wall-clock")
	ForgetInvalidation = has("forget-invalidation")
	SkipSync           = has("skip-sync")
)

// Skew is KHODNEVIS_TEST_SKEW, 0 without it.
var Skew = skew()

func has(bug string) bool { return os.Getenv("KHODNEVIS_TEST_PLANTED") == bug }

func skew() time.Duration {
	d, err := time.ParseDuration(cmp.Or(os.Getenv("KHODNEVIS_TEST_SKEW"), "0"))
	if err != nil {
		panic(err)
	}
	return d
}
