package rediscache

import (
	"errors"
	"sync"
	"time"
)

// ErrDown says that Redis did not answer lately and was not asked this time.
var ErrDown = errors.New("rediscache: Redis does not answer and was not asked again")

const (
	// maxFailures in a row are taken for the end of Redis.
	maxFailures = 5
	// probeInterval is how often a call may try it again.
	probeInterval = time.Second
)

// breaker keeps calls away from a Redis that does not answer, so that they do not all wait for their timeouts.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	probe    time.Time // when a call may try again, once there are maxFailures
}

// allows tells whether a call may ask Redis.
func (b *breaker) allows(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < maxFailures {
		return true
	}
	if now.Before(b.probe) {
		return false
	}
	b.probe = now.Add(probeInterval)
	return true
}

// open tells whether calls are kept away, but for the probes.
func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= maxFailures
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

func (b *breaker) failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures++; b.failures == maxFailures {
		b.probe = now.Add(probeInterval)
	}
}
