package content

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/logthrottle"
)

// Config configures a Service. Its zero value is usable.
type Config struct {
	// Cache tells other processes which contents were deleted, for what they answer while the store
	// does not. Nil: they find out when it answers again.
	Cache cache.Cache
	// Hooks take part in changes.
	Hooks Hooks
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives what goes wrong beside a request, such as a cache that does not answer. Nil:
	// nothing is logged.
	Logger *slog.Logger
}

// Service is what hosts and the REST surface use.
type Service struct {
	store Store
	cache cache.Cache
	hooks Hooks
	now   func() time.Time
	log   *slog.Logger
	// Log sampling: a cache that is down fails with every request.
	readFailures, writeFailures logthrottle.Log

	existing      existing
	invalidations invalidations
	copies        staleCopies
}

// New returns a Service over store.
func New(store Store, cfg Config) (*Service, error) {
	if store == nil {
		return nil, errors.New("content: New needs a store")
	}
	s := &Service{store: store, cache: cfg.Cache, hooks: cfg.Hooks, now: cfg.Now, log: cfg.Logger,
		existing: newExisting(), copies: newStaleCopies()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Create keeps a new content by author and returns it. A draft that breaks a rule is a
// *ValidationError, one that a hook refuses a *Refusal.
func (s *Service) Create(ctx context.Context, author string, d Draft) (Content, error) {
	if err := d.Validate(); err != nil {
		return Content{}, err
	}
	c := s.compose(author, d)
	if err := s.beforeCreate(ctx, c); err != nil {
		return Content{}, fmt.Errorf("content: create: %w", err)
	}
	if err := s.store.CreateContent(ctx, c); err != nil {
		return Content{}, fmt.Errorf("content: create: %w", err)
	}
	s.afterCreate(ctx, c)
	return c, nil
}

// compose makes a content of what author wrote.
func (s *Service) compose(author string, d Draft) Content {
	now := s.time()
	return Content{
		ID: id.New(), Title: d.Title, Description: d.Description, Author: author, Version: 1, CreatedAt: now, UpdatedAt: now,
	}
}

// Get returns a content, or ErrNotFound.
func (s *Service) Get(ctx context.Context, id string) (Content, error) { return s.get(ctx, id, false) }

func (s *Service) get(ctx context.Context, id string, staleWillDo bool) (Content, error) {
	if !ValidID(id) {
		return Content{}, ErrNotFound
	}
	found, err := s.read(ctx, []string{id}, staleWillDo)
	if err != nil {
		return Content{}, fmt.Errorf("content: get %s: %w", id, err)
	}
	if len(found) == 0 {
		return Content{}, ErrNotFound
	}
	return found[0], nil
}

// MaxRows is about how many rows a store looks at for one list or count at the most, beside those
// that it returns.
const MaxRows = errs.MaxRows

// List returns a piece of a list. ErrTooBroad: it would have to look at more than q.MaxRows rows to
// find it, or at MaxRows if that is 0, or the filter has more than MaxTerms words. A later piece of
// a list may be too broad although an earlier one was not: where fewer contents match, more have to
// be looked at.
func (s *Service) List(ctx context.Context, q Query) ([]Listed, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("content: list with limit %d", q.Limit)
	}
	if !slices.Contains(Fields(), q.Order.Field) {
		return nil, fmt.Errorf("content: list ordered by %q", q.Order.Field)
	}
	if len(q.Filter.Terms) > MaxTerms {
		return nil, fmt.Errorf("content: list with %d words: %w", len(q.Filter.Terms), ErrTooBroad)
	}
	if q.MaxRows == 0 {
		q.MaxRows = MaxRows
	}
	found, err := s.store.ListContents(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("content: list: %w", err)
	}
	return found, nil
}

// Count returns how many contents match f. If more than MaxRows do, it returns MaxRows and true.
// ErrTooBroad: it would have to look at more rows than that to count them, or the filter has more
// than MaxTerms words.
func (s *Service) Count(ctx context.Context, f Filter) (n int64, more bool, err error) {
	if len(f.Terms) > MaxTerms {
		return 0, false, fmt.Errorf("content: count with %d words: %w", len(f.Terms), ErrTooBroad)
	}
	n, err = s.store.CountContents(ctx, f, MaxRows)
	if err != nil {
		return 0, false, fmt.Errorf("content: count: %w", err)
	}
	return min(n, MaxRows), n > MaxRows, nil
}

// Patch is a change of what is not nil.
type Patch struct {
	Title       *string
	Description *string
}

func (p Patch) apply(c Content) Content {
	if p.Title != nil {
		c.Title = *p.Title
	}
	if p.Description != nil {
		c.Description = *p.Description
	}
	return c
}

// Validate reports every rule that the patch breaks, as a *ValidationError, or nil.
func (p Patch) Validate() error {
	d := Draft{Title: "placeholder"}
	if p.Title != nil {
		d.Title = *p.Title
	}
	if p.Description != nil {
		d.Description = *p.Description
	}
	return d.Validate()
}

// attempts bounds how often a change that lost a race is made again on top of the winner's. Of as
// many at once, one wins each race.
const attempts = 100

// Update changes a content and returns it as it is then. Its author and staff may. A patch that
// changes nothing leaves the version. Versions make the change optimistic, as If-Match does: unless
// the content is at one of them, nothing is changed and the error is ErrConflict. The errors are
// ErrNotFound, ErrForbidden, a *ValidationError, ErrConflict, and a hook's *Refusal, in this order
// of precedence.
func (s *Service) Update(
	ctx context.Context, actor actor.Actor, id string, p Patch, versions ...int64,
) (Content, error) {
	for range attempts {
		old, err := s.mine(ctx, actor, id)
		if err != nil {
			return Content{}, err
		}
		if err := p.Validate(); err != nil {
			return Content{}, err
		}
		if len(versions) > 0 && !slices.Contains(versions, old.Version) {
			return Content{}, fmt.Errorf("content: update %s at version %d: %w", id, old.Version, ErrConflict)
		}
		c, lost, err := s.update(ctx, actor, old, p)
		if !lost {
			return c, err
		}
	}
	return Content{}, fmt.Errorf("content: update %s: lost %d races: %w", id, attempts, ErrConflict)
}

// UpdateFrom is Update of a content that the caller has read already. ErrConflict: it was changed
// since. ErrNotFound: it was deleted since.
func (s *Service) UpdateFrom(ctx context.Context, actor actor.Actor, old Content, p Patch) (Content, error) {
	if !old.ChangeableBy(actor) {
		return Content{}, ErrForbidden
	}
	if err := p.Validate(); err != nil {
		return Content{}, err
	}
	c, _, err := s.update(ctx, actor, old, p)
	return c, err
}

// update changes old, and reports whether another change came first.
func (s *Service) update(
	ctx context.Context, actor actor.Actor, old Content, p Patch,
) (c Content, lost bool, err error) {
	if c = p.apply(old); c == old {
		return old, false, nil
	}
	c.Version++
	c.UpdatedAt = later(s.time(), old.UpdatedAt)
	if err := s.beforeUpdate(ctx, actor, old, c); err != nil {
		return Content{}, false, fmt.Errorf("content: update %s: %w", old.ID, err)
	}
	if err := s.store.UpdateContent(ctx, c); err != nil {
		return Content{}, errors.Is(err, ErrConflict), fmt.Errorf("content: update %s: %w", old.ID, err)
	}
	s.copies.keep(c, s.now())
	s.afterUpdate(ctx, actor, old, c)
	return c, false, nil
}

// Delete removes a content together with its ratings. Its author and staff may. Of versions, see
// Update.
func (s *Service) Delete(ctx context.Context, actor actor.Actor, id string, versions ...int64) error {
	for range attempts {
		old, err := s.mine(ctx, actor, id)
		if err != nil {
			return err
		}
		if len(versions) > 0 && !slices.Contains(versions, old.Version) {
			return fmt.Errorf("content: delete %s at version %d: %w", id, old.Version, ErrConflict)
		}
		version := int64(0) // any
		if len(versions) > 0 || s.hooks.BeforeDelete != nil {
			version = old.Version
		}
		if err := s.beforeDelete(ctx, actor, old); err != nil {
			return fmt.Errorf("content: delete %s: %w", id, err)
		}
		err = s.store.DeleteContent(ctx, id, version)
		switch {
		case err == nil:
			s.copies.delete(id)
			s.existing.delete(id)
			s.invalidate(ctx, id)
			s.afterDelete(ctx, actor, old)
			return nil
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("content: delete %s: %w", id, err)
		}
	}
	return fmt.Errorf("content: delete %s: lost %d races: %w", id, attempts, ErrConflict)
}

// mine returns a content that actor may change.
func (s *Service) mine(ctx context.Context, actor actor.Actor, id string) (Content, error) {
	c, err := s.Get(ctx, id)
	if err != nil {
		return Content{}, err
	}
	if !c.ChangeableBy(actor) {
		return Content{}, ErrForbidden
	}
	return c, nil
}

// time returns the present in UTC, cut to what every store keeps.
func (s *Service) time() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// later keeps times of change in order even when clocks are not.
func later(now, last time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(time.Microsecond)
}
