// Package failing keeps since when something fails, for the metrics of operators.
package failing

import (
	"sync/atomic"
	"time"
)

// Since is the time of the first failure after the last success. The zero value has none. It may be
// used concurrently.
type Since struct{ at atomic.Pointer[time.Time] }

// Note records the outcome of an attempt.
func (s *Since) Note(failed bool) {
	switch at := s.at.Load(); {
	case failed && at == nil:
		now := time.Now()
		s.at.CompareAndSwap(nil, &now)
	case !failed && at != nil:
		s.at.CompareAndSwap(at, nil)
	}
}

// Time returns the time, the zero time if the last attempt was no failure.
func (s *Since) Time() time.Time {
	if at := s.at.Load(); at != nil {
		return *at
	}
	return time.Time{}
}
