package breaker_test

import (
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/breaker"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	var b breaker.Breaker
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fail := func(n int) {
		for range n {
			b.Failed(now)
		}
	}
	want := func(what string, open, allows bool) {
		t.Helper()
		if b.Open() != open || b.Allows(now) != allows {
			t.Errorf("%s: open is %v, want %v, or it does not let calls through as it should", what, b.Open(), open)
		}
	}
	fail(4)
	want("four failures", false, true)
	b.Succeeded()
	fail(4)
	want("four failures after a success", false, true)
	fail(1)
	want("five in a row", true, false)
	now = now.Add(time.Second)
	want("a second later", true, true)
	want("again at once", true, false)
	fail(1) // the probe
	want("the probe failed", true, false)
	now = now.Add(time.Second)
	want("another second later", true, true)
	b.Succeeded()
	want("the probe succeeded", false, true)
}
