package worker

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/task"
)

// recordResults publishes the numbers of what was stored, and then caches the results of the tasks,
// so that nobody who reads the success of a task then reads older numbers. After a full batch, as in
// a burst, the next batch comes first, and refreshAfter publishes the numbers.
func (w *Worker) recordResults(ctx context.Context, work, changes []*message, attempt int, began time.Time) {
	if len(work) < w.cfg.Batch {
		var ids []string
		for _, m := range changes { // sorted by key
			if m.applied() && (len(ids) == 0 || ids[len(ids)-1] != m.key.Content) {
				ids = append(ids, m.key.Content)
			}
		}
		if err := w.ratings.Publish(ctx, ids); err != nil {
			w.cfg.Logger.WarnContext(ctx, "worker: ratings are stored, but their numbers are not published yet",
				"contents", len(ids), "error", err)
			w.refreshSoon()
		}
	} else {
		w.refreshSoon()
	}
	done := w.time()
	w.recordTasks(ctx, work, func(m *message) task.Task {
		t := task.Task{State: task.Success, Attempts: attempt, StartedAt: began, DoneAt: done}
		switch {
		case m.dead != nil:
			t.State, t.Error = task.Failure, &task.Error{Code: m.dead.Reason, Detail: m.dead.Detail}
		case m.event.Op == event.Recalculate:
			t.Result = &task.Result{Repaired: m.repaired}
		default:
			t.Result = &task.Result{Outcome: string(m.outcome)}
		}
		return t
	})
}

// recordRetry caches that the tasks of a batch will be tried again.
func (w *Worker) recordRetry(ctx context.Context, work []*message, attempt int, began time.Time) {
	w.recordTasks(ctx, work, func(*message) task.Task {
		return task.Task{
			State: task.Retry, Attempts: attempt, StartedAt: began,
			Error: &task.Error{Code: "unavailable", Detail: "The store does not answer; the worker tries again."},
		}
	})
}

func (w *Worker) recordTasks(ctx context.Context, work []*message, of func(*message) task.Task) {
	tasks := make([]task.Task, 0, len(work))
	for _, m := range work {
		if id, ok := m.taskID(); ok {
			t := of(m)
			t.ID = id
			tasks = append(tasks, t)
		}
	}
	w.ratings.RecordTasks(ctx, tasks)
}
