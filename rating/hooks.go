package rating

import (
	"context"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/hook"
)

// Hooks are functions of the host that take part in the life of a rating. Nil ones are skipped.
// They may be called concurrently.
//
// A Before function is called by the Service, just before the queue is asked to accept, and
// decides. Nil lets the submission pass; a *Refusal ends it, and is what the client is told; an
// error that wraps ErrUnavailable means that it cannot be decided now (503). Any other error and a
// panic are failures of the server (500); so is a Refusal that breaks the rules of its fields. In
// each of these cases nothing is published.
//
// AfterApply is called by a Worker, in whichever process it runs, when the transaction of a batch
// is committed and before the queue is told so. Its error or panic is logged and changes nothing,
// and it is not called again because of that. The batches of that worker wait for it.
//
// Hooks run in the goroutine of whoever calls the Service, or of the Worker, so one that ignores
// its context delays that submission or that worker for as long as it takes. The context ends 2 s
// after the call, and with the deadline of the request. A Before function that returns
// context.DeadlineExceeded then counts as ErrUnavailable. Pass slow work to a queue of your own.
type Hooks struct {
	// BeforeSubmit is handed a rating, the first one of a content or a change, whose score and
	// content are good.
	BeforeSubmit func(ctx context.Context, actor actor.Actor, sub Submission) error
	// BeforeWithdraw is handed the key of a rating that the actor may withdraw.
	BeforeWithdraw func(ctx context.Context, actor actor.Actor, key Key) error
	// AfterApply is handed what a batch has changed, each rating as it is stored, in the order of
	// keys: its Result tells whether it was created, updated, left unchanged or withdrawn. Every
	// change is reported at least once, twice or more when a worker dies between the commit and the
	// queue's hearing of it: Version tells such a repetition. The exception is a change that a
	// later one of the same rating superseded before it was reported; the later one is. What was
	// rejected, and ratings removed with their content, are not reported.
	AfterApply func(ctx context.Context, applied []Rating) error
}

func (s *Service) beforeSubmit(ctx context.Context, actor actor.Actor, sub Submission) error {
	f := s.cfg.Hooks.BeforeSubmit
	if f == nil {
		return nil
	}
	return hook.Before(ctx, "rating.BeforeSubmit", func(ctx context.Context) error { return f(ctx, actor, sub) })
}

func (s *Service) beforeWithdraw(ctx context.Context, actor actor.Actor, key Key) error {
	f := s.cfg.Hooks.BeforeWithdraw
	if f == nil {
		return nil
	}
	return hook.Before(ctx, "rating.BeforeWithdraw", func(ctx context.Context) error { return f(ctx, actor, key) })
}

// afterApply reports the changes of a committed batch, sorted by key.
func (w *Worker) afterApply(ctx context.Context, changes []*handled) {
	f := w.cfg.Hooks.AfterApply
	if f == nil {
		return
	}
	applied := make([]Rating, 0, len(changes))
	for _, h := range changes {
		if h.rejected == nil && h.outcome != Superseded {
			applied = append(applied, h.stored)
		}
	}
	if len(applied) > 0 {
		hook.After(ctx, w.cfg.Logger, "rating.AfterApply", func(ctx context.Context) error { return f(ctx, applied) })
	}
}
