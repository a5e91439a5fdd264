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

func (s unkeyed) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	_ time.Time) (content.IdempotencyRecord, error) {
	return r, s.CreateContent(ctx, c)
}

// twiceMade is what looking before creating comes to: the second one has not seen the first.
type twiceMade struct {
	store.Store
	calls sync.Map
}

func (s *twiceMade) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	if _, second := s.calls.LoadOrStore(since, true); second {
		if _, third := s.calls.LoadOrStore(since.Add(time.Hour), true); !third {
			return r, s.CreateContent(ctx, c)
		}
	}
	return s.Store.CreateContentIdempotent(ctx, c, r, since)
}

type hastyKey struct {
	store.Store
	kept sync.Map
}

func (s *hastyKey) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	made, err := s.Store.CreateContentIdempotent(ctx, c, r, since)
	if errors.Is(err, content.ErrConflict) {
		s.kept.Store(r.Key, r)
	}
	return made, err
}

func (s *hastyKey) IdempotencyRecordByKey(ctx context.Context, author string,
	key content.Hash) (content.IdempotencyRecord, error) {
	if r, ok := s.kept.Load(key); ok {
		return r.(content.IdempotencyRecord), nil
	}
	return s.Store.IdempotencyRecordByKey(ctx, author, key)
}

type keptAgain struct{ store.Store }

func (s keptAgain) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	made, err := s.Store.CreateContentIdempotent(ctx, c, r, since)
	if err == nil && made.Content != c.ID {
		err = s.CreateContent(ctx, c)
	}
	return made, err
}

type sharedKeys struct{ store.Store }

func (s sharedKeys) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	r.Author = ""
	return s.named(c.Author)(s.Store.CreateContentIdempotent(ctx, c, r, since))
}

func (s sharedKeys) IdempotencyRecordByKey(ctx context.Context, author string,
	key content.Hash) (content.IdempotencyRecord, error) {
	return s.named(author)(s.Store.IdempotencyRecordByKey(ctx, "", key))
}

func (sharedKeys) named(author string) func(content.IdempotencyRecord, error) (content.IdempotencyRecord, error) {
	return func(r content.IdempotencyRecord, err error) (content.IdempotencyRecord, error) {
		r.Author = author
		return r, err
	}
}

type eternalKeys struct{ store.Store }

func (s eternalKeys) CreateContentIdempotent(ctx context.Context, c content.Content,
	r content.IdempotencyRecord, _ time.Time) (content.IdempotencyRecord, error) {
	return s.Store.CreateContentIdempotent(ctx, c, r, time.Time{})
}

type earlyKeys struct{ store.Store }

func (s earlyKeys) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	return s.Store.CreateContentIdempotent(ctx, c, r, since.Add(time.Microsecond))
}

type freedKeys struct{ store.Store }

func (s freedKeys) CreateContentIdempotent(ctx context.Context, c content.Content, r content.IdempotencyRecord,
	since time.Time) (content.IdempotencyRecord, error) {
	if _, err := s.IdempotencyRecordByKey(ctx, r.Author, r.Key); errors.Is(err, content.ErrNotFound) {
		since = r.At.Add(time.Hour)
	}
	return s.Store.CreateContentIdempotent(ctx, c, r, since)
}

func (s freedKeys) IdempotencyRecordByKey(ctx context.Context, author string,
	key content.Hash) (content.IdempotencyRecord, error) {
	r, err := s.Store.IdempotencyRecordByKey(ctx, author, key)
	if found, _ := s.ContentsByID(ctx, []string{r.Content}); err == nil && len(found) == 0 {
		return content.IdempotencyRecord{}, content.ErrNotFound
	}
	return r, err
}

type lateRecords struct{ store.Store }

func (s lateRecords) SweepIdempotencyRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.Store.SweepIdempotencyRecords(ctx, before.Add(time.Microsecond), limit)
}

func (s sweepsAll) SweepIdempotencyRecords(ctx context.Context, before time.Time, _ int) (int, error) {
	return s.Store.SweepIdempotencyRecords(ctx, before, 1000)
}
