package storetest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store"
)

type unkeyed struct{ store.Store }

func (s unkeyed) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, _ time.Time) (content.Creation, error) {
	return r, s.CreateContent(ctx, c)
}

// twiceMade is what looking before creating comes to: the second one has not seen the first.
type twiceMade struct {
	store.Store
	calls sync.Map
}

func (s *twiceMade) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	if _, second := s.calls.LoadOrStore(since, true); second {
		if _, third := s.calls.LoadOrStore(since.Add(time.Hour), true); !third {
			return r, s.CreateContent(ctx, c)
		}
	}
	return s.Store.CreateContentOnce(ctx, c, r, since)
}

type hastyKey struct {
	store.Store
	kept sync.Map
}

func (s *hastyKey) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	made, err := s.Store.CreateContentOnce(ctx, c, r, since)
	if errors.Is(err, content.ErrConflict) {
		s.kept.Store(r.Key, r)
	}
	return made, err
}

func (s *hastyKey) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	if r, ok := s.kept.Load(key); ok {
		return r.(content.Creation), nil
	}
	return s.Store.CreationByKey(ctx, author, key)
}

type keptAgain struct{ store.Store }

func (s keptAgain) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	made, err := s.Store.CreateContentOnce(ctx, c, r, since)
	if err == nil && made.Content != c.ID {
		err = s.CreateContent(ctx, c)
	}
	return made, err
}

type sharedKeys struct{ store.Store }

func (s sharedKeys) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	r.Author = ""
	return s.named(c.Author)(s.Store.CreateContentOnce(ctx, c, r, since))
}

func (s sharedKeys) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	return s.named(author)(s.Store.CreationByKey(ctx, "", key))
}

func (sharedKeys) named(author string) func(content.Creation, error) (content.Creation, error) {
	return func(r content.Creation, err error) (content.Creation, error) {
		r.Author = author
		return r, err
	}
}

type eternalKeys struct{ store.Store }

func (s eternalKeys) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, _ time.Time) (content.Creation, error) {
	return s.Store.CreateContentOnce(ctx, c, r, time.Time{})
}

type earlyKeys struct{ store.Store }

func (s earlyKeys) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	return s.Store.CreateContentOnce(ctx, c, r, since.Add(time.Microsecond))
}

type freedKeys struct{ store.Store }

func (s freedKeys) CreateContentOnce(ctx context.Context, c content.Content, r content.Creation, since time.Time) (content.Creation, error) {
	if _, err := s.CreationByKey(ctx, r.Author, r.Key); errors.Is(err, content.ErrNotFound) {
		since = r.At.Add(time.Hour)
	}
	return s.Store.CreateContentOnce(ctx, c, r, since)
}

func (s freedKeys) CreationByKey(ctx context.Context, author string, key content.Hash) (content.Creation, error) {
	r, err := s.Store.CreationByKey(ctx, author, key)
	if found, _ := s.ContentsByID(ctx, []string{r.Content}); err == nil && len(found) == 0 {
		return content.Creation{}, content.ErrNotFound
	}
	return r, err
}

type lateCreations struct{ store.Store }

func (s lateCreations) SweepCreations(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.Store.SweepCreations(ctx, before.Add(time.Microsecond), limit)
}

func (s sweepsAll) SweepCreations(ctx context.Context, before time.Time, _ int) (int, error) {
	return s.Store.SweepCreations(ctx, before, 1000)
}
