// Package rating takes ratings, stores them in the order in which a log accepted them, and keeps
// the numbers derived from them.
//
// A rating begins as a Submission. The Service checks it and publishes it; from then on it cannot
// be lost. A Worker takes submissions from the queue in batches and applies each batch to the Store
// in one transaction, together with every number that follows from it; whoever submitted can follow
// a Task. A Recalculator folds the published score and recounts the numbers. When a rater leaves,
// Service.Erase withdraws the ratings, or makes them nobody's.
//
// # Order
//
// The order of writes is the log's, not a clock's. The Version of a rating is the place of its
// message in the log; the highest version of a Key wins, a withdrawal is a version too. So
// duplicates, replays, and workers that were believed dead change nothing.
//
// # Errors
//
// ErrNotFound, ErrForbidden, ErrExpired, ErrTooBroad and ErrUnavailable are compared with
// errors.Is; input that breaks a rule is a *ValidationError, what a hook of the host refuses a
// *Refusal. Everything else is a failure of the store or a hook.
//
// # Concurrency
//
// Service, Worker and Recalculator may be used concurrently, and in any number of processes on the
// same store and queue.
package rating

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating/score"
)

var (
	// ErrNotFound says that there is no such rating or task, or none that the asking user may know of.
	ErrNotFound = errors.New("rating: not found")
	// ErrForbidden says that the acting user may not do this to the rating.
	ErrForbidden = errors.New("rating: forbidden")
	// ErrExpired says that a task is past its retention.
	ErrExpired = errors.New("rating: task expired")
	// ErrTooBroad says that the answer to a query would cost too much. It is the same value as
	// package content's.
	ErrTooBroad = errs.TooBroad
	// ErrUnavailable says that the store or the queue does not answer or has no room. A submission
	// that the queue did not take fails with an *UnavailableError. It is the same value as the
	// other packages' ErrUnavailable.
	ErrUnavailable = errs.Unavailable
	// ErrUnstorable says that the store will never take a change, however often it is tried: it
	// breaks a rule of the database. It is the same value as the other packages' ErrUnstorable.
	ErrUnstorable = errs.Unstorable
)

// UnavailableError says that a submission was not, or perhaps not, accepted. It wraps
// ErrUnavailable and the cause.
type UnavailableError struct {
	// Unknown tells that the submission may still be stored later; otherwise it never will.
	Unknown bool
	Cause   error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("rating: outcome unknown: %v", e.Cause)
	}
	return fmt.Sprintf("rating: not accepted: %v", e.Cause)
}

// Unwrap makes errors.Is find ErrUnavailable and the cause.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Cause} }

// Key names a rating: one rater has at most one rating of a content.
type Key struct{ Content, Rater string }

// String returns the rating's identifier, "<content>:<rater>".
func (k Key) String() string { return k.Content + ":" + k.Rater }

// Compare orders keys by content, then rater, bytewise.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Content, o.Content); c != 0 {
		return c
	}
	return strings.Compare(k.Rater, o.Rater)
}

// ParseKey is the inverse of Key.String. It reports false for what no key's String is: both halves
// are identifiers of 1 to 128 bytes of [A-Za-z0-9_.@|=+-].
func ParseKey(s string) (Key, bool) {
	content, rater, ok := strings.Cut(s, ":")
	if !ok || !id.Valid(content) || !id.Valid(rater) {
		return Key{}, false
	}
	return Key{Content: content, Rater: rater}, true
}

// Version says where in the history of the log a change stands. Later ones are greater: a greater
// Epoch, or the same and a greater Offset.
type Version struct {
	// Epoch is the store's number of the stream; see Store.StreamEpoch. It is at least 1.
	Epoch int64
	// Offset is the place within the stream.
	Offset int64
}

// Compare returns -1, 0 or 1 as v is before, at or after o.
func (v Version) Compare(o Version) int {
	switch {
	case v.Epoch != o.Epoch && v.Epoch < o.Epoch, v.Epoch == o.Epoch && v.Offset < o.Offset:
		return -1
	case v == o:
		return 0
	}
	return 1
}

// Result is what a change did to the rating.
type Result string

// The results of a change.
const (
	Created    Result = "created"    // there was no rating, or it had been withdrawn
	Updated    Result = "updated"    // the score is another one now
	Unchanged  Result = "unchanged"  // the score was the same already
	Withdrawn  Result = "withdrawn"  // the rating is gone
	Superseded Result = "superseded" // a later change was there already
)

// Rating is a rater's judgement of a content.
type Rating struct {
	Key
	// Score lies within the Scale that was in force when it was accepted. It is 0 when Withdrawn.
	Score int
	// Version is that of the last change that was applied, one that left the score the same included.
	Version Version
	// Result is what that change did: Created, Updated, Unchanged or Withdrawn.
	Result Result
	// Withdrawn marks a rating that is gone; only its Key, Version and UpdatedAt mean something.
	Withdrawn bool
	// Bucket is the one that the rating counts in; see Bucket.
	Bucket int
	// CreatedAt is when the first change since the last withdrawal was accepted, UpdatedAt when the
	// present score was, both UTC in microseconds. The same score again leaves UpdatedAt. UpdatedAt
	// of a withdrawn rating is when its withdrawal was accepted.
	CreatedAt, UpdatedAt time.Time
}

// checkScore records in bad that a score lies outside the scale.
func checkScore(bad *ValidationError, s score.Scale, value int) {
	switch {
	case value < s.Min:
		bad.add(invalid.TooSmall("score", s.Min))
	case value > s.Max:
		bad.add(invalid.TooGreat("score", s.Max))
	}
}
