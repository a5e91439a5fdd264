// Package testutil is what the tests of several packages share: a log that can be read while it is
// written, waiting for a condition, and a clock that a test moves.
package testutil

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// pollPause is the pause between two looks at a condition.
const pollPause = 5 * time.Millisecond

// Eventually waits until holds returns true, and fails the test after within.
func Eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(pollPause) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// Succeeds waits until try returns nil, and fails the test with its last error after within.
func Succeeds(t testing.TB, within time.Duration, what string, try func() error) {
	t.Helper()
	if err := Try(within, try); err != nil {
		t.Fatalf("not within %v: %s (%v)", within, what, err)
	}
}

// Try waits until try returns nil, and returns its last error after within.
func Try(within time.Duration, try func() error) error {
	for deadline := time.Now().Add(within); ; time.Sleep(pollPause) {
		if err := try(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Log is a log that can be read while it is written. The zero value is empty.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Has reports whether text was written.
func (l *Log) Has(text string) bool { return strings.Contains(l.String(), text) }

// Count returns how often text was written.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Reset empties the log.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// Clock stands still until it is moved.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a Clock at a time.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
