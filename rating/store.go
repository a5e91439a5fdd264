package rating

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/score"
)

// A Store keeps ratings and every number derived from them. Methods may be called concurrently,
// also from several processes, and share no memory with the caller. Times come and go as UTC with
// microseconds.
type Store interface {
	// ApplyRatings records batch in one transaction: all of it or, with an error, nothing. Of two
	// changes of a Key, whenever they come, the one of the higher Version wins and the other one is
	// Superseded. Count, sum, histogram and buckets are equal to the rows after every transaction,
	// with any number of callers at once. A withdrawal with ReassignTo hands what it
	// withdraws over to that one, so that no number changes. The outcomes stand in the order of
	// batch.Changes. ErrUnstorable: the database will never take one of the changes. Dead
	// letters it always takes, whatever bytes their keys, bodies and details are made of: there is
	// no other place for them.
	ApplyRatings(ctx context.Context, batch Batch) ([]Outcome, error)
	// RatingsByKey returns those of keys that have ever been rated, each once, in any order,
	// withdrawn ones included and marked.
	RatingsByKey(ctx context.Context, keys []Key) ([]Rating, error)
	// ListRatings returns at most q.Limit ratings that match q.Filter and are not withdrawn, in
	// q.Order, after q.After. ErrTooBroad: to find them it would have to look at many more than
	// q.MaxRows rows. It never leaves a match out instead. Never too broad are: a list without a
	// filter, in any order; one of a content in the order ByKey; one of a rater in the orders by
	// time; and one whose content, rater or span of time at most q.MaxRows ratings have.
	ListRatings(ctx context.Context, q Query) ([]Rating, error)
	// CountRatings returns how many ratings that are not withdrawn match f, and maxRows+1 if more
	// than maxRows do. ErrTooBroad: to count them it would have to look at many more than maxRows
	// rows. A count is never too broad without a filter, with a content, a rater or a span of time
	// alone, or where at most maxRows ratings have one of these. A maxRows of 0 bounds nothing.
	CountRatings(ctx context.Context, f Filter, maxRows int) (int64, error)

	// EraseContent removes every rating of a content that is kept elsewhere; those that are
	// applied later are refused. Forgetting again, or what was never rated, is no error.
	EraseContent(ctx context.Context, id string) error

	// StatsByContent returns the numbers of those of ids that have ever been rated, each once, in
	// any order.
	StatsByContent(ctx context.Context, ids []string) ([]Stats, error)
	// StartHistories records for each content when its history opened, unless that is recorded
	// already, and returns what is recorded for all of them, in their order. What was recorded once
	// never changes.
	StartHistories(ctx context.Context, openings []HistoryStart) ([]HistoryStart, error)
	// RefreshScores claims at most limit contents whose buckets have changed since their last fold,
	// hands the non-empty buckets of each to fold in ascending order, records the result and
	// returns the new Stats. The content's windows come with them, in ascending order of ID. Of two
	// calls at once, in one process or in two, a content is claimed by one. A content that changes
	// meanwhile is claimed again later. A content whose ratings are all withdrawn gives fold no
	// bucket. fold must not call the store.
	RefreshScores(ctx context.Context, limit int, compute func(History) score.Score) ([]Stats, error)
	// MarkChanged has those of ids that have ever been rated claimed by the next RefreshScores, as
	// if their buckets had changed.
	MarkChanged(ctx context.Context, ids []string) error
	// HistoryByContent returns what RefreshScores would hand to fold for a content, and when its
	// history opened. An unknown content has an empty one.
	HistoryByContent(ctx context.Context, id string) (History, error)
	// AddWindow records w and, if its content has ever been rated, has it claimed by the next
	// RefreshScores. One whose content and ID are recorded already changes nothing. A deleted
	// content takes its windows along, and one that comes later is ErrNotFound.
	AddWindow(ctx context.Context, w Window) error
	// RemoveWindow removes a window and has its content claimed like AddWindow. A missing window is
	// ErrNotFound.
	RemoveWindow(ctx context.Context, content, id string) error
	// RatedContents returns at most limit identifiers after the given one, bytewise ascending, of
	// the contents that have rows or numbers here.
	RatedContents(ctx context.Context, after string, limit int) ([]string, error)
	// Recount computes the numbers of the contents ids from their rows, repairs what differs, and
	// reports it. Changes that are applied meanwhile are neither lost nor counted twice. What was
	// repaired is claimed by the next RefreshScores.
	Recount(ctx context.Context, ids []string) ([]Drift, error)

	// Installation returns the identity of the database: 1 to 64 of a-z, 0-9 and hyphen, made at
	// random together with the database, for ever the same, and another one in every other
	// database.
	Installation(ctx context.Context) (string, error)

	// StreamEpoch returns the epoch of a stream, for ever the same. A stream that it has not seen
	// before gets one greater than all before.
	StreamEpoch(ctx context.Context, stream string) (int64, error)
	// KnownEpoch returns the epoch that StreamEpoch has given a stream, and never gives one. A
	// stream that has none is ErrNotFound, whatever bytes its name is made of.
	KnownEpoch(ctx context.Context, stream string) (int64, error)
	// ClaimLease reports whether the caller shall do what job does at the time at. Of all callers
	// that ask for one job and time one is told so; a time before one already claimed is nobody's.
	// While a claim's lease runs, no later time is claimed, unless ReleaseLease has ended it.
	ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error)
	// ReleaseLease ends the lease of the claim of job and at. Without such a claim it does nothing.
	ReleaseLease(ctx context.Context, job string, at time.Time) error

	// RecordErasure records that a rater left. The last record of a rater counts.
	RecordErasure(ctx context.Context, d Erasure) error
	// Erasures returns at most limit of those who left at the given time or later, after the
	// given rater, in the order of Rater, bytewise.
	Erasures(ctx context.Context, since time.Time, after string, limit int) ([]Erasure, error)

	// ListDeadLetters returns at most q.Limit dead letters that match, in ascending order of ID,
	// after q.After.
	ListDeadLetters(ctx context.Context, q DeadLetterQuery) ([]DeadLetter, error)
	// DeleteDeadLetters removes dead letters. Missing ones are no error.
	DeleteDeadLetters(ctx context.Context, ids []int64) error
	// SweepRatings removes at most limit withdrawn ratings, dead letters and erasures from
	// before the given time and returns how many. It also removes, piece by piece, the rows that
	// deleted and forgotten contents have left; nobody sees them, so they do not count.
	SweepRatings(ctx context.Context, before time.Time, limit int) (int, error)
}

// An Auditor is a Store that can look for wrong numbers in all contents at once, many times faster
// than content by content. It is optional: without it, and when it fails, Recalculator.Recount
// walks through the contents.
type Auditor interface {
	// Audit returns how many contents have ratings or numbers, and the identifiers of those whose
	// numbers are not what their rows say, bytewise ascending. It looks at one moment, takes no
	// locks and changes nothing. With a probability of one in thousands of millions it may miss a
	// content whose numbers are wrong; one that is right it never names.
	Audit(ctx context.Context) (contents int, suspects []string, err error)
}

// Batch is what a worker made of the messages it was handed.
type Batch struct {
	// Changes holds each Key at most once, in any order.
	Changes []Change
	// DeadLetters are the messages that can never be applied. A message that is recorded already is
	// recorded once.
	DeadLetters []DeadLetter
}

// Change sets or withdraws a rating.
type Change struct {
	Key
	Version Version
	// Score is what the rating shall be; 0 when Withdraw.
	Score    int
	Withdraw bool
	// ReassignTo, if not empty, makes a withdrawal keep the rating for the numbers: its score,
	// bucket and times become a rating of this rater, of the change's Version and with the Result
	// Created. It is a rater that the content does not know; to one that it does nothing is handed
	// over. It means nothing where nothing is withdrawn: without Withdraw, or when there is no
	// rating, or when the change is Superseded or comes again.
	ReassignTo string
	// Bucket is the one that a new score counts in. The same score again leaves the rating in its
	// bucket.
	Bucket int
	// At is when the change was accepted.
	At time.Time
}

// Apply is for adapters. Given the rating that is stored under the change's key, withdrawn or not,
// or the zero Rating if there is none, it returns the outcome, and whether the adapter is to store
// the outcome's rating in its place. It does not know whether the content was deleted.
func (c Change) Apply(old Rating) (Outcome, bool) {
	known := old.Result != ""
	if known {
		switch c.Version.Compare(old.Version) {
		case -1:
			return Outcome{Result: Superseded, Rating: old}, false
		case 0:
			return Outcome{Result: old.Result, Rating: old}, false
		}
	}
	next := Rating{Key: c.Key, Version: c.Version, Score: c.Score, Bucket: c.Bucket, CreatedAt: c.At, UpdatedAt: c.At}
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
	}
	return Outcome{Result: next.Result, Rating: next}, true
}

// Reassign is for adapters. Given the same rating as Apply, it returns the rating of c.ReassignTo,
// and false if c hands nothing over. The adapter stores that rating, and then no number changes,
// unless the content has a rating of c.ReassignTo, withdrawn or not.
func (c Change) Reassign(old Rating) (Rating, bool) {
	if !c.Withdraw || c.ReassignTo == "" || old.Result == "" || old.Withdrawn {
		return Rating{}, false
	}
	old.Rater, old.Version, old.Result = c.ReassignTo, c.Version, Created
	return old, true
}

// Outcome is what became of a Change.
type Outcome struct {
	// Result is Created, Updated, Unchanged, Withdrawn or Superseded. A change that comes again,
	// with the very Version that is stored, has the Result that it had the first time.
	Result Result
	// Refused tells that the content was deleted; nothing was changed and Result is empty.
	Refused bool
	// Rating is as it is stored now.
	Rating Rating
}

// Erasure is a rater who left for good.
type Erasure struct {
	Rater string
	// ErasureMode is what becomes of the ratings.
	Mode ErasureMode
	// At is when the rater left.
	At time.Time
}

// HistoryStart is when the history of a content opened.
type HistoryStart struct {
	Content string
	At      time.Time
}

// DeadLetter is a message that can never be applied, kept for people to look at.
type DeadLetter struct {
	// ID is given by the store; later ones are greater.
	ID int64
	// Position and Key are the message's. Together they name it.
	Position queue.Position
	Key      string
	// Body is the message's, cut to 64 KiB.
	Body []byte
	// Reason is a stable code; Detail is for people.
	Reason, Detail string
	At             time.Time
}

// DeadLetterQuery asks for dead letters.
type DeadLetterQuery struct {
	// Key, if not empty, is that of the messages meant.
	Key string
	// Position, if its Stream is not empty, is that of the message meant.
	Position queue.Position
	// After is the ID after which the piece starts. Where several processes record messages at
	// once, IDs are given before their rows can be seen, so that a message may turn up before the
	// place where somebody pages. Who must not miss any begins at 0 again until nothing is left,
	// and removes what was dealt with.
	After int64
	// Limit is at least 1.
	Limit int
}

// Filter says which ratings are meant. The zero Filter means all; conditions that are set must all
// hold.
type Filter struct {
	Content, Rater string
	// ScoreMin and ScoreMax bound the score, both included.
	ScoreMin, ScoreMax *int
	// UpdatedFrom is the earliest time of the present score that matches, UpdatedBefore the first
	// that no longer does.
	UpdatedFrom, UpdatedBefore time.Time
}

// Order is the order of a list of ratings.
type Order int

// The orders. Ratings of one time stand in the order of their keys, which runs in the same
// direction.
const (
	ByKey       Order = iota // by content, then rater, bytewise
	NewestFirst              // by UpdatedAt, then key, descending
	OldestFirst              // by UpdatedAt, then key, ascending
)

// Query asks for a piece of a list.
type Query struct {
	Filter Filter
	Order  Order
	// After is the place where the piece starts, exclusively; nil: at the beginning. The rating
	// that stood there may be gone.
	After *Cursor
	// Limit is at least 1.
	Limit int
	// MaxRows is about how many rows the store may look at beside those that it returns. 0: any
	// number.
	MaxRows int
}

// Served reports, for adapters, whether q is a list that is never too broad whatever its ratings
// are, so that an index must serve it. See Store.ListRatings.
func (q Query) Served() bool {
	f := q.Filter
	switch {
	case q.MaxRows == 0, f.Content != "" && f.Rater != "":
		return true
	case f.ScoreMin != nil || f.ScoreMax != nil:
		return false
	case q.Order == ByKey:
		return f.Rater == "" && f.UpdatedFrom.IsZero() && f.UpdatedBefore.IsZero()
	}
	return f.Content == ""
}

// Parts returns, for adapters, the filters that an index finds ratings by and that f consists of:
// its content, its rater within its span of time, its span of time, and last all ratings.
func (f Filter) Parts() []Filter {
	var parts []Filter
	if f.Content != "" {
		parts = append(parts, Filter{Content: f.Content})
	}
	if f.Rater != "" {
		parts = append(parts, Filter{Rater: f.Rater, UpdatedFrom: f.UpdatedFrom, UpdatedBefore: f.UpdatedBefore})
	}
	if !f.UpdatedFrom.IsZero() || !f.UpdatedBefore.IsZero() {
		parts = append(parts, Filter{UpdatedFrom: f.UpdatedFrom, UpdatedBefore: f.UpdatedBefore})
	}
	return append(parts, Filter{})
}

// Cursor is the place of a rating in an ordered list. At is ignored in the order ByKey.
type Cursor struct {
	At time.Time
	Key
}
