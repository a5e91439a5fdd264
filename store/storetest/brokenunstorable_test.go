package storetest_test

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// odd reports whether a database of texts does not take one of them.
func odd(texts ...string) bool {
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
			return true
		}
	}
	return false
}

func oddChange(cs []rating.Change) bool {
	for _, c := range cs {
		if odd(c.Content, c.Rater) {
			return true
		}
	}
	return false
}

var errRefused = errors.New("it is refused")

type reasonless struct{ store.Store }

func (s reasonless) CreateContent(ctx context.Context, c content.Content) error {
	if odd(c.Title, c.Description, c.Author) {
		return errRefused
	}
	return s.Store.CreateContent(ctx, c)
}

func (s reasonless) ApplyRatings(ctx context.Context, b rating.Batch) ([]rating.Outcome, error) {
	if oddChange(b.Changes) {
		return nil, errRefused
	}
	return s.Store.ApplyRatings(ctx, b)
}

func (s reasonless) CreateUser(ctx context.Context, u auth.User) error {
	if odd(u.Username, u.Canonical, u.Email) {
		return errRefused
	}
	return s.Store.CreateUser(ctx, u)
}

type leavesTraces struct{ store.Store }

func (s leavesTraces) CreateContent(ctx context.Context, c content.Content) error {
	if err := s.Store.CreateContent(ctx, c); err != nil || !odd(c.Title, c.Description, c.Author) {
		return err
	}
	return content.ErrUnstorable
}

func (s leavesTraces) ApplyRatings(ctx context.Context, b rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.Store.ApplyRatings(ctx, b)
	if err != nil || !oddChange(b.Changes) {
		return outcomes, err
	}
	return nil, store.ErrUnstorable
}

func (s leavesTraces) CreateUser(ctx context.Context, u auth.User) error {
	if err := s.Store.CreateUser(ctx, u); err != nil || !odd(u.Username, u.Canonical, u.Email) {
		return err
	}
	return auth.ErrUnstorable
}

type cutting struct{ store.Store }

func cut(s string) string {
	before, _, _ := strings.Cut(s, "\x00")
	return before
}

func (s cutting) CreateContent(ctx context.Context, c content.Content) error {
	c.Title, c.Description = cut(c.Title), cut(c.Description)
	return s.Store.CreateContent(ctx, c)
}

func (s cutting) CreateUser(ctx context.Context, u auth.User) error {
	u.Username, u.Email = cut(u.Username), cut(u.Email)
	return s.Store.CreateUser(ctx, u)
}

type textual struct{ store.Store }

func (s textual) ApplyRatings(ctx context.Context, b rating.Batch) ([]rating.Outcome, error) {
	for _, r := range b.DeadLetters {
		if odd(r.Key, string(r.Body), r.Detail) {
			return nil, store.ErrUnstorable
		}
	}
	return s.Store.ApplyRatings(ctx, b)
}
