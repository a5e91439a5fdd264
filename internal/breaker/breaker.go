// Package breaker is a circuit breaker: it keeps calls away from a server that does not answer, so
// that they do not all wait for their timeouts.
package breaker

import (
	"sync"
	"time"
)

// ProbeInterval is how often a call may try the server while the circuit breaker is open.
const ProbeInterval = time.Second

// maxFailures in a row open the circuit breaker.
const maxFailures = 5

// Breaker is the circuit breaker of one server. The zero value is closed: it lets calls pass.
type Breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	probe    time.Time // when a call may try again, once there are maxFailures
}

// Allows reports whether a call may ask the server.
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

// Open reports whether calls are kept away, except the probes.
func (b *Breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= maxFailures
}

// Succeeded records that the server has answered, and closes the breaker.
func (b *Breaker) Succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

// Failed records that the server has not answered.
func (b *Breaker) Failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures++; b.failures == maxFailures {
		b.probe = now.Add(ProbeInterval)
	}
}
