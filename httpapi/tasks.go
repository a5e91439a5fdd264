package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/task"
)

// taskDetail is a task.
type taskDetail struct {
	ID        string     `json:"id" doc:"The identifier."`
	Name      taskName   `json:"name" doc:"What the task does."`
	State     task.State `json:"state" doc:"The state. SUCCESS and FAILURE are final."`
	Attempts  int        `json:"attempts" doc:"How many times a worker has tried, as far as is known."`
	CreatedAt stamp      `json:"created_at" doc:"When the task was accepted."`
	StartedAt stamp      `json:"started_at" null:"yes" doc:"When a worker began. Null if none has."`
	DateDone  stamp      `json:"date_done" null:"yes" doc:"When it was done at the latest. Null before that."`
	ExpiresAt stamp      `json:"expires_at" doc:"Until when the task is kept."`
	Result    taskResult `json:"result" doc:"With SUCCESS, what was done."`
	Error     *taskError `json:"error" doc:"What went wrong: with RETRY in the last attempt, with FAILURE for good."`
}

type taskName string

type taskError struct {
	Code   string `json:"code" doc:"For programs."`
	Detail string `json:"detail" doc:"For people."`
}

// taskResult is one of the results below, or nil.
type taskResult any

type applied struct {
	Rating  string        `json:"rating" doc:"The identifier of the rating."`
	Outcome rating.Result `json:"outcome" doc:"The outcome. superseded: a later write was stored first."`
}

type recalculated struct {
	Content  string `json:"content" doc:"The identifier of the content."`
	Repaired bool   `json:"repaired" doc:"Whether its statistics were wrong."`
}

// The results of jobs.
type (
	ranRecalculation struct {
		Contents int `json:"contents" doc:"The number of contents whose score was computed."`
	}
	ranRecount struct {
		Contents int `json:"contents" doc:"The number of contents that were recounted."`
		Drifted  int `json:"drifted" doc:"How many of them had wrong statistics, which were repaired."`
	}
	ranSweep struct {
		Removed int `json:"removed" doc:"The number of old tombstones and dead letters that were removed."`
	}
	ranForgetting struct {
		Withdrawn int `json:"withdrawn" doc:"The number of ratings that were withdrawn because of an erasure."`
	}
)

// resultOf returns the result of a task.
func resultOf(t task.Task) taskResult {
	switch r := t.Result; {
	case r == nil:
		return nil
	case t.Name == task.Apply:
		return applied{r.Rating, rating.Result(r.Outcome)}
	case t.Name == task.Recalculate && r.Content != "":
		return recalculated{r.Content, r.Repaired}
	case t.Name == task.Recount:
		return ranRecount{r.Contents, r.Drifted}
	case t.Name == task.Sweep:
		return ranSweep{r.Removed}
	case t.Name == task.Erase:
		return ranForgetting{r.Withdrawn}
	default:
		return ranRecalculation{r.Contents}
	}
}

var taskType = schemaType{name: "Task", of: taskDetail{}}

// addTasks adds the routes of tasks.
func (a *API) addTasks(t map[string]methods) {
	t["/tasks/:id/"] = methods{http.MethodGet: {
		name: "getTask", summary: "Read a task", description: "For the user whose request it is and staff, for 24 " +
			"hours. `Prefer: wait=N` waits until it is done. " +
			"Staff may also read the runs of the cron: `ratings.recalculate@20261123T030000Z` is the one that was due " +
			"then, and so are `ratings.recount@…`, " +
			"`ratings.sweep@…` and `ratings.forget@…`; `@latest` is the last one that began. Only the cache keeps them.",
		policy: signedIn, header: []header{preferWait}, problems: []int{410},
		responses: []response{ok("The task. Until it is done, Retry-After says when to read it again.", taskType,
			retryAfterHeader, appliedHeader)}, run: (*call).getTask,
	}}
}

func taskDetailOf(t task.Task) taskDetail {
	d := taskDetail{ID: t.ID, Name: taskName(t.Name), State: t.State, Attempts: t.Attempts, CreatedAt: stamp(t.CreatedAt),
		StartedAt: stamp(t.StartedAt),
		DateDone:  stamp(t.DoneAt), ExpiresAt: stamp(t.ExpiresAt), Result: resultOf(t)}
	if t.Error != nil {
		d.Error = &taskError{t.Error.Code, t.Error.Detail}
	}
	return d
}

func (c *call) getTask() error {
	task, err := c.waitFor(c.param, c.waitTime(0), c.cfg.Ratings.Wait)
	if err != nil {
		return err
	}
	c.waited()
	if !task.State.Done() {
		c.w.Header().Set("Retry-After", "1")
	}
	return c.json(http.StatusOK, taskDetailOf(task))
}

// waited sets the wait that was applied, if the client preferred one.
func (c *call) waited() {
	if c.prefer.waiting {
		c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(c.prefer.wait/time.Second)))
	}
}

// waitFor returns a task once it is done, or as it is after d, or when the server drains. wait is
// one of the two methods of rating.Service. A call that waits is not in flight. The wait ends d
// after the call began.
func (c *call) waitFor(
	taskID string, d time.Duration, wait func(context.Context, actor.Actor, string) (task.Task, error),
) (task.Task, error) {
	user := counter.Group{Name: c.who.Subject, Factor: 1}
	if d <= 0 {
		return c.cfg.Ratings.Task(c.r.Context(), c.who.Actor(), taskID)
	}
	if ok, _ := c.admission.waiting.Acquire(1, user); !ok {
		return c.cfg.Ratings.Task(c.r.Context(), c.who.Actor(), taskID)
	}
	defer c.admission.waiting.Release(1, user)
	c.leave()
	c.setDeadline(max(c.cfg.Limits.RequestTimeout, d))
	ctx, cancel := context.WithTimeout(c.r.Context(), d)
	defer cancel()
	if c.cfg.Draining != nil {
		go func() {
			select {
			case <-c.cfg.Draining:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return wait(ctx, c.who.Actor(), taskID)
}
