package content

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/hook"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/seldom"
)

// Actor is who acts.
type Actor struct {
	// User is the identifier of the acting user.
	User string
	// Staff may change and delete every content.
	Staff bool
}

// Config configures a Service. Its zero value is usable.
type Config struct {
	// Cache remembers which contents exist, for the path of a rating. Nil: every question goes to the store.
	Cache cache.Cache
	// Hooks take part in changes.
	Hooks Hooks
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives what goes wrong beside a request, such as a cache that does not answer. Nil: nothing is logged.
	Logger *slog.Logger
}

// Service is what hosts and the REST surface use.
type Service struct {
	store  Store
	cache  cache.Cache
	hooks  Hooks
	runner *hook.Runner
	now    func() time.Time
	log    *slog.Logger
	// What a cache that is down would cause with every request.
	get, take, drop seldom.Log

	untold untold
	recent recent
}

// New returns a Service over store.
func New(store Store, cfg Config) (*Service, error) {
	if store == nil {
		return nil, errors.New("content: New needs a store")
	}
	s := &Service{store: store, cache: cfg.Cache, hooks: cfg.Hooks, now: cfg.Now, log: cfg.Logger, recent: newRecent()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.runner = hook.NewRunner(s.log)
	return s, nil
}

// Create keeps a new content by author and returns it. A draft that breaks a rule is a *ValidationError, one that a hook refuses a
// *Refusal.
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
	return Content{ID: id.New(), Title: d.Title, Description: d.Description, Author: author, Version: 1, CreatedAt: now, UpdatedAt: now}
}

// Get returns a content, or ErrNotFound.
func (s *Service) Get(ctx context.Context, id string) (Content, error) {
	if !ValidID(id) {
		return Content{}, ErrNotFound
	}
	found, err := s.store.ContentsByID(ctx, []string{id})
	if err != nil {
		return Content{}, fmt.Errorf("content: get %s: %w", id, err)
	}
	if len(found) == 0 {
		return Content{}, ErrNotFound
	}
	return found[0], nil
}

// List returns a piece of a list.
func (s *Service) List(ctx context.Context, q Query) ([]Listed, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("content: list with limit %d", q.Limit)
	}
	if !slices.Contains(Fields(), q.Order.Field) {
		return nil, fmt.Errorf("content: list ordered by %q", q.Order.Field)
	}
	found, err := s.store.ListContents(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("content: list: %w", err)
	}
	return found, nil
}

// Count returns how many contents match f.
func (s *Service) Count(ctx context.Context, f Filter) (int64, error) {
	n, err := s.store.CountContents(ctx, f)
	if err != nil {
		return 0, fmt.Errorf("content: count: %w", err)
	}
	return n, nil
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

// attempts bounds how often a change that lost a race is made again on top of the winner's. Of as many at once, one wins each race.
const attempts = 100

// Update changes a content and returns it as it is then. Its author and staff may. A patch that changes nothing leaves the version.
// If check is not nil it is handed the content as it is, at the very version that the change replaces, and its error ends the call.
// The errors are ErrNotFound, ErrForbidden, a *ValidationError, that of check, and a hook's *Refusal, in this order of precedence.
func (s *Service) Update(ctx context.Context, actor Actor, id string, p Patch, check func(Content) error) (Content, error) {
	for range attempts {
		old, err := s.mine(ctx, actor, id)
		if err != nil {
			return Content{}, err
		}
		if err := p.Validate(); err != nil {
			return Content{}, err
		}
		if check != nil {
			if err := check(old); err != nil {
				return Content{}, err
			}
		}
		c := p.apply(old)
		if c == old {
			return old, nil
		}
		c.Version++
		c.UpdatedAt = later(s.time(), old.UpdatedAt)
		if err := s.beforeUpdate(ctx, actor, old, c); err != nil {
			return Content{}, fmt.Errorf("content: update %s: %w", id, err)
		}
		err = s.store.UpdateContent(ctx, c)
		switch {
		case err == nil:
			s.recent.see(c, s.now())
			s.afterUpdate(ctx, actor, old, c)
			return c, nil
		case !errors.Is(err, ErrConflict):
			return Content{}, fmt.Errorf("content: update %s: %w", id, err)
		}
	}
	return Content{}, fmt.Errorf("content: update %s: lost %d races: %w", id, attempts, ErrConflict)
}

// Delete removes a content together with its ratings. Its author and staff may. Of check, see Update.
func (s *Service) Delete(ctx context.Context, actor Actor, id string, check func(Content) error) error {
	for range attempts {
		old, err := s.mine(ctx, actor, id)
		if err != nil {
			return err
		}
		version := int64(0)
		if check != nil {
			if err := check(old); err != nil {
				return err
			}
			version = old.Version
		}
		if s.hooks.BeforeDelete != nil {
			version = old.Version
		}
		if err := s.beforeDelete(ctx, actor, old); err != nil {
			return fmt.Errorf("content: delete %s: %w", id, err)
		}
		err = s.store.DeleteContent(ctx, id, version)
		switch {
		case err == nil:
			s.recent.forget(id)
			s.tellGone(ctx, id)
			s.afterDelete(ctx, actor, old)
			return nil
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("content: delete %s: %w", id, err)
		}
	}
	return fmt.Errorf("content: delete %s: lost %d races: %w", id, attempts, ErrConflict)
}

// mine returns a content that actor may change.
func (s *Service) mine(ctx context.Context, actor Actor, id string) (Content, error) {
	c, err := s.Get(ctx, id)
	if err != nil {
		return Content{}, err
	}
	if c.Author != actor.User && !actor.Staff {
		return Content{}, ErrForbidden
	}
	return c, nil
}

// openedTTL is how long the existence of a content is believed without asking the store. A rating that is accepted on the
// word of a stale entry is refused when it is applied, so this only shifts where the rater learns of it.
const openedTTL = 10 * time.Minute

// Opened returns the time of creation of those of ids that exist. It asks the cache, then the store.
func (s *Service) Opened(ctx context.Context, ids []string) (map[string]time.Time, error) {
	opened := make(map[string]time.Time, len(ids))
	missing := s.recall(ctx, ids, opened)
	if len(missing) == 0 {
		return opened, nil
	}
	found, err := s.store.ContentsByID(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("content: look up %d contents: %w", len(missing), err)
	}
	items := make([]cache.Item, 0, len(found))
	for _, c := range found {
		opened[c.ID] = c.CreatedAt
		value := binary.BigEndian.AppendUint64(nil, uint64(c.CreatedAt.UnixMicro()))
		items = append(items, cache.Item{Key: openedKey(c.ID), Value: value, TTL: openedTTL})
	}
	if s.cache != nil && len(items) > 0 {
		if err := s.cache.SetMany(ctx, items); err != nil {
			s.take.Warn(ctx, s.log, s.now(), "content: cache does not take", slog.Any("error", err))
		}
	}
	return opened, nil
}

// recall fills opened with what the cache knows and returns the rest of ids.
func (s *Service) recall(ctx context.Context, ids []string, opened map[string]time.Time) []string {
	if s.cache == nil {
		return ids
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = openedKey(id)
	}
	gone := s.untold.now() // before the cache is asked: what it learns of in between it has not told
	items, err := s.cache.GetMany(ctx, keys)
	if err != nil {
		s.get.Warn(ctx, s.log, s.now(), "content: cache does not answer", slog.Any("error", err))
		return ids
	}
	if len(gone) > 0 {
		s.tellAgain(ctx)
	}
	var missing []string
	for i, id := range ids {
		item, ok := items[keys[i]]
		switch {
		case slices.Contains(gone, id), ok && item.Version == goneVersion:
		case ok && len(item.Value) == 8:
			opened[id] = time.UnixMicro(int64(binary.BigEndian.Uint64(item.Value))).UTC()
		default:
			missing = append(missing, id)
		}
	}
	return missing
}

const (
	// goneVersion is greater than that of what is there: whoever found the content a moment before it was deleted comes too late.
	goneVersion = 1
	// goneTTL outlives what anybody may still believe.
	goneTTL = 2 * openedTTL
	// maxUntold is how many deletions are kept that the cache has not been told yet, and tellPause the least time between two failures to.
	maxUntold = cache.MaxBatch
	tellPause = time.Second
)

// tellGone tells the cache that a content is deleted. What it does not take now it is told when it answers again.
func (s *Service) tellGone(ctx context.Context, id string) {
	if s.cache == nil {
		return
	}
	if err := s.markGone(ctx, []string{id}); err != nil {
		s.untold.mu.Lock()
		defer s.untold.mu.Unlock()
		if len(s.untold.ids) < maxUntold {
			s.untold.ids = append(s.untold.ids, id)
		}
	}
}

// markGone puts deletions into the cache.
func (s *Service) markGone(ctx context.Context, ids []string) error {
	items := make([]cache.Item, len(ids))
	for i, id := range ids {
		items[i] = cache.Item{Key: openedKey(id), Version: goneVersion, TTL: goneTTL}
	}
	err := s.cache.SetMany(ctx, items)
	if err != nil {
		s.drop.Warn(ctx, s.log, s.now(), "content: cache does not learn of a deletion", slog.String("content", ids[0]), slog.Any("error", err))
	}
	return err
}

// untold are deletions that the cache may not know. They are only appended, and taken away in front once it does.
type untold struct {
	mu      sync.Mutex
	ids     []string
	telling bool
	next    time.Time // when to tell again, after a failure
}

func (u *untold) now() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ids
}

// tellAgain tells the cache, which answers, what it was not told.
func (s *Service) tellAgain(ctx context.Context) {
	u := &s.untold
	u.mu.Lock()
	ids, mine := u.ids, len(u.ids) > 0 && !u.telling && !s.now().Before(u.next)
	u.telling = u.telling || mine
	u.mu.Unlock()
	if !mine {
		return
	}
	err := s.markGone(ctx, ids)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.telling = false
	if err != nil {
		u.next = s.now().Add(tellPause)
		return
	}
	u.ids = u.ids[len(ids):]
}

func openedKey(id string) string { return "content:" + id + ":opened" }

// time returns the present in UTC, cut to what every store keeps.
func (s *Service) time() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// later keeps times of change in order even when clocks are not.
func later(now, last time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(time.Microsecond)
}
