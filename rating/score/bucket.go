package score

import "time"

// Bucket is the part of a content's history that a rating counts in: hours on the first day since
// the content's first rating, days from then on.
type Bucket struct {
	// Index is 0 to 23 for the hours of the first day, 24 and on for the days since.
	Index int
	// Counts has the number of ratings of each score, ascending by Score. Scores without ratings
	// may be missing.
	Counts []Count
}

// Count is how many ratings of a bucket have a score.
type Count struct {
	Score int
	N     int64
}

// Cell is the ratings of one score in a bucket.
type Cell struct{ Bucket, Score int }

// Ratings returns how many ratings are in the bucket.
func (b Bucket) Ratings() (n int64) {
	for _, c := range b.Counts {
		n += c.N
	}
	return n
}

// Sum returns the sum of their scores.
func (b Bucket) Sum() (sum int64) {
	for _, c := range b.Counts {
		sum += c.N * int64(c.Score)
	}
	return sum
}

// firstDays is the Index of the first bucket that is a day and not an hour.
const firstDays = 24

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
