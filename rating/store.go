package rating

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/score"
)

// For adapters: a Store keeps ratings and every number derived from them. It is composed of slices
// of a few methods. Methods may be called concurrently, also from several processes, and share no
// memory with the caller. Times come and go as UTC with microseconds. ErrUnavailable and
// ErrUnstorable are those of package store.
type Store interface {
	RatingStore
	StatsStore
	ScoreStore
	StreamStore
	LeaseStore
	ErasureStore
	DeadLetterStore
}

// For adapters: RatingStore keeps the ratings. Applying a change also updates the buckets of
// ScoreStore, in the same transaction.
type RatingStore interface {
	// ApplyRatings records batch in one transaction: all of it or, with an error, nothing. Of two
	// changes of a Key, whenever they come, the one with the higher Version wins and the other one
	// is Superseded. The buckets are equal to the rows after every transaction, with any number of
	// callers at once. The history of a content starts at the earliest At of the first batch that
	// sets a score of it, and never changes. A withdrawal with ReassignTo reassigns the
	// rating to that rater, so that no number changes. The outcomes stand in the order of
	// batch.Changes. ErrUnstorable: the database will never take one of the changes. It always
	// accepts dead letters, whatever bytes their keys, bodies and details have: there is no other
	// place for them.
	ApplyRatings(ctx context.Context, batch Batch) ([]Outcome, error)
	// RatingsByKey returns those of keys that have ever been rated, each once, in any order,
	// tombstones included and marked.
	RatingsByKey(ctx context.Context, keys []Key) ([]Rating, error)
	// ListRatings returns at most q.Limit ratings that match q.Filter and are not withdrawn, in
	// q.Order, after q.After. ErrTooBroad: to find them it would have to read many more than
	// q.MaxRows rows. It never leaves a match out instead. Never too broad are: a list without a
	// filter, in any order; a list of one content in the order ByKey; a list of one rater in the
	// orders by time; and a list whose content, rater or span of time at most q.MaxRows ratings
	// have.
	ListRatings(ctx context.Context, q Query) ([]Rating, error)
	// CountRatings returns how many ratings that are not withdrawn match f, and maxRows+1 if more
	// than maxRows do. ErrTooBroad: to count them it would have to read many more than maxRows
	// rows. A count is never too broad without a filter, with a content, a rater or a span of time
	// alone, or where at most maxRows ratings have one of these. A maxRows of 0 means no bound.
	CountRatings(ctx context.Context, f Filter, maxRows int) (int64, error)
	// SweepRatings removes at most limit tombstones, dead letters and erasures from before the
	// given time and returns how many. It also removes, in pieces, the rows that deleted and erased
	// contents have left; these are not visible, so they do not count.
	SweepRatings(ctx context.Context, before time.Time, limit int) (int, error)
}

// For adapters: StatsStore keeps the published numbers of each content, and recounts the buckets of
// ScoreStore.
type StatsStore interface {
	// StatsByContent returns the published numbers of those of ids that have any, each once, in any
	// order. RefreshScores publishes them.
	StatsByContent(ctx context.Context, ids []string) ([]Stats, error)
	// RatedContents returns at most limit identifiers after the given one, bytewise ascending, of
	// the contents that have rows or numbers here.
	RatedContents(ctx context.Context, after string, limit int) ([]string, error)
	// Recount computes the buckets of the contents ids from their rows, repairs those that differ,
	// and reports them. Changes that are applied meanwhile are neither lost nor counted twice.
	// Repaired contents are claimed by the next RefreshScores.
	Recount(ctx context.Context, ids []string) ([]Drift, error)
}

// For adapters: ScoreStore keeps the history of each content and its windows, from which the
// published numbers are computed, and knows which contents have changed.
type ScoreStore interface {
	// HistoryByContent returns what RefreshScores would pass to compute for a content, and when its
	// history starts. An unknown content has an empty history.
	HistoryByContent(ctx context.Context, id string) (History, error)
	// RefreshScores claims at most limit contents whose buckets have changed since their numbers
	// were last published, passes the non-empty buckets of each to compute in ascending order,
	// publishes the result together with the numbers of the same buckets (see History.Stats), and
	// returns the new Stats. compute also gets the windows of the content, in
	// ascending order of ID. Of two calls at once, in one process or in two, a content is claimed
	// by one. A content that changes meanwhile is claimed again later. A content whose ratings are
	// all withdrawn gives compute no bucket. compute must not call the store.
	RefreshScores(ctx context.Context, limit int, compute func(History) score.Score) ([]Stats, error)
	// RefreshScoresOf does the same for those of ids whose buckets have changed, however many, and
	// waits for the calls that have claimed some of them: once it returns, the published numbers
	// include everything that was applied before it was called.
	RefreshScoresOf(ctx context.Context, ids []string, compute func(History) score.Score) ([]Stats, error)
	// MarkChanged has those of ids that have ever been rated claimed by the next RefreshScores, as
	// if their buckets had changed.
	MarkChanged(ctx context.Context, ids []string) error
	// AddWindow records w and, if its content has ever been rated, has it claimed by the next
	// RefreshScores. A window whose content and ID are recorded already changes nothing. The
	// windows of a deleted content are deleted with it, and adding one later is ErrNotFound.
	AddWindow(ctx context.Context, w Window) error
	// RemoveWindow removes a window and has its content claimed like AddWindow. A missing window is
	// ErrNotFound.
	RemoveWindow(ctx context.Context, content, id string) error
}

// For adapters: StreamStore names the database, and orders the streams of queues, so that versions
// stay ordered when a queue is replaced.
type StreamStore interface {
	// Installation returns the identity of the database: 1 to 64 of a-z, 0-9 and hyphen, made at
	// random together with the database, for ever the same, and another one in every other
	// database.
	Installation(ctx context.Context) (string, error)
	// StreamEpoch returns the epoch of a stream, for ever the same. A stream that it has not seen
	// before gets one greater than all before.
	StreamEpoch(ctx context.Context, stream string) (int64, error)
	// KnownEpoch returns the epoch that StreamEpoch has given a stream, and never gives one. A
	// stream without an epoch is ErrNotFound, whatever bytes its name has.
	KnownEpoch(ctx context.Context, stream string) (int64, error)
}

// For adapters: LeaseStore lets one of several processes run a job.
type LeaseStore interface {
	// ClaimLease reports whether the caller must run job for the time at. Of all callers with the
	// same job and time one gets true; a time before one that is already claimed is claimed by
	// nobody. While the lease of a claim runs, no later time is claimed, unless ReleaseLease has
	// ended it.
	ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error)
	// ReleaseLease ends the lease of the claim of job and at. Without such a claim it does nothing.
	ReleaseLease(ctx context.Context, job string, at time.Time) error
}

// For adapters: ErasureStore keeps which raters are erased, and erases contents.
type ErasureStore interface {
	// RecordErasure records the erasure of a rater. The last record of a rater counts.
	RecordErasure(ctx context.Context, e Erasure) error
	// Erasures returns at most limit erasures of the given time or later, after the given rater, in
	// the order of Rater, bytewise.
	Erasures(ctx context.Context, since time.Time, after string, limit int) ([]Erasure, error)
	// EraseContent removes every rating of a content that is kept elsewhere; ratings of it that are
	// applied later are refused. Erasing a content again, or one that was never rated, is no error.
	EraseContent(ctx context.Context, id string) error
}

// For adapters: DeadLetterStore keeps the messages that can never be applied. ApplyRatings records
// them.
type DeadLetterStore interface {
	// ListDeadLetters returns at most q.Limit dead letters that match, in ascending order of ID,
	// after q.After.
	ListDeadLetters(ctx context.Context, q DeadLetterQuery) ([]DeadLetter, error)
	// DeleteDeadLetters removes dead letters. Missing ones are no error.
	DeleteDeadLetters(ctx context.Context, ids []int64) error
}

// For adapters: an Auditor is a Store that can find wrong numbers in all contents at once, many
// times faster than content by content. It is optional: without it, and when it fails, a recount
// reads the contents one after the other.
type Auditor interface {
	// Audit returns how many contents have ratings or numbers, and the identifiers of those whose
	// numbers are not what their rows say, bytewise ascending. It reads at one moment, takes no
	// locks and changes nothing. With a probability of one in thousands of millions it may miss a
	// content whose numbers are wrong; it never names a content whose numbers are right.
	Audit(ctx context.Context) (contents int, suspects []string, err error)
}

// For adapters: a Version is the position of a change in the history of the log. Later versions are
// greater: a greater Epoch, or the same Epoch and a greater Offset.
type Version struct {
	// Epoch is the number of the stream; see StreamStore.StreamEpoch. It is at least 1.
	Epoch int64
	// Offset is the position within the stream.
	Offset int64
}

// For adapters: a Batch is what a worker has decoded from a batch of messages.
type Batch struct {
	// Changes holds each Key at most once, in any order.
	Changes []Change
	// DeadLetters are the messages that can never be applied. A message that is recorded already is
	// recorded once.
	DeadLetters []DeadLetter
}

// Starts returns the earliest At of the changes that set a score, by content: when the history of
// the content starts, if that is not recorded yet.
func (b Batch) Starts() map[string]time.Time {
	starts := map[string]time.Time{}
	for _, c := range b.Changes {
		if at, ok := starts[c.Content]; !c.Withdraw && (!ok || c.At.Before(at)) {
			starts[c.Content] = c.At
		}
	}
	return starts
}

// For adapters: a Change sets or withdraws a rating.
type Change struct {
	Key
	Version Version
	// Score is the new score of the rating; 0 with Withdraw.
	Score    int
	Withdraw bool
	// ReassignTo, if not empty, makes a withdrawal keep the rating for the numbers: its score,
	// bucket and times become a rating of this rater, with the Version of the change and the Result
	// Created. If the content has a rating of this rater already, nothing is reassigned. ReassignTo
	// has no effect where nothing is withdrawn: without Withdraw, without a rating, or if the
	// change is Superseded or a duplicate.
	ReassignTo string
	// At is when the change was accepted. A new score counts in the score.Bucket of that time. The
	// same score again leaves the rating in its bucket.
	At time.Time
}

// For adapters: an Outcome is what a Change has done.
type Outcome struct {
	// Result is Created, Updated, Unchanged, Withdrawn or Superseded. A duplicate, whose Version is
	// the one that is stored, has the Result that it had the first time.
	Result Result
	// Refused says that the content is deleted; nothing was changed and Result is empty.
	Refused bool
	// Rating is the rating as it is stored now.
	Rating Rating
}

// For adapters: an Erasure is the request of a rater to be erased.
type Erasure struct {
	Rater string
	// Mode is what happens to the ratings.
	Mode ErasureMode
	// At is when the erasure was requested.
	At time.Time
}

// For adapters: a History is what the published score of a content is computed from.
type History struct {
	// Start is when the history starts; zero if the content was never rated. The computation does
	// not use it.
	Start time.Time
	// Buckets ascend by Index.
	Buckets []score.Bucket
	// Windows ascend by ID.
	Windows []Window
}

// For adapters: a Drift is a content whose buckets were not what its ratings say, or whose published
// numbers were not what its buckets say.
type Drift struct {
	Content string
	// WasBuckets and IsBuckets are before and after the repair.
	WasBuckets, IsBuckets []score.Bucket
	// Was and Is are the published numbers. A Recount leaves them zero.
	Was, Is Stats
}

// For adapters: a DeadLetter is a message that can never be applied, such as a poison message. It
// is kept for people.
type DeadLetter struct {
	// ID is given by the store; later ones are greater.
	ID int64
	// Position and Key are those of the message. Together they name it.
	Position queue.Position
	Key      string
	// Body is that of the message, cut to 64 KiB.
	Body []byte
	// Reason is the Code of the task.Error of its task; Detail is for people.
	Reason, Detail string
	At             time.Time
}

// For adapters: a DeadLetterQuery selects dead letters.
type DeadLetterQuery struct {
	// Key, if not empty, is the key of the messages.
	Key string
	// Position, if its Stream is not empty, is the position of the message.
	Position queue.Position
	// After is the ID after which the page starts. Where several processes record dead letters at
	// once, IDs are given before the rows become visible, so that a dead letter may appear before
	// the cursor of a reader. A reader who must not miss any starts at 0 again until nothing is
	// left, and deletes the dead letters that are dealt with.
	After int64
	// Limit is at least 1.
	Limit int
}

// Filter selects ratings. The zero Filter selects all; conditions that are set must all hold.
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

// The orders. Ratings of the same time are ordered by key, in the same direction.
const (
	ByKey       Order = iota // by content, then rater, bytewise
	NewestFirst              // by UpdatedAt, then key, descending
	OldestFirst              // by UpdatedAt, then key, ascending
)

// Query selects a page of a list.
type Query struct {
	Filter Filter
	Order  Order
	// After is the cursor after which the page starts; nil: the page starts at the beginning. The
	// rating of the cursor may not exist any more.
	After *Cursor
	// Limit is at least 1.
	Limit int
	// MaxRows is about how many rows the store may read besides those that it returns. 0: no bound.
	MaxRows int
}

// Cursor is the position of a rating in an ordered list. At is ignored in the order ByKey.
type Cursor struct {
	At time.Time
	Key
}

// For adapters: Served reports whether q is a list that is never too broad, whatever its ratings
// are, so that an index must serve it. See RatingStore.ListRatings.
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

// For adapters: Parts returns the filters that f consists of and that an index finds ratings by:
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
