// Package task describes work that was accepted and is done in the background: one rating that a
// worker stores, the recalculation of one content, or one run of a job. rating.Service returns
// tasks. This package imports the standard library alone.
package task

import (
	"strings"
	"time"
)

const (
	// Retention is how long a task can be read after it was accepted.
	Retention = 24 * time.Hour
	// MaxID is the greatest length of the identifier of a task, in bytes.
	MaxID = 768
)

// State is where a task stands. The names are those of Celery.
type State string

// The states of a task.
const (
	Pending State = "PENDING" // accepted, waits for a worker
	Started State = "STARTED" // a worker or a job runs it
	Retry   State = "RETRY"   // an attempt failed for a transient reason, another attempt follows
	Success State = "SUCCESS"
	Failure State = "FAILURE" // no further attempt follows
)

// Done reports whether the state is final.
func (s State) Done() bool { return s == Success || s == Failure }

// The names of tasks. All but Apply are also the names of jobs, which processes that share the work
// agree on.
const (
	Apply       = "ratings.apply"       // stores or withdraws a rating
	Recalculate = "ratings.recalculate" // recounts one content and its score; as a job, refreshes the scores that are due
	Recount     = "ratings.recount"     // recounts the numbers of all contents
	Sweep       = "ratings.sweep"       // removes old tombstones, dead letters and erasures
	Erase       = "ratings.forget"      // resumes the erasure of raters who left
)

// Task is something that was accepted and is done in the background.
type Task struct {
	ID, Name string
	State    State
	// Creator is the identifier of the user who asked for the task, as ID says. A client may have
	// forged ID, so Creator gives nobody any right.
	Creator string
	// Attempts is how often a worker has tried, 0 if none has. If the cache has lost the task,
	// earlier attempts are not counted.
	Attempts int
	// CreatedAt is when the task was accepted. StartedAt and DoneAt are zero until that happens. If
	// the cache has lost a task that is done, both are when the numbers of its content last changed
	// or its message became a dead letter: the task was done by then. After ExpiresAt the task
	// cannot be read.
	CreatedAt, StartedAt, DoneAt, ExpiresAt time.Time
	// Result is set with Success.
	Result *Result
	// Error is set with Failure and Retry.
	Error *Error
}

// Result is what a task has done.
type Result struct {
	// Rating and Outcome are of Apply: the identifier of the rating, and the rating.Result of the
	// change.
	Rating, Outcome string
	// Content and Repaired are of Recalculate: whether the numbers of the content were wrong.
	Content  string
	Repaired bool
	// The other fields are of jobs: how many scores were computed or contents recounted, how many
	// contents had wrong numbers, how many rows were removed, and how many ratings of raters who
	// left were withdrawn.
	Contents, Drifted, Removed, Withdrawn int
}

// Error says why a task failed.
type Error struct {
	// Code is stable, Detail is for people.
	Code, Detail string
}

// The codes of errors. The first four are also the reasons of dead letters.
const (
	CodeMalformed    = "malformed"      // the message is damaged, of a newer release, or not one of this module
	CodeInvalidScore = "invalid_score"  // the score lies outside the scale
	CodeNoContent    = "does_not_exist" // the content is deleted
	CodeUnstorable   = "unstorable"     // the store will never accept it
	CodeExpired      = "expired_unread" // the queue deleted the message before a worker had stored it
)

const (
	runLayout = "20060102T150405Z"
	latestRun = "latest"
)

// RunID returns the identifier of the task that is a run of a job: the job, "@" and when the run
// was due, such as "ratings.recount@20261123T030000Z". In place of the time, "latest" stands for
// the last run that began. Only the cache keeps these tasks, and only staff may read them.
func RunID(job string, at time.Time) string { return job + "@" + at.UTC().Format(runLayout) }

// ParseRunID is the inverse of RunID. For the latest run it returns a zero time.
func ParseRunID(id string) (job string, at time.Time, ok bool) {
	job, when, ok := strings.Cut(id, "@")
	if !ok || job != Recalculate && job != Recount && job != Sweep && job != Erase {
		return "", time.Time{}, false
	}
	if when == latestRun {
		return job, time.Time{}, true
	}
	at, err := time.Parse(runLayout, when)
	return job, at, err == nil && RunID(job, at) == id
}
