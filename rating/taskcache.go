package rating

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/rating/task"
)

// taskCache keeps the states of tasks, and which run of each job is the latest.
type taskCache struct {
	records typedCache[taskRecord]
	runs    typedCache[int64] // Unix seconds
}

func newTaskCache(c *optionalCache) taskCache {
	return taskCache{typedCache[taskRecord]{c, "task:"}, typedCache[int64]{c, "run:"}}
}

// taskRecord is what the cache keeps of a task.
type taskRecord struct {
	State    task.State  `json:"state"`
	Attempts int         `json:"attempts,omitempty"`
	Started  int64       `json:"started,omitempty"` // microseconds since 1970
	Done     int64       `json:"done,omitempty"`
	Outcome  string      `json:"outcome,omitempty"`
	Repaired bool        `json:"repaired,omitempty"`
	Error    *task.Error `json:"error,omitempty"`
	// Run is the result of the run of a job.
	Run *task.Result `json:"run,omitempty"`
}

// taskKey is what the state of a task is kept under: the hash of a long identifier, since a cache
// takes keys of at most cache.MaxKey bytes.
func taskKey(id string) string {
	if len(id) <= cache.MaxKey/2 {
		return id
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id)))
}

// get returns what the cache knows of a task.
func (c taskCache) get(ctx context.Context, id string) (taskRecord, bool) {
	key := taskKey(id)
	r, ok := c.records.values(ctx, key)[key]
	return r, ok
}

// item returns the cache item of a task. Of two states the later attempt stays, and a final state
// stays for good.
func (c taskCache) item(t task.Task) cache.Item {
	r := taskRecord{State: t.State, Attempts: t.Attempts, Started: micros(t.StartedAt), Done: micros(t.DoneAt),
		Error: t.Error}
	if t.Result != nil {
		if _, _, ok := task.ParseRunID(t.ID); ok {
			r.Run = t.Result
		} else {
			r.Outcome, r.Repaired = t.Result.Outcome, t.Result.Repaired
		}
	}
	version := int64(r.Attempts)
	if r.State.Done() {
		version = 1 << 62
	}
	return c.records.itemOf(taskKey(t.ID), r, version, task.Retention)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// For workers: RecordTasks caches the states of tasks. Of each task it reads ID, State, Attempts,
// StartedAt, DoneAt, Result and Error.
func (s *Service) RecordTasks(ctx context.Context, tasks []task.Task) {
	if s.cfg.Cache == nil {
		return
	}
	items := make([]cache.Item, 0, len(tasks))
	for _, t := range tasks {
		items = append(items, s.tasks.item(t))
		if job, at, ok := task.ParseRunID(t.ID); ok {
			items = append(items, s.tasks.runs.itemOf(job, at.Unix(), at.Unix(), task.Retention))
		}
	}
	s.cache.set(ctx, items)
}

// withAttempts adds to r, a final state that follows from what is stored, what only the cache
// keeps: the attempts and their times. cached is what the cache has of an earlier attempt. Without
// it the task counts as done by its first attempt, at the given time. If a failed r has no time,
// nobody has tried: the message is lost, or will be refused.
func (r taskRecord) withAttempts(cached taskRecord, accepted, done time.Time) taskRecord {
	r.Attempts, r.Started = cached.Attempts, cached.Started
	tried := r.State == task.Success || r.Done != 0
	if r.Done == 0 {
		r.Done = max(done.UnixMicro(), accepted.UnixMicro(), cached.Started)
	}
	if tried {
		r.Attempts++
		if r.Started == 0 {
			r.Started = r.Done
		}
	}
	return r
}

// complete adds to t what r says.
func (r taskRecord) complete(t task.Task, key Key) task.Task {
	t.State, t.Attempts, t.Error = r.State, r.Attempts, r.Error
	if r.Started != 0 {
		t.StartedAt = time.UnixMicro(r.Started).UTC()
	}
	if r.Done != 0 {
		t.DoneAt = time.UnixMicro(r.Done).UTC()
	}
	switch {
	case r.State != task.Success:
	case r.Run != nil:
		t.Result = r.Run
	case t.Name == task.Apply:
		t.Result = &task.Result{Rating: key.String(), Outcome: r.Outcome}
	default:
		t.Result = &task.Result{Content: key.Content, Repaired: r.Repaired}
	}
	return t
}
