package rating

import (
	"context"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/hook"
)

// Hooks are functions of the host that are called when ratings change. Nil hooks are skipped. Hooks
// may be called concurrently.
//
// The Service calls a Before hook just before it publishes. If the hook returns nil, the submission
// passes; a *Refusal refuses it and is the answer of the client; an error that wraps ErrUnavailable
// says that the hook cannot decide now (503). Every other error and a panic are failures of the
// server (500), and so is a Refusal that breaks the rules of its fields. In each of these cases
// nothing is published.
//
// A worker calls AfterApply, in the process in which it runs, after the transaction of a batch is
// committed and before the batch is acknowledged to the queue. Its error or panic is logged and
// changes nothing, and the hook is not called again because of it. The batches of that worker wait
// for it.
//
// Hooks run in the goroutine of the caller of the Service, or of the worker, so a hook that ignores
// its context delays that submission or that worker for as long as it takes. The context ends 2 s
// after the call, and with the deadline of the request. A Before hook that returns
// context.DeadlineExceeded then counts as ErrUnavailable. Pass slow work to a queue of your own.
type Hooks struct {
	// BeforeSubmit gets a rating, new or changed, whose score and content are valid.
	BeforeSubmit func(ctx context.Context, actor actor.Actor, sub Submission) error
	// BeforeWithdraw gets the key of a rating that the actor may withdraw.
	BeforeWithdraw func(ctx context.Context, actor actor.Actor, key Key) error
	// AfterApply gets the ratings that a batch has changed, as they are stored, in the order of
	// keys; Result says whether each was created, updated, left unchanged or withdrawn. Every
	// change is reported at least once, and more than once if a worker dies between the commit and
	// the acknowledgement; Version identifies such a duplicate. A change that a later change of the
	// same rating superseded before it was reported is not reported; the later change is. Dead
	// letters, and ratings that are removed with their content, are not reported.
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
