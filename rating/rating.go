// Package rating accepts ratings, stores them in the order in which a log accepted them, and keeps
// the numbers that follow from them.
//
// A rating begins as a Submission. The Service checks it and publishes it to the queue; from then
// on it cannot be lost. A worker (package rating/worker) consumes submissions in batches and
// applies each batch to the Store in one transaction, together with all numbers that follow from
// it. A task (package rating/task) reports what became of a submission. Package
// rating/score computes the published score. When a rater leaves, Service.Erase withdraws or
// anonymizes the ratings.
//
// Hosts use Service, Config and Hooks. Declarations whose comment begins with "For adapters:" are
// the port to a database, and methods whose comment begins with "For workers:" are the interface to
// package rating/worker.
//
// # Order
//
// Ratings are ordered by the log, not by a clock. The Version of a rating is the position of its
// message in the log; the highest version of a Key wins, and a withdrawal is a version, too. So
// applying a change is idempotent: delivery is at least once, but a duplicate, a replay, and a
// worker that was believed dead and still writes, change nothing. Versions are the fencing tokens
// of the store.
//
// # Errors
//
// ErrNotFound, ErrForbidden, ErrExpired, ErrTooBroad and ErrUnavailable are compared with
// errors.Is. Invalid input is a *ValidationError, and the refusal of a hook is a *Refusal. Every
// other error is a failure of the store or of a hook.
//
// # Concurrency
//
// A Service may be used concurrently, and any number of processes may share a store and a queue.
package rating

import (
	"errors"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/id"
)

var (
	// ErrNotFound says that the rating or task does not exist, or that the actor may not know of
	// it.
	ErrNotFound = errors.New("rating: not found")
	// ErrForbidden says that the actor may not do this to the rating.
	ErrForbidden = errors.New("rating: forbidden")
	// ErrExpired says that a task is past its retention.
	ErrExpired = errors.New("rating: task expired")
	// ErrTooBroad says that a query would cost too much. It is the same value as package content's.
	ErrTooBroad = errs.ErrTooBroad
	// ErrUnavailable says that the store or the queue does not answer or has no room. A submission
	// that the queue did not accept fails with an *UnavailableError. It is the same value as the
	// other packages' ErrUnavailable.
	ErrUnavailable = errs.ErrUnavailable
)

// Key names a rating: a rater has at most one rating of a content.
type Key struct{ Content, Rater string }

// String returns the identifier of the rating, "<content>:<rater>".
func (k Key) String() string { return k.Content + ":" + k.Rater }

// Compare orders keys by content, then rater, bytewise.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Content, o.Content); c != 0 {
		return c
	}
	return strings.Compare(k.Rater, o.Rater)
}

// ParseKey is the inverse of Key.String. It returns false if s is not the String of a Key: both
// halves are identifiers of 1 to 128 bytes of [A-Za-z0-9_.@|=+-].
func ParseKey(s string) (Key, bool) {
	content, rater, ok := strings.Cut(s, ":")
	if !ok || !id.Valid(content) || !id.Valid(rater) {
		return Key{}, false
	}
	return Key{Content: content, Rater: rater}, true
}

// Result is what a change did to the rating.
type Result string

// The results of a change.
const (
	Created    Result = "created"    // there was no rating, or it was withdrawn
	Updated    Result = "updated"    // the score is different now
	Unchanged  Result = "unchanged"  // the score was the same already
	Withdrawn  Result = "withdrawn"  // the rating is a tombstone now
	Superseded Result = "superseded" // a later change was applied before
)

// Rating is a rater's judgement of a content.
type Rating struct {
	Key
	// Score lies on the scale that was in force when the rating was accepted. It is 0 when
	// Withdrawn.
	Score int
	// Version is that of the last change that was applied, including one that left the score the
	// same.
	Version Version
	// Result is what that change did: Created, Updated, Unchanged or Withdrawn.
	Result Result
	// Withdrawn marks a tombstone: only its Key, Version and UpdatedAt have a meaning. A store
	// keeps tombstones for a while, so that an older change that comes late does not bring the
	// rating back.
	Withdrawn bool
	// Bucket is the Index of the score.Bucket that the rating counts in.
	Bucket int
	// CreatedAt is when the first change since the last withdrawal was accepted, UpdatedAt when the
	// present score was accepted, both UTC in microseconds. The same score again leaves UpdatedAt.
	// Another score never has an earlier UpdatedAt than the score before, also if the clock went
	// back. UpdatedAt of a tombstone is when the withdrawal was accepted.
	CreatedAt, UpdatedAt time.Time
}
