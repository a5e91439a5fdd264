package rating

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Config configures a Service and its workers. Its zero value is usable.
type Config struct {
	// Scale is the range of scores. The zero value means 1 to 5.
	Scale score.Scale
	// Policy holds the constants of the published score. The zero value means the defaults.
	Policy score.Policy
	// Cache keeps numbers, states of tasks and pending submissions. Nil: all answers come from the
	// store, and a rating can be read once it is stored.
	Cache cache.Cache
	// PublishTimeout is how long the queue may take to accept a submission. Default 1.8 s.
	PublishTimeout time.Duration
	// Batch is how many messages a worker consumes at once, and the most contents whose scores are
	// computed in one transaction, 1 to queue.MaxBatch. Default 1,000.
	Batch int
	// Waiters is how many callers may wait in Service.Wait and Service.WaitAccepted at once;
	// further callers get the task as it is. An eighth as many, at least one, may wait besides for
	// tasks that the cache does not know, whose identifiers may be forged. Default 256.
	Waiters int
	// Hooks are functions of the host that are called when ratings change.
	Hooks Hooks
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives what happens besides requests. Nil: nothing is logged.
	Logger *slog.Logger
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

// time returns the present in UTC, cut to the microseconds that every store keeps.
func (c Config) time() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }
