package rating

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/installation"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Contents says which contents may be rated. A host with contents of its own implements it;
// content.Service does.
type Contents interface {
	// Rateable returns those of ids that may be rated, in any order. It may be called concurrently.
	Rateable(ctx context.Context, ids []string) ([]string, error)
}

// Service accepts and reads ratings. Hosts and the REST surface use it.
type Service struct {
	cfg      Config
	store    Store
	queue    queue.Publisher
	contents Contents
	identity *installation.Identity
	epochs   *streamEpochs
	cache    *optionalCache
	stats    *statsCache
	pending  pendingOverlay
	tasks    taskCache
	// waiters has a slot for each caller that waits for a task, unknownWaiters for tasks whose
	// identifier may be forged.
	waiters, unknownWaiters chan struct{}
	backlog                 *backlogGuard
	lost                    *lostMessages
}

// New returns a Service. contents says what may be rated.
func New(store Store, q queue.Publisher, contents Contents, cfg Config) (*Service, error) {
	if store == nil || q == nil || contents == nil {
		return nil, errors.New("rating: New needs a store, a queue and contents")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.orDefault()
	c := &optionalCache{cache: cfg.Cache, log: cfg.Logger, now: cfg.Now}
	return &Service{
		cfg: cfg, store: store, queue: q, contents: contents, cache: c,
		identity:       installation.New(store.Installation),
		epochs:         newStreamEpochs(store),
		stats:          newStatsCache(store, c),
		pending:        newPendingOverlay(c),
		tasks:          newTaskCache(c),
		waiters:        make(chan struct{}, cfg.Waiters),
		unknownWaiters: make(chan struct{}, max(1, cfg.Waiters/unknownShare)),
		backlog:        newBacklogGuard(q, cfg),
		lost:           newLostMessages(q, cfg),
	}, nil
}

// Scale returns the range of scores.
func (s *Service) Scale() score.Scale { return s.cfg.Scale }

// CheckScore returns the *ValidationError of a score outside the scale, or nil.
func (s *Service) CheckScore(value int) error {
	var bad ValidationError
	switch {
	case value < s.cfg.Scale.Min:
		bad.add(invalid.TooSmall("score", s.cfg.Scale.Min))
	case value > s.cfg.Scale.Max:
		bad.add(invalid.TooGreat("score", s.cfg.Scale.Max))
	}
	return bad.err()
}

// Exists returns ErrNotFound if there is no such content that may be rated.
func (s *Service) Exists(ctx context.Context, content string) error {
	err := s.checkContent(ctx, content)
	if bad := (*ValidationError)(nil); errors.As(err, &bad) {
		return ErrNotFound
	}
	return err
}

// checkContent returns a *ValidationError if there is no such content that may be rated.
func (s *Service) checkContent(ctx context.Context, content string) error {
	missing := invalidField(invalid.Field{Name: "content", Code: invalid.NotExist, Detail: "There is no such content.",
		Params: map[string]any{"content": content}})
	if !id.Valid(content) {
		return missing
	}
	found, err := s.contents.Rateable(ctx, []string{content})
	if err != nil {
		return fmt.Errorf("rating: look up content %s: %w", content, err)
	}
	if !slices.Contains(found, content) {
		return missing
	}
	return nil
}
