package rating

import (
	"time"

	"github.com/khodnevis/khodnevis/rating/score"
)

// Compare returns -1, 0 or 1 if v is before, at or after o.
func (v Version) Compare(o Version) int {
	switch {
	case v.Epoch != o.Epoch && v.Epoch < o.Epoch, v.Epoch == o.Epoch && v.Offset < o.Offset:
		return -1
	case v == o:
		return 0
	}
	return 1
}

// ordinal maps versions to numbers in the same order, for offsets up to 2^40 (an epoch of a million
// million messages) and 2^22 epochs.
func (v Version) ordinal() int64 {
	const offsets, epochs = 1<<40 - 1, 1<<22 - 1
	return min(v.Epoch, epochs)<<40 | min(v.Offset, offsets)
}

// For adapters: Apply applies c to old, the rating that is stored under the key of c, a tombstone,
// or the zero Rating if there is none. start is when the history of the content starts. Apply
// returns the outcome, and whether the adapter must store the rating of the outcome. A duplicate has
// the version that is stored; it changes nothing and has the result that it had the first time. A
// change with an older version is Superseded, as from a worker that was believed dead (fencing).
// Apply does not know whether the content is deleted.
func (c Change) Apply(old Rating, start time.Time) (Outcome, bool) {
	known := old.Result != ""
	if known {
		switch c.Version.Compare(old.Version) {
		case -1:
			return Outcome{Result: Superseded, Rating: old}, false
		case 0:
			return Outcome{Result: old.Result, Rating: old}, false
		}
	}
	next := Rating{Key: c.Key, Version: c.Version, Score: c.Score, Bucket: score.BucketAt(start, c.At), CreatedAt: c.At,
		UpdatedAt: c.At}
	if known && !old.Withdrawn {
		next.CreatedAt = old.CreatedAt
	}
	switch {
	case c.Withdraw:
		next.Result, next.Withdrawn, next.Score, next.Bucket = Withdrawn, true, 0, 0
	case !known || old.Withdrawn:
		next.Result = Created
	case old.Score == c.Score:
		next.Result, next.Bucket, next.UpdatedAt = Unchanged, old.Bucket, old.UpdatedAt
	default:
		next.Result = Updated
		if next.UpdatedAt.Before(old.UpdatedAt) { // the clock went back
			next.UpdatedAt, next.Bucket = old.UpdatedAt, old.Bucket
		}
	}
	return Outcome{Result: next.Result, Rating: next}, true
}

// For adapters: Reassign returns the rating of c.ReassignTo that c makes of old, the same rating as
// for Apply, or false if c reassigns nothing. The adapter stores that rating, and then no number
// changes, unless the content has a rating of c.ReassignTo, tombstones included.
func (c Change) Reassign(old Rating) (Rating, bool) {
	if !c.Withdraw || c.ReassignTo == "" || old.Result == "" || old.Withdrawn {
		return Rating{}, false
	}
	old.Rater, old.Version, old.Result = c.ReassignTo, c.Version, Created
	return old, true
}
