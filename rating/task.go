package rating

import (
	"encoding/json"
	"time"

	"github.com/khodnevis/khodnevis/cache"
)

// Retention is how long a task can be asked for after it was accepted.
const Retention = 24 * time.Hour

// ahead is how far the clock of the process that accepted a task may be ahead of the one that is
// asked for it. A task of later than that was never accepted.
const ahead = time.Minute

// State is where a task stands. The names are Celery's.
type State string

// The states of a task.
const (
	Pending State = "PENDING" // accepted, waits for a worker
	Started State = "STARTED" // a worker is at it
	Retry   State = "RETRY"   // an attempt failed for a reason that passes, another one follows
	Success State = "SUCCESS"
	Failure State = "FAILURE" // it can never be done
)

// Done reports whether the state is final.
func (s State) Done() bool { return s == Success || s == Failure }

// The names of tasks.
const (
	TaskApply       = "ratings.apply"       // a rating is set or withdrawn
	TaskRecalculate = "ratings.recalculate" // the numbers of a content are recounted and its score folded; see also RunID
)

// Task is the fate of something that was accepted and is done in the background.
type Task struct {
	ID, Name string
	State    State
	// Creator is the identifier of who asked for it, as ID says, which its bearer may have made up:
	// it gives nobody any right.
	Creator string
	// Attempts is how often a worker has tried, 0 if none has. Attempts that the cache has
	// forgotten are not counted, but for the last one of a task that is done.
	Attempts int
	// CreatedAt is when it was accepted. StartedAt and DoneAt are zero if that has not happened. If
	// the cache does not know of a task that is done, both are when the numbers of its content last
	// changed or its message was rejected: it was done by then. After ExpiresAt the task cannot be
	// asked for.
	CreatedAt, StartedAt, DoneAt, ExpiresAt time.Time
	// Result is set with Success.
	Result *TaskResult
	// Error is set with Failure and Retry.
	Error *TaskError
}

// TaskResult is what a task has done.
type TaskResult struct {
	// Key and Outcome are of a TaskApply.
	Key     Key
	Outcome Result
	// Content and Repaired are of a TaskRecalculate: whether its numbers had drifted.
	Content  string
	Repaired bool
	// The others are of runs of jobs: how many contents were folded or recounted, how many of them
	// had drifted, how many old ratings and messages were removed, and how many ratings of those
	// who left were withdrawn.
	Contents, Drifted, Removed, Withdrawn int
}

// TaskError says why a task failed.
type TaskError struct {
	// Code is stable, Detail for people.
	Code, Detail string
}

// task returns what a ticket alone tells.
func (t ticket) task() Task {
	name := TaskApply
	if t.Op == opRecalculate {
		name = TaskRecalculate
	}
	return Task{ID: t.id(), Name: name, State: Pending, Creator: t.By, CreatedAt: t.At, ExpiresAt: t.At.Add(Retention)}
}

// record is what the cache remembers of a task.
type record struct {
	State    State      `json:"state"`
	Attempts int        `json:"attempts,omitempty"`
	Started  int64      `json:"started,omitempty"` // microseconds since 1970
	Done     int64      `json:"done,omitempty"`
	Outcome  Result     `json:"outcome,omitempty"`
	Repaired bool       `json:"repaired,omitempty"`
	Error    *TaskError `json:"error,omitempty"`
	// Run is what a run of a job has done.
	Run *TaskResult `json:"run,omitempty"`
}

// version orders the records of one task: attempts one after the other, and a final state above
// all.
func (r record) version() int64 {
	if r.State.Done() {
		return 1 << 62
	}
	return int64(r.Attempts)
}

func (r record) item(id string) cache.Item {
	value, err := json.Marshal(r)
	if err != nil {
		panic(err) // no value of these types fails to encode
	}
	return cache.Item{Key: taskKey(id), Value: value, Version: r.version(), TTL: Retention}
}

// after adds to r, a final state that follows from what is stored, what only the cache keeps: how
// often a worker has tried and when. last is what the cache remembers of an attempt before. What it
// does not know is told as if the first attempt had done it at the given time. Where r has no time
// although it failed, nobody has tried: the message is lost, or will be refused.
func (r record) after(last record, accepted, done time.Time) record {
	r.Attempts, r.Started = last.Attempts, last.Started
	tried := r.State == Success || r.Done != 0
	if r.Done == 0 {
		r.Done = max(done.UnixMicro(), accepted.UnixMicro(), last.Started)
	}
	if tried {
		r.Attempts++
		if r.Started == 0 {
			r.Started = r.Done
		}
	}
	return r
}

// complete adds to t what r knows.
func (r record) complete(t Task, key Key) Task {
	t.State, t.Attempts, t.Error = r.State, r.Attempts, r.Error
	if r.Started != 0 {
		t.StartedAt = time.UnixMicro(r.Started).UTC()
	}
	if r.Done != 0 {
		t.DoneAt = time.UnixMicro(r.Done).UTC()
	}
	if r.State == Success {
		t.Result = &TaskResult{Content: key.Content, Repaired: r.Repaired}
		if r.Run != nil {
			t.Result = r.Run
		} else if t.Name == TaskApply {
			t.Result = &TaskResult{Key: key, Outcome: r.Outcome}
		}
	}
	return t
}

func taskKey(id string) string { return "task:" + id }
