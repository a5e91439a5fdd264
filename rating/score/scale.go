package score

import "fmt"

// Scale is the range of the scores of ratings, both ends included. The zero Scale means 1 to 5. A
// scale may grow while ratings are stored. A scale that shrinks leaves stored ratings as they are:
// those outside of it still count in sums and averages, and are missing from the histogram.
type Scale struct{ Min, Max int }

const (
	// MaxSteps is the greatest number of different scores that a Scale may have.
	MaxSteps = 101
	// MaxScore is how far from 0 a score may be.
	MaxScore = 1_000_000
)

// OrDefault returns 1 to 5 for the zero Scale, and every other scale as it is.
func (s Scale) OrDefault() Scale {
	if s == (Scale{}) {
		return Scale{Min: 1, Max: 5}
	}
	return s
}

// Contains reports whether score lies on the scale.
func (s Scale) Contains(score int) bool { return s.Min <= score && score <= s.Max }

// Validate reports a scale that cannot be used: fewer than two or more than MaxSteps scores, or
// bounds beyond ±MaxScore.
func (s Scale) Validate() error {
	s = s.OrDefault()
	if s.Min < -MaxScore || s.Max > MaxScore || s.Max <= s.Min || s.Max-s.Min >= MaxSteps {
		return fmt.Errorf("score: a scale from %d to %d: it must have 2 to %d whole scores between -%d and %d",
			s.Min, s.Max, MaxSteps, MaxScore, MaxScore)
	}
	return nil
}
