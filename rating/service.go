package rating

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/internal/deadline"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/installation"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/internal/requestid"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Contents tells which contents may be rated. A host with contents of its own implements it;
// content.Service does.
type Contents interface {
	// HistoryStarts returns, for those of ids that may be rated, when the content's history opened:
	// its creation. A zero time means that it opens with the first rating. Those that may not be
	// rated are missing from the map. It may be called concurrently.
	HistoryStarts(ctx context.Context, ids []string) (map[string]time.Time, error)
}

// Config configures Service, Worker and Recalculator alike; give all of them the same. Its zero
// value is usable.
type Config struct {
	// Scale is the range of scores. The zero value means 1 to 5.
	Scale score.Scale
	// Policy holds the constants of the published score. The zero value means the defaults.
	Policy score.Policy
	// Cache remembers numbers, tasks and what is pending. Nil: everything comes from the store, and
	// a rating is not readable before it is stored.
	Cache cache.Cache
	// PublishTimeout is how long the queue may take to accept. Default 1.8 s.
	PublishTimeout time.Duration
	// Batch is how many messages a Worker takes at once, and the most contents whose scores are
	// folded in one transaction, 1 to queue.MaxBatch. Default 1,000.
	Batch int
	// Waiters is how many callers may wait in Service.Wait and Service.WaitAccepted at once; more
	// are answered at once. An eighth as many, at least one, may wait beside them for tasks that
	// the cache does not know, which may be made up. Default 256.
	Waiters int
	// SkipForeign has workers pass over messages that another installation published into their
	// queue. By default a worker stops at the first one; see ForeignError. Set it only if the other
	// installation consumes the queue with a consumer group of its own: what it accepted is lost
	// otherwise.
	SkipForeign bool
	// Hooks take part in the life of ratings.
	Hooks Hooks
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives what happens beside a request. Nil: nothing is logged.
	Logger *slog.Logger

	warn *warnings
}

func (c Config) orDefault() Config {
	c.Scale = c.Scale.OrDefault()
	if c.PublishTimeout == 0 {
		c.PublishTimeout = 1800 * time.Millisecond
	}
	if c.Batch == 0 {
		c.Batch = 1000
	}
	if c.Waiters == 0 {
		c.Waiters = 256
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.warn = &warnings{log: c.Logger, now: c.Now}
	return c
}

// Validate reports every field that cannot be used.
func (c Config) Validate() error {
	c = c.orDefault()
	errs := []error{c.Scale.Validate(), c.Policy.Validate()}
	if c.PublishTimeout < 0 {
		errs = append(errs, fmt.Errorf("rating: PublishTimeout is %v, must be positive", c.PublishTimeout))
	}
	if c.Batch < 1 || c.Batch > queue.MaxBatch {
		errs = append(errs, fmt.Errorf("rating: Batch is %d, must be 1 to %d", c.Batch, queue.MaxBatch))
	}
	if c.Waiters < 0 {
		errs = append(errs, fmt.Errorf("rating: Waiters is %d, must not be negative", c.Waiters))
	}
	return errors.Join(errs...)
}

// time returns the present in UTC, cut to what every store keeps.
func (c Config) time() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }

// Service is what hosts and the REST surface use.
type Service struct {
	cfg      Config
	store    Store
	queue    queue.Publisher
	contents Contents
	identity *installation.Identity
	epochs   *epochs
	numbers  numbers
	pending  pending
	waiters  chan struct{}
	// strangers are those who wait for tasks that may be made up.
	strangers    chan struct{}
	backlogGuard *backlogGuard
	locator      *locator
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
	return &Service{
		cfg: cfg, store: store, queue: q, contents: contents,
		identity:     installation.New(store.Installation),
		epochs:       newEpochs(store),
		numbers:      newNumbers(store, cfg),
		pending:      pending{cache: cfg.Cache, warn: cfg.warn},
		waiters:      make(chan struct{}, cfg.Waiters),
		strangers:    make(chan struct{}, max(1, cfg.Waiters/unknownShare)),
		backlogGuard: newBacklogGuard(q, cfg),
		locator:      newLocator(q, cfg),
	}, nil
}

// Scale returns the range of scores.
func (s *Service) Scale() score.Scale { return s.cfg.Scale }

// Submission is a rating as a rater gives it.
type Submission struct {
	Content string
	Score   int
}

// Receipt is what a submission gets once the queue has it.
type Receipt struct {
	Task Task
	// Rating is as it will be when the task succeeds; its CreatedAt and UpdatedAt are when it was
	// accepted.
	Rating Rating
}

// Submit accepts the actor's rating of a content, the first one or a change, and returns once the
// queue has it durably. From then on it is stored sooner or later, unless a later one of the same
// actor and content supersedes it or the content is deleted. A score outside the scale or an
// unknown content is a *ValidationError, what a hook refuses a *Refusal, a queue that does not take
// it an *UnavailableError.
func (s *Service) Submit(ctx context.Context, actor actor.Actor, sub Submission) (Receipt, error) {
	if err := s.CheckScore(sub.Score); err != nil {
		return Receipt{}, err
	}
	if err := s.mayBeRated(ctx, sub.Content); err != nil {
		return Receipt{}, err
	}
	if err := s.beforeSubmit(ctx, actor, sub); err != nil {
		return Receipt{}, fmt.Errorf("rating: submit: %w", err)
	}
	return s.accept(ctx, Key{Content: sub.Content, Rater: actor.User}, event{Op: opRate, Score: sub.Score, At: s.cfg.time()})
}

// CheckScore returns what Submit says of a score outside the scale, a *ValidationError, or nil.
func (s *Service) CheckScore(value int) error {
	var bad ValidationError
	checkScore(&bad, s.cfg.Scale, value)
	return bad.err()
}

// Exists returns ErrNotFound if there is no such content that may be rated.
func (s *Service) Exists(ctx context.Context, content string) error {
	err := s.mayBeRated(ctx, content)
	if bad := (*ValidationError)(nil); errors.As(err, &bad) {
		return ErrNotFound
	}
	return err
}

func (s *Service) mayBeRated(ctx context.Context, content string) error {
	missing := invalidField(invalid.Field{Name: "content", Code: invalid.NotExist, Detail: "There is no such content.", Params: map[string]any{"content": content}})
	if !id.Valid(content) {
		return missing
	}
	opened, err := s.contents.HistoryStarts(ctx, []string{content})
	if err != nil {
		return fmt.Errorf("rating: look up content %s: %w", content, err)
	}
	if _, ok := opened[content]; !ok {
		return missing
	}
	return nil
}

// Withdraw accepts the withdrawal of a rating, by its rater or by staff, like Submit. ErrNotFound:
// there is no such rating. ErrForbidden: it is another one's.
func (s *Service) Withdraw(ctx context.Context, actor actor.Actor, key Key) (Receipt, error) {
	if _, _, err := s.Get(ctx, actor, key); err != nil {
		return Receipt{}, err
	}
	if actor.User != key.Rater && !actor.Staff {
		return Receipt{}, ErrForbidden
	}
	if err := s.beforeWithdraw(ctx, actor, key); err != nil {
		return Receipt{}, fmt.Errorf("rating: withdraw %s: %w", key, err)
	}
	return s.accept(ctx, key, event{Op: opWithdraw, By: actor.User, At: s.cfg.time()})
}

// Recalculate accepts the recount of one content's numbers, like Submit. ErrForbidden: the actor is
// not staff.
func (s *Service) Recalculate(ctx context.Context, actor actor.Actor, content string) (Task, error) {
	if !actor.Staff {
		return Task{}, ErrForbidden
	}
	e := event{Op: opRecalculate, By: actor.User, At: s.cfg.time()}
	positions, err := s.publish(ctx, e.message(content, requestid.From(ctx)))
	if err != nil {
		return Task{}, err
	}
	return ticket{Op: e.Op, Position: positions[0], At: e.At, Key: Key{Content: content}, By: e.By}.task(), nil
}

// cacheTime is what remains of a request's time for the cache, once the queue has what the
// request brought.
const cacheTime = 200 * time.Millisecond

// accept publishes e and remembers it as pending.
func (s *Service) accept(ctx context.Context, key Key, e event) (Receipt, error) {
	if planted.WallClock {
		e.At = e.At.Add(planted.Skew)
	}
	positions, err := s.publish(ctx, e.message(key.String(), requestid.From(ctx)))
	if err != nil {
		return Receipt{}, err
	}
	position := positions[0]
	by := key.Rater
	if e.Op != opRate {
		by = e.By
	}
	task := ticket{Op: e.Op, Position: position, At: e.At, Key: key, By: by}.task()
	// What follows only makes the rating and the task readable at once. It is accepted, whatever
	// becomes of that. A store that is down knows of no task, and of a new stream not even one that
	// answers.
	items := []cache.Item{record{State: Pending}.item(task.ID)}
	known, cancel := deadline.Reserve(ctx, cacheTime)
	defer cancel()
	if epoch, err := s.epochs.of(known, position.Stream); err == nil {
		m := mark{Version: Version{epoch, position.Offset}, Score: e.Score, Withdraw: e.Op == opWithdraw, At: e.At.UnixMicro()}
		items = append(items, m.item(key))
	} else {
		s.cfg.Logger.WarnContext(ctx, "rating: accepted, but not readable until it is stored", "rating", key.String(), "error", err)
	}
	remember(ctx, s.cfg.Cache, s.cfg.warn, items)
	return Receipt{Task: task, Rating: Rating{Key: key, Score: e.Score, Withdrawn: e.Op == opWithdraw, CreatedAt: e.At, UpdatedAt: e.At}}, nil
}

// publish publishes messages in the name of the installation. A process whose store has not
// answered since it started does not know that name, and publishes nothing.
func (s *Service) publish(ctx context.Context, messages ...queue.Message) ([]queue.Position, error) {
	if err := s.backlogGuard.err(ctx); err != nil {
		return nil, &UnavailableError{Cause: err}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	own, err := s.identity.Of(ctx)
	if err != nil {
		return nil, &UnavailableError{Cause: err}
	}
	for i := range messages {
		if messages[i].Header == nil {
			messages[i].Header = map[string]string{}
		}
		messages[i].Header[installationHeader] = own
	}
	positions, err := s.queue.Publish(ctx, messages...)
	if err != nil {
		return nil, &UnavailableError{Unknown: !errors.Is(err, queue.ErrNotAccepted), Cause: err}
	}
	return positions, nil
}

// Get returns a rating as the actor may see it and whether it is pending: raters see what they
// submitted last, even before it is stored. ErrNotFound: there is no such rating, or it is
// withdrawn.
func (s *Service) Get(ctx context.Context, actor actor.Actor, key Key) (r Rating, isPending bool, err error) {
	found, err := s.store.RatingsByKey(ctx, []Key{key})
	if err != nil {
		return Rating{}, false, fmt.Errorf("rating: get %s: %w", key, err)
	}
	if len(found) > 0 {
		r = found[0]
	} else {
		r = Rating{Key: key, Withdrawn: true}
	}
	if actor.User == key.Rater {
		r, isPending = s.pending.over(ctx, r)
	}
	if r.Withdrawn {
		return Rating{}, false, ErrNotFound
	}
	if isPending { // a rating of a content that is gone will never be stored
		if err := s.Exists(ctx, key.Content); err != nil {
			return Rating{}, false, err
		}
	}
	return r, isPending, nil
}

// MaxRows is about how many rows a store looks at for one list or count at the most, beside those
// that it returns.
const MaxRows = errs.MaxRows

// List returns a piece of a list of stored ratings. ErrTooBroad: it would have to look at more than
// q.MaxRows rows to find it, or at MaxRows if that is 0. A later piece of a list may be too broad
// although an earlier one was not: where fewer ratings match, more have to be looked at.
func (s *Service) List(ctx context.Context, q Query) ([]Rating, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("rating: list with limit %d", q.Limit)
	}
	if q.MaxRows == 0 {
		q.MaxRows = MaxRows
	}
	found, err := s.store.ListRatings(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("rating: list: %w", err)
	}
	return found, nil
}

// Count returns how many stored ratings match f. If more than MaxRows do, it returns MaxRows and
// true. ErrTooBroad: it would have to look at more rows than that to count them.
func (s *Service) Count(ctx context.Context, f Filter) (n int64, more bool, err error) {
	n, err = s.store.CountRatings(ctx, f, MaxRows)
	if err != nil {
		return 0, false, fmt.Errorf("rating: count: %w", err)
	}
	return min(n, MaxRows), n > MaxRows, nil
}

// Stats returns the numbers of contents, by content; those of a content that was never rated are
// zero.
func (s *Service) Stats(ctx context.Context, contents []string) (map[string]Stats, error) {
	return s.numbers.get(ctx, contents)
}
