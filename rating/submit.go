package rating

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/internal/requestid"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/internal/event"
	"github.com/khodnevis/khodnevis/rating/internal/taskid"
	"github.com/khodnevis/khodnevis/rating/task"
)

// Submission is a rating that a rater submits.
type Submission struct {
	Content string
	Score   int
}

// Receipt confirms a submission that the queue has accepted.
type Receipt struct {
	Task task.Task
	// Rating is the rating as it will be when the task succeeds. Its CreatedAt and UpdatedAt are
	// when it was accepted.
	Rating Rating
}

// UnavailableError says that a submission was not accepted, or that it is unknown whether it was.
// It wraps ErrUnavailable and the cause.
type UnavailableError struct {
	// Unknown says that the submission may still be stored later. Otherwise it will never be.
	Unknown bool
	Cause   error
}

// Error implements error.
func (e *UnavailableError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("rating: outcome unknown: %v", e.Cause)
	}
	return fmt.Sprintf("rating: not accepted: %v", e.Cause)
}

// Unwrap makes errors.Is find ErrUnavailable and the cause.
func (e *UnavailableError) Unwrap() []error { return []error{ErrUnavailable, e.Cause} }

// Submit accepts the actor's rating of a content, new or changed, and returns once the queue has it
// durably. From then on it is stored sooner or later, unless a later submission of the same actor
// and content supersedes it or the content is deleted. A score outside the scale or an unknown
// content is a *ValidationError, the refusal of a hook a *Refusal, and a queue that does not accept
// it an *UnavailableError.
func (s *Service) Submit(ctx context.Context, actor actor.Actor, sub Submission) (Receipt, error) {
	if err := s.CheckScore(sub.Score); err != nil {
		return Receipt{}, err
	}
	if err := s.checkContent(ctx, sub.Content); err != nil {
		return Receipt{}, err
	}
	if err := s.beforeSubmit(ctx, actor, sub); err != nil {
		return Receipt{}, fmt.Errorf("rating: submit: %w", err)
	}
	e := event.Event{Op: event.Rate, Score: sub.Score, At: s.cfg.time()}
	return s.accept(ctx, Key{Content: sub.Content, Rater: actor.User}, e)
}

// Withdraw accepts the withdrawal of a rating, like Submit. Its rater and staff may withdraw it.
// ErrNotFound: there is no such rating. ErrForbidden: the rating is another rater's.
func (s *Service) Withdraw(ctx context.Context, actor actor.Actor, key Key) (Receipt, error) {
	if _, _, err := s.Get(ctx, actor, key); err != nil {
		return Receipt{}, err
	}
	if err := checkMayWithdraw(actor, key); err != nil {
		return Receipt{}, err
	}
	if err := s.beforeWithdraw(ctx, actor, key); err != nil {
		return Receipt{}, fmt.Errorf("rating: withdraw %s: %w", key, err)
	}
	return s.accept(ctx, key, event.Event{Op: event.Withdraw, By: actor.User, At: s.cfg.time()})
}

// Recalculate accepts the recalculation of one content, like Submit: its numbers are recounted and
// its score is computed. ErrForbidden: the actor is not staff.
func (s *Service) Recalculate(ctx context.Context, actor actor.Actor, content string) (task.Task, error) {
	if !actor.Staff {
		return task.Task{}, ErrForbidden
	}
	e := event.Event{Op: event.Recalculate, By: actor.User, At: s.cfg.time()}
	positions, err := s.publish(ctx, requestid.From(ctx), []string{content}, e)
	if err != nil {
		return task.Task{}, err
	}
	return taskid.Of(e, positions[0], content, "").Task(), nil
}

// cacheTime is the part of a request's time that is kept for the cache, after the queue has
// accepted the submission.
const cacheTime = 200 * time.Millisecond

// accept publishes e and makes it readable to its rater.
func (s *Service) accept(ctx context.Context, key Key, e event.Event) (Receipt, error) {
	if planted.WallClock {
		e.At = e.At.Add(planted.Skew)
	}
	positions, err := s.publish(ctx, requestid.From(ctx), []string{key.String()}, e)
	if err != nil {
		return Receipt{}, err
	}
	position := positions[0]
	accepted := taskid.Of(e, position, key.Content, key.Rater).Task()
	// The submission is accepted, whatever happens from here on. The rest makes the rating and its
	// task readable at once, also while the store is unreachable.
	items := []cache.Item{s.tasks.item(accepted)}
	known, cancel := deadline.Reserve(ctx, cacheTime)
	defer cancel()
	if epoch, err := s.epochs.of(known, position.Stream); err == nil {
		items = append(items, s.pending.item(key, Version{epoch, position.Offset}, e))
	} else {
		s.cfg.Logger.WarnContext(ctx, "rating: accepted, but not readable until it is stored", "rating", key.String(),
			"error", err)
	}
	s.cache.set(ctx, items)
	r := Rating{Key: key, Score: e.Score, Withdrawn: e.Op == event.Withdraw, CreatedAt: e.At, UpdatedAt: e.At}
	return Receipt{Task: accepted, Rating: r}, nil
}

// publish publishes events, each with its key, in the name of the installation. A process whose
// store has not answered since it started does not know that name and publishes nothing.
func (s *Service) publish(
	ctx context.Context, request string, keys []string, events ...event.Event,
) ([]queue.Position, error) {
	if err := s.backlog.err(ctx); err != nil {
		return nil, &UnavailableError{Cause: err}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	own, err := s.identity.Of(ctx)
	if err != nil {
		return nil, &UnavailableError{Cause: err}
	}
	messages := make([]queue.Message, len(keys))
	for i, key := range keys {
		messages[i] = events[i].Message(key, own, request)
	}
	positions, err := s.queue.Publish(ctx, messages...)
	if err != nil {
		return nil, &UnavailableError{Unknown: !errors.Is(err, queue.ErrNotAccepted), Cause: err}
	}
	return positions, nil
}
