package content_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// told writes down what hooks are called with, and answers what it is set to.
type told struct {
	calls         []string
	before, after func() error // nil: no error
}

func (d *told) hear(answer func() error, format string, args ...any) error {
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
	if answer == nil {
		return nil
	}
	return answer()
}

func (d *told) hooks() content.Hooks {
	return content.Hooks{
		BeforeCreate: func(_ context.Context, c content.Content) error {
			return d.hear(d.before, "before create %s by %s", c.Title, c.Author)
		},
		BeforeUpdate: func(_ context.Context, actor actor.Actor, old, changed content.Content) error {
			return d.hear(d.before, "before update %s to %s by %s", old.Title, changed.Title, actor.User)
		},
		BeforeDelete: func(_ context.Context, actor actor.Actor, c content.Content) error {
			return d.hear(d.before, "before delete %s by %s", c.Title, actor.User)
		},
		AfterCreate: func(_ context.Context, c content.Content) error {
			return d.hear(d.after, "after create %s %d", c.Title, c.Version)
		},
		AfterUpdate: func(_ context.Context, actor actor.Actor, old, changed content.Content) error {
			return d.hear(d.after, "after update %s %d to %s %d by %s", old.Title, old.Version, changed.Title, changed.Version,
				actor.User)
		},
		AfterDelete: func(_ context.Context, actor actor.Actor, c content.Content) error {
			return d.hear(d.after, "after delete %s by %s", c.Title, actor.User)
		},
	}
}

func (d *told) want(t *testing.T, calls ...string) {
	t.Helper()
	if !slices.Equal(d.calls, calls) {
		t.Errorf("the hooks heard\n%q, want\n%q", d.calls, calls)
	}
	d.calls = nil
}

// retitle changes a title.
func retitle(ctx context.Context, s *content.Service, id, title string) (content.Content, error) {
	return s.Update(ctx, actor.Actor{User: "ana"}, id, content.Patch{Title: &title})
}

func TestHooksHearOfChanges(t *testing.T) {
	t.Parallel()
	d := &told{}
	s := newService(t, content.Config{Hooks: d.hooks()})
	c := create(t, s, "ana", "one")
	d.want(t, "before create one by ana", "after create one 1")
	if _, err := retitle(t.Context(), s, c.ID, "two"); err != nil {
		t.Fatal(err)
	}
	d.want(t, "before update one to two by ana", "after update one 1 to two 2 by ana")
	if _, err := retitle(t.Context(), s, c.ID, "two"); err != nil { // nothing changes
		t.Fatal(err)
	}
	d.want(t)
	if err := s.Delete(t.Context(), actor.Actor{User: "sam", Staff: true}, c.ID); err != nil {
		t.Fatal(err)
	}
	d.want(t, "before delete two by sam", "after delete two by sam")
}

// Hooks come last: what is wrong anyway is not asked about.
func TestHooksComeLast(t *testing.T) {
	t.Parallel()
	d := &told{}
	s := newService(t, content.Config{Hooks: d.hooks()})
	c := create(t, s, "ana", "one")
	d.calls = nil
	const another = 7 // a version
	ben, blank := actor.Actor{User: "ben"}, ""
	_, e1 := s.Create(t.Context(), "ana", content.Draft{})
	_, e2 := s.Update(t.Context(), ben, c.ID, content.Patch{Title: &blank})
	_, e3 := s.Update(t.Context(), actor.Actor{User: "ana"}, c.ID, content.Patch{Title: &blank})
	_, e4 := s.Update(t.Context(), actor.Actor{User: "ana"}, c.ID, content.Patch{}, another)
	e5, e6, e7 := s.Delete(t.Context(), ben, c.ID), s.Delete(t.Context(), ben, "none"),
		s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID, another)
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7} {
		if err == nil {
			t.Errorf("change %d is made", i+1)
		}
	}
	d.want(t)
}

// Whatever a before-hook does but agree, nothing is written and no after-hook hears of it.
func TestBeforeHooksDecide(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func() error
		is     func(error) bool
	}{
		"refuses": {func() error { return &content.Refusal{Code: "closed"} }, func(err error) bool {
			var r *content.Refusal
			return errors.As(err, &r) && r.Code == "closed" && r.Status == 422
		}},
		"cannot tell": {func() error { return content.ErrUnavailable }, func(err error) bool {
			return errors.Is(err, content.ErrUnavailable)
		}},
		"fails": {func() error { return errors.New("boom") }, func(err error) bool {
			return strings.Contains(err.Error(), "boom")
		}},
		"seems a conflict": {func() error { return content.ErrConflict }, func(err error) bool {
			return !errors.Is(err, content.ErrConflict)
		}},
		"panics": {func() error { panic("boom") }, func(err error) bool { return strings.Contains(err.Error(), "boom") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &told{}
			s := newService(t, content.Config{Hooks: d.hooks()})
			c := create(t, s, "ana", "one")
			d.calls, d.before = nil, tt.answer
			if _, err := s.Create(t.Context(), "ana", content.Draft{Title: "two"}); err == nil || !tt.is(err) {
				t.Errorf("create: %v", err)
			}
			if _, err := retitle(t.Context(), s, c.ID, "two"); err == nil || !tt.is(err) {
				t.Errorf("update: %v", err)
			}
			if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); err == nil || !tt.is(err) {
				t.Errorf("delete: %v", err)
			}
			d.want(t, "before create two by ana", "before update one to two by ana", "before delete one by ana")
			if got, err := s.Get(t.Context(), c.ID); err != nil || got != c {
				t.Errorf("it is %+v, %v", got, err)
			}
			if n, _, err := s.Count(t.Context(), content.Filter{}); err != nil || n != 1 {
				t.Errorf("there are %d, %v", n, err)
			}
		})
	}
}

// An after-hook that fails or panics is logged; what was done is done.
func TestAfterHooksChangeNothing(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func() error{
		"fails":   func() error { return errors.New("boom") },
		"refuses": func() error { return &content.Refusal{Code: "boom"} }, "panics": func() error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			d := &told{after: answer}
			s := newService(t, content.Config{Hooks: d.hooks(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			c := create(t, s, "ana", "one")
			if got, err := retitle(t.Context(), s, c.ID, "two"); err != nil || got.Title != "two" {
				t.Errorf("update: %+v, %v", got, err)
			}
			if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); err != nil {
				t.Errorf("delete: %v", err)
			}
			for _, want := range []string{"hook=content.AfterCreate", "hook=content.AfterUpdate", "hook=content.AfterDelete",
				"boom"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log has no %s: %s", want, &log)
				}
			}
		})
	}
}

// The context of every hook ends after 2 s. A before-hook that gives up then is unavailability; of
// an after-hook, the change stays.
func TestSlowHooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wait := func(ctx context.Context, _ content.Content) error { <-ctx.Done(); return ctx.Err() }
		s := newService(t, content.Config{Hooks: content.Hooks{BeforeCreate: wait}})
		began := time.Now()
		if _, err := s.Create(t.Context(), "ana", content.Draft{Title: "one"}); !errors.Is(err, content.ErrUnavailable) ||
			time.Since(began) != 2*time.Second {
			t.Errorf("before: %v after %v", err, time.Since(began))
		}
		s = newService(t, content.Config{Hooks: content.Hooks{AfterCreate: wait}})
		began = time.Now()
		c := create(t, s, "ana", "one")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("after: %v", took)
		}
		if _, err := s.Get(t.Context(), c.ID); err != nil {
			t.Error(err)
		}
	})
}

// A hook that ignores its context delays its own change and no other.
func TestHangingHooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(_ context.Context, c content.Content) error {
			if c.Author == "ana" {
				time.Sleep(time.Hour)
			}
			return nil
		}
		s := newService(t, content.Config{Hooks: content.Hooks{BeforeCreate: hang, AfterCreate: hang}})
		began := time.Now()
		for range 500 { // more than any pool of hooks would have
			go func() { _, _ = s.Create(t.Context(), "ana", content.Draft{Title: "one"}) }()
		}
		synctest.Wait()
		create(t, s, "ben", "two")
		if took := time.Since(began); took != 0 {
			t.Errorf("another change took %v", took)
		}
		time.Sleep(3 * time.Hour) // the changes are made, and nothing is left running
		if n, _, err := s.Count(t.Context(), content.Filter{}); err != nil || n != 501 {
			t.Errorf("there are %d contents, %v", n, err)
		}
	})
}

// A decision is about the version that is written: what changes while a hook thinks is asked about
// again.
func TestBeforeHooksSeeWhatTheyDecideOn(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Config{})
	meanwhile, err := content.New(store, content.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d, raced := &told{}, 0
	hooks := d.hooks()
	s, err := content.New(store, content.Config{Hooks: hooks})
	if err != nil {
		t.Fatal(err)
	}
	c := create(t, s, "ana", "one")
	d.calls = nil
	d.before = func() error {
		if raced++; raced%2 == 1 { // another process gets in between, once a change
			_, err := retitle(t.Context(), meanwhile, c.ID, fmt.Sprint("theirs ", raced))
			return err
		}
		return nil
	}
	if _, err := retitle(t.Context(), s, c.ID, "two"); err != nil {
		t.Fatal(err)
	}
	d.want(t, "before update one to two by ana", "before update theirs 1 to two by ana",
		"after update theirs 1 2 to two 3 by ana")
	if err := s.Delete(t.Context(), actor.Actor{User: "ana"}, c.ID); err != nil {
		t.Fatal(err)
	}
	d.want(t, "before delete two by ana", "before delete theirs 3 by ana", "after delete theirs 3 by ana")
}
