// Package score computes the published score of a content from its ratings: the seconded average.
//
// The score is the plain average of all ratings, except that what one day alone says (on a
// content's first day: one hour) counts little, and counts in full as soon as other days of the
// same season say it too.
//
// Everything here is a pure function of rows: no clock, no context, no I/O. Two programs with the
// same rows get the same bits.
//
// # Buckets
//
// A Bucket has the number of ratings of each score in a part of the history: the hours of the first
// day since the content's first rating, then days; see BucketAt. The order in which ratings
// arrived does not matter, nor does it matter whether rows were counted up one rating at a time or
// rebuilt.
//
// # The rule
//
// For a candidate S, a row pulls S up by the distances of its ratings above S and down by those
// below: with c ratings of the score v, up = Σ c·(v − S) over v > S, down = Σ c·(S − v) over v ≤ S,
// pull = up − down. A row may pull by
//
//	limit = alone + trust · typical
//
// alone is a few ratings' worth. typical is what other rows of its season pull to the same side:
// the mean of the ranks k+1 to 2k of their pulls, so that k days of a campaign cannot vouch for
// each other. trust is how many times that counts. Of what exceeds the limit, the share Leak
// counts. The sum of the limited pulls of all rows falls as S rises; the score is where it is zero.
//
// Every day lies in two seasons, one of each of two calendars whose seasons begin at different
// days; the larger limit holds. The hours of the first day are a season of their own.
//
// # A worked case
//
// Thirty ordinary days of 25 ratings (mean 4.2, buckets 24 to 53), then a day of 5,000 ones (bucket
// 54, day 31). At S = 4.120585671 an ordinary day pulls down by
// 2·3.120586 + 1·2.120586 + 2·1.120586 + 5·0.120586 = 11.205856. Day 31 lies in the season of days
// 16 to 31: its length is 16, so k is 5 and trust 1 + 16/16 = 2. The ranks 6 to 10 are ordinary
// days: typical is 11.205856, and counts twice: 22.411713. In the other calendar it lies in days 24
// to 47: length 48, k 16, and eight days alone are there, so that the ranks 17 to 32 are empty and
// typical is 0. The limit is 6 + 22.411713 = 28.411713. The day pulls by
// 5000·1 − 5000·4.120585671 = −15602.928355, of which
// 28.411713 + 0.002·(15602.928355 − 28.411713) = 59.560747 counts. The ordinary days pull up by
// 3150 − 750·4.120585671 = 59.560747: the sum is zero, and 4.120585671 is the score. Of the 5,000
// ones 5000·59.560747/15602.928355 = 19.1 count; the others are held.
//
// # What holds
//
// Raising a rating never lowers the score. Adding one at least as high as the score never lowers
// it, adding one at most as high never raises it. Where no row is limited the score is the plain
// mean to the last bit: three ratings always, and ratings of one bucket always. An opinion that
// some three fifths of the days of a season share counts in full.
//
// # What it does not stop
//
// Staying within the noise of days, a few ratings a day. A campaign longer than about three fifths
// of its season: 6 days in the first fortnight, 8 to 14 days in the second month, 6 to 11 weeks on
// an old content. A flood in the first days that is longer than the content's history wins until
// other days outvote it. Floods of fifty times the ratings and more leak: a million ones on 20,000
// ratings move the score by 0.29. A launch week that was honestly better or worse than what
// followed counts less later, and a short honest surge of one opinion that no other day repeats
// stays held.
package score

import "fmt"

// Score is the published score of a content.
type Score struct {
	// Value lies within the scale. It has a meaning only if Counted is positive: otherwise there is
	// no score.
	Value float64
	// Rank is what lists are ordered by: Value drawn to the prior while there are few ratings.
	Rank float64
	// Counted is how many of the ratings count, in fractions; the others are held.
	Counted float64
	// Computed says that a score was computed at all; it is false in the zero Score.
	Computed bool
}

// MaxTrust is the greatest Policy.Trust.
const MaxTrust = 1000

// Policy holds the constants of the score. Its zero value means the defaults. After a change all
// scores must be recomputed.
type Policy struct {
	// Trust is how far days that agree bear each other out: what is typical of a season counts
	// 1 + Trust/length times on top of what a day may pull alone, length being that of the season
	// in days. More lets surges through sooner, less holds more of an honest one. More than 0, at
	// most MaxTrust. Default 16.
	Trust float64
}

func (p Policy) orDefault() Policy {
	if p.Trust == 0 {
		p.Trust = 16
	}
	return p
}

// Validate reports a Trust that is not between 0 and MaxTrust.
func (p Policy) Validate() error {
	if t := p.orDefault().Trust; !(t > 0 && t <= MaxTrust) {
		return fmt.Errorf("score: Trust is %v, must be more than 0 and at most %d", p.Trust, MaxTrust)
	}
	return nil
}

const (
	// Leak is the share that counts of what exceeds a limit.
	Leak = 0.002
	// PriorWeight is how many ratings the prior of Score.Rank weighs as much as.
	PriorWeight = 10
)

// Compute returns the score of a content from its buckets, ascending by Index, and its windows.
func (p Policy) Compute(scale Scale, buckets []Bucket, windows []Window) Score {
	b := p.orDefault().newBalance(scale.OrDefault(), buckets, windows)
	return b.score(b.solve())
}
