package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// taskDetail is a task.
type taskDetail struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	State     rating.State `json:"state"`
	Attempts  int          `json:"attempts"`
	CreatedAt stamp        `json:"created_at"`
	StartedAt stamp        `json:"started_at"`
	DateDone  stamp        `json:"date_done"`
	ExpiresAt stamp        `json:"expires_at"`
	Result    any          `json:"result"`
	Error     *taskError   `json:"error"`
}

type taskError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

type applied struct {
	Rating  string        `json:"rating"`
	Outcome rating.Result `json:"outcome"`
}

type recalculated struct {
	Content  string `json:"content"`
	Repaired bool   `json:"repaired"`
}

func taskDetailOf(t rating.Task) taskDetail {
	d := taskDetail{ID: t.ID, Name: t.Name, State: t.State, Attempts: t.Attempts, CreatedAt: stamp(t.CreatedAt), StartedAt: stamp(t.StartedAt),
		DateDone: stamp(t.DoneAt), ExpiresAt: stamp(t.ExpiresAt)}
	if t.Error != nil {
		d.Error = &taskError{t.Error.Code, t.Error.Detail}
	}
	switch {
	case t.Result == nil:
	case t.Name == rating.TaskRecalculate:
		d.Result = recalculated{t.Result.Content, t.Result.Repaired}
	default:
		d.Result = applied{t.Result.Key.String(), t.Result.Outcome}
	}
	return d
}

func (c *call) getTask() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	task, err := c.waitFor(c.param, c.patience(0))
	if err != nil {
		return err
	}
	c.waited()
	if !task.State.Done() {
		c.w.Header().Set("Retry-After", "1")
	}
	return c.json(http.StatusOK, taskDetailOf(task))
}

// waited tells a client that asked for a wait how long it could have been at most.
func (c *call) waited() {
	if c.prefer.waiting {
		c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(c.prefer.wait/time.Second)))
	}
}

// waitFor returns a task once it is done, or as it is after d, or when the server is about to stop.
func (c *call) waitFor(taskID string, d time.Duration) (rating.Task, error) {
	if d <= 0 {
		return c.cfg.Ratings.Task(c.r.Context(), c.ratingActor(), taskID)
	}
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
	return c.cfg.Ratings.Wait(ctx, c.ratingActor(), taskID)
}
