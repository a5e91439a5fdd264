package content

import (
	"context"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/hook"
)

// Refusal is the error with which a before-hook says no: a status of 400 to 499, a code for
// clients, a sentence for people, and the fields that are wrong, if it is about fields. Its zero
// value is usable.
type Refusal = hook.Refusal

// Hooks are functions of the host that take part in changes of contents, whoever makes them: the
// REST surface or the host itself. Nil ones are skipped. They may be called concurrently.
//
// A Before function is called when everything else has agreed, just before the store is asked, and
// decides. Nil lets the change pass; a *Refusal ends it, and is what the client is told; an error
// that wraps ErrUnavailable means that it cannot be decided now (503). Any other error and a panic
// are failures of the server (500); so is a Refusal that breaks the rules of its fields. In each of
// these cases nothing is written. A change that loses a race is decided on again, on top of the
// winner's, and a change that is let pass may still fail in the store.
//
// An After function is told of a change that the store has committed. Its error or panic is logged
// and changes nothing. It is called at most once: a process that dies in between has told nobody.
// The ratings that are removed with a content are not reported.
//
// Who made the change waits for its hooks, for each one 2 s at most. A Before function that takes
// longer counts as ErrUnavailable; an After function is left to itself. So hand what takes long to
// a queue of your own, and heed the context. At most 256 hooks run at once; when all of them hang,
// others wait for a place as they would for an answer.
type Hooks struct {
	// BeforeCreate is handed the content as it would be created.
	BeforeCreate func(ctx context.Context, c Content) error
	// BeforeUpdate is handed the content as it is and as it would be. A change of nothing is not
	// asked about.
	BeforeUpdate func(ctx context.Context, actor actor.Actor, old, changed Content) error
	// BeforeDelete is handed the content as it is. What changes after that is not deleted without
	// asking again.
	BeforeDelete func(ctx context.Context, actor actor.Actor, c Content) error

	// AfterCreate is handed the content as it is stored.
	AfterCreate func(ctx context.Context, c Content) error
	// AfterUpdate is handed the content as it was and as it is stored.
	AfterUpdate func(ctx context.Context, actor actor.Actor, old, changed Content) error
	// AfterDelete is handed the content as it was.
	AfterDelete func(ctx context.Context, actor actor.Actor, c Content) error
}

func (s *Service) beforeCreate(ctx context.Context, c Content) error {
	if s.hooks.BeforeCreate == nil {
		return nil
	}
	return s.runner.Before(ctx, "content.BeforeCreate", func(ctx context.Context) error { return s.hooks.BeforeCreate(ctx, c) })
}

func (s *Service) beforeUpdate(ctx context.Context, actor actor.Actor, old, changed Content) error {
	if s.hooks.BeforeUpdate == nil {
		return nil
	}
	return s.runner.Before(ctx, "content.BeforeUpdate", func(ctx context.Context) error { return s.hooks.BeforeUpdate(ctx, actor, old, changed) })
}

func (s *Service) beforeDelete(ctx context.Context, actor actor.Actor, c Content) error {
	if s.hooks.BeforeDelete == nil {
		return nil
	}
	return s.runner.Before(ctx, "content.BeforeDelete", func(ctx context.Context) error { return s.hooks.BeforeDelete(ctx, actor, c) })
}

func (s *Service) afterCreate(ctx context.Context, c Content) {
	if s.hooks.AfterCreate != nil {
		s.runner.After(ctx, "content.AfterCreate", func(ctx context.Context) error { return s.hooks.AfterCreate(ctx, c) })
	}
}

func (s *Service) afterUpdate(ctx context.Context, actor actor.Actor, old, changed Content) {
	if s.hooks.AfterUpdate != nil {
		s.runner.After(ctx, "content.AfterUpdate", func(ctx context.Context) error { return s.hooks.AfterUpdate(ctx, actor, old, changed) })
	}
}

func (s *Service) afterDelete(ctx context.Context, actor actor.Actor, c Content) {
	if s.hooks.AfterDelete != nil {
		s.runner.After(ctx, "content.AfterDelete", func(ctx context.Context) error { return s.hooks.AfterDelete(ctx, actor, c) })
	}
}
