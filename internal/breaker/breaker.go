// Package breaker keeps calls away from a server that does not answer, so that they do not all wait
// for their timeouts.
package breaker

import (
	"sync"
	"time"
)

// ProbeInterval is how often a call may try a server again that is taken to be down.
const ProbeInterval = time.Second

// maxFailures in a row are taken for the end of the server.
const maxFailures = 5

// Breaker of one server. The zero value lets calls through.
type Breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	probe    time.Time // when a call may try again, once there are maxFailures
}

// Allows tells whether a call may ask the server.
func (b *Breaker) Allows(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < maxFailures {
		return true
	}
	if now.Before(b.probe) {
		return false
	}
	b.probe = now.Add(ProbeInterval)
	return true
}

// Open tells whether calls are kept away, but for the probes.
func (b *Breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= maxFailures
}

// Succeeded says that the server has answered.
func (b *Breaker) Succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

// Failed says that it has not.
func (b *Breaker) Failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures++; b.failures == maxFailures {
		b.probe = now.Add(ProbeInterval)
	}
}
