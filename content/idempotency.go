package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/khodnevis/khodnevis/internal/sweep"
)

// IdempotencyTTL is how long an IdempotencyKey is remembered.
const IdempotencyTTL = 24 * time.Hour

// IdempotencyKey names a request to create a content, so that it creates one at most within
// IdempotencyTTL, however often and wherever it is sent.
type IdempotencyKey struct {
	// Key is the name, of any length. Authors have names of their own.
	Key string
	// Request stands for everything that is asked for, such as its hash: a repeated request has the
	// same one.
	Request string
}

// CreateIdempotent is Create for a request that may be repeated. If a request with the same key has
// created a content, it creates no other; it returns that content as it is now, and again is true.
// After hooks are not called then, and the Before hook only if both requests came at once.
// ErrKeyReused: the other request asked for something else. ErrDeleted: its content is deleted.
func (s *Service) CreateIdempotent(
	ctx context.Context, author string, d Draft, key IdempotencyKey,
) (c Content, again bool, err error) {
	if err := d.Validate(); err != nil {
		return Content{}, false, err
	}
	c = s.compose(author, d)
	r := IdempotencyRecord{
		Author: author, Key: sha256.Sum256([]byte(key.Key)), Request: sha256.Sum256([]byte(key.Request)),
		Content: c.ID, At: c.CreatedAt,
	}
	since := r.At.Add(-IdempotencyTTL)
	// The look-up comes before the hook, which must not refuse now what it accepted before.
	switch found, err := s.store.IdempotencyRecordByKey(ctx, author, r.Key); {
	case err == nil && !found.At.Before(since):
		return s.repeated(ctx, found, r)
	case err != nil && !errors.Is(err, ErrNotFound):
		return Content{}, false, fmt.Errorf("content: create once: %w", err)
	}
	if err := s.beforeCreate(ctx, c); err != nil {
		return Content{}, false, fmt.Errorf("content: create once: %w", err)
	}
	kept, err := s.store.CreateContentIdempotent(ctx, c, r, since)
	if err != nil {
		return Content{}, false, fmt.Errorf("content: create once: %w", err)
	}
	if kept.Content != c.ID {
		return s.repeated(ctx, kept, r)
	}
	s.afterCreate(ctx, c)
	return c, false, nil
}

// repeated returns the content that the request of a record has created, for a request that asks
// again.
func (s *Service) repeated(ctx context.Context, kept, asked IdempotencyRecord) (Content, bool, error) {
	if kept.Request != asked.Request {
		return Content{}, true, ErrKeyReused
	}
	c, err := s.Get(ctx, kept.Content)
	if errors.Is(err, ErrNotFound) {
		err = ErrDeleted
	}
	return c, true, err
}

// Run sweeps now and every hour, until ctx is done, and then returns nil. A failure is logged and
// tried again with the next hour. Any number of processes may do it.
func (s *Service) Run(ctx context.Context) error {
	sweep.Hourly(ctx, s.Sweep, func(n int, err error) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "content: the sweep failed", slog.Int("creations", n), slog.Any("error", err))
	})
	return nil
}

// Sweep removes the idempotency records that are older than IdempotencyTTL and returns how many it
// removed. The contents stay.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	n, err := sweep.All(func(limit int) (int, error) {
		return s.store.SweepIdempotencyRecords(ctx, s.time().Add(-IdempotencyTTL), limit)
	})
	if err != nil {
		return n, fmt.Errorf("content: sweep: %w", err)
	}
	return n, nil
}
