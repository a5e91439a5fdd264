package kvstore

import (
	"bytes"
	"iter"
	"time"
)

// intersect ranges over the intersection of sorted lists, within s, by leapfrogging. A list is what
// follows a prefix in the keys that have it. intersect seeks in one list after the other the first
// end that is not before the candidate; that end is the next candidate, and a candidate that every
// list has is in the intersection. So intersect seeks in each list at most once more often than the
// shortest list is long. A round of seeks in all lists costs one row of the budget.
func (t *tx) intersect(lists [][]byte, s span, b *budget) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if len(lists) == 1 {
			s.prefix = lists[0]
			for end := range t.scan(s) {
				if !b.spend() || !yield(end) {
					return
				}
			}
			return
		}
		var candidate []byte
		for i, agree := 0, 0; ; i++ {
			s.prefix = lists[i%len(lists)]
			end, ok := t.first(s)
			if !ok || i%len(lists) == len(lists)-1 && !b.spend() {
				return
			}
			if !bytes.Equal(end, candidate) {
				candidate, agree = end, 0
				s = s.from(end)
			}
			if agree++; agree < len(lists) {
				continue
			}
			if !yield(candidate) {
				return
			}
			s, candidate = s.beyond(candidate), nil
		}
	}
}

// from returns the part of s that begins at an end in s, in its direction.
func (s span) from(end []byte) span {
	if s.descending {
		s.high = append(bytes.Clone(end), 0)
	} else {
		s.low = end
	}
	return s
}

// beyond returns the part of s that follows an end, in its direction.
func (s span) beyond(end []byte) span {
	next := append(bytes.Clone(end), 0)
	switch {
	case s.descending && (len(s.high) == 0 || bytes.Compare(end, s.high) < 0):
		s.high = end
	case !s.descending && bytes.Compare(next, s.low) > 0:
		s.low = next
	}
	return s
}

// during returns the span of the keys that begin with a time that is not before from, and is before
// before, if these are set.
func during(from, before time.Time) (s span) {
	if !from.IsZero() {
		s.low = extend(nil, from)
	}
	if !before.IsZero() {
		s.high = extend(nil, before)
	}
	return s
}
