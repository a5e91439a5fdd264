package worker

import "time"

// Schedule says when a job is due. Next returns the first time after t; a zero time means never.
type Schedule interface{ Next(t time.Time) time.Time }

// Every returns a schedule that is due at every whole multiple of d, counted from the zero time, so
// that all processes agree. d is at least a second.
func Every(d time.Duration) Schedule { return every(max(d, time.Second)) }

type every time.Duration

func (e every) Next(t time.Time) time.Time {
	d := time.Duration(e)
	return t.UTC().Truncate(d).Add(d)
}
