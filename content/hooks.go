package content

import (
	"context"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/hook"
)

// Hooks are functions of the host that take part in changes of contents, by any caller: the
// REST surface or the host itself. Nil ones are skipped. They may be called concurrently.
//
// A Before function is called after all other checks, just before the store, and decides. Nil lets
// the change pass. A *Refusal ends it, and the client gets its text. An error that wraps
// ErrUnavailable means that it cannot be decided now (503). Any other error and a panic are
// failures of the server (500); so is a Refusal that breaks the rules of its fields. In each of
// these cases nothing is written. A change that loses a race is decided on again, on top of the
// winner's, and a change that passes may still fail in the store.
//
// An After function is called with a change that the store has committed. Its error or panic is
// logged and changes nothing. It is called at most once: not at all if the process dies in between.
// The ratings that are removed with a content are not reported.
//
// Hooks run in the goroutine that makes the change. A hook that ignores its context delays that
// change and its request, which stays in flight for as long as it runs. The context ends 2 s after
// the call, and with the deadline of the request. A Before function that returns
// context.DeadlineExceeded then counts as ErrUnavailable. An After function is called even if the
// client has hung up. Pass slow work to a queue of your own.
type Hooks struct {
	// BeforeCreate gets the content as it would be created.
	BeforeCreate func(ctx context.Context, c Content) error
	// BeforeUpdate gets the content as it is and as it would be. It is not
	// called for a patch that changes nothing.
	BeforeUpdate func(ctx context.Context, actor actor.Actor, old, changed Content) error
	// BeforeDelete gets the content as it is. If the content changes after that, it is called again.
	BeforeDelete func(ctx context.Context, actor actor.Actor, c Content) error

	// AfterCreate gets the content as it is stored.
	AfterCreate func(ctx context.Context, c Content) error
	// AfterUpdate gets the content as it was and as it is stored.
	AfterUpdate func(ctx context.Context, actor actor.Actor, old, changed Content) error
	// AfterDelete gets the content as it was.
	AfterDelete func(ctx context.Context, actor actor.Actor, c Content) error
}

func (s *Service) beforeCreate(ctx context.Context, c Content) error {
	if s.hooks.BeforeCreate == nil {
		return nil
	}
	return hook.Before(ctx, "content.BeforeCreate", func(ctx context.Context) error {
		return s.hooks.BeforeCreate(ctx, c)
	})
}

func (s *Service) beforeUpdate(ctx context.Context, actor actor.Actor, old, changed Content) error {
	if s.hooks.BeforeUpdate == nil {
		return nil
	}
	return hook.Before(ctx, "content.BeforeUpdate", func(ctx context.Context) error {
		return s.hooks.BeforeUpdate(ctx, actor, old, changed)
	})
}

func (s *Service) beforeDelete(ctx context.Context, actor actor.Actor, c Content) error {
	if s.hooks.BeforeDelete == nil {
		return nil
	}
	return hook.Before(ctx, "content.BeforeDelete", func(ctx context.Context) error {
		return s.hooks.BeforeDelete(ctx, actor, c)
	})
}

func (s *Service) afterCreate(ctx context.Context, c Content) {
	if s.hooks.AfterCreate != nil {
		hook.After(ctx, s.log, "content.AfterCreate", func(ctx context.Context) error {
			return s.hooks.AfterCreate(ctx, c)
		})
	}
}

func (s *Service) afterUpdate(ctx context.Context, actor actor.Actor, old, changed Content) {
	if s.hooks.AfterUpdate != nil {
		hook.After(ctx, s.log, "content.AfterUpdate", func(ctx context.Context) error {
			return s.hooks.AfterUpdate(ctx, actor, old, changed)
		})
	}
}

func (s *Service) afterDelete(ctx context.Context, actor actor.Actor, c Content) {
	if s.hooks.AfterDelete != nil {
		hook.After(ctx, s.log, "content.AfterDelete", func(ctx context.Context) error {
			return s.hooks.AfterDelete(ctx, actor, c)
		})
	}
}
