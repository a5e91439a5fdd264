package score

import "time"

// Bucket is the part of a content's history that a rating counts in: hours on a content's first
// day, days from then on.
type Bucket struct {
	Index int   // 0 to 23: hours of the first day; 24 and on: days since
	N     int64 // ratings in it
	Sum   int64 // of their scores
}

// firstDays is the Index of the first bucket that is a day and not an hour.
const firstDays = 24

// Mean returns the average score of the bucket's ratings. N must be positive.
func (b Bucket) Mean() float64 { return float64(b.Sum) / float64(b.N) }

// BucketAt returns the Index of the bucket that a rating accepted at the given time counts in, if
// the content's history starts at start: 0 to 23 for the hours of the first day (0 also for times
// before start), 24 and on for the days since.
func BucketAt(start, at time.Time) int {
	const hour, day = int64(time.Hour / time.Second), int64(24 * time.Hour / time.Second)
	age := int64(at.Sub(start) / time.Second)
	switch {
	case age < 0:
		return 0
	case age < day:
		return int(age / hour)
	}
	return int(firstDays + (age-day)/day)
}

// BucketSpan is the inverse of BucketAt: the times of the ratings that count in a bucket, until
// exclusive. Bucket 0 also counts the ratings before start.
func BucketSpan(start time.Time, bucket int) (from, until time.Time) {
	if bucket < firstDays {
		from = start.Add(time.Duration(bucket) * time.Hour)
		return from, from.Add(time.Hour)
	}
	from = start.AddDate(0, 0, bucket-firstDays+1)
	return from, from.AddDate(0, 0, 1)
}
