package rating

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/logthrottle"
	"github.com/khodnevis/khodnevis/queue"
)

// BacklogWarning is how long an accepted message may wait for a worker until a Service that is used
// says so in the log. If the queue forgets messages whether stored or not, nothing more is accepted
// once one has waited for half as long as that takes.
const BacklogWarning = time.Minute

const (
	lookEvery   = 10 * time.Second // between looks at the oldest message
	lookTimeout = 5 * time.Second
)

// backlogGuard watches how long accepted messages wait. It looks when it is asked, beside the one
// who asks.
type backlogGuard struct {
	queue queue.Ager // nil: nobody can tell
	now   func() time.Time
	log   *slog.Logger
	mute  logthrottle.Log

	mu      sync.Mutex
	looking bool
	looked  time.Time
	late    bool  // longer than BacklogWarning, which was told
	refuse  error // why nothing may be accepted; nil: it may
}

func newBacklogGuard(q queue.Publisher, cfg Config) *backlogGuard {
	ager, _ := q.(queue.Ager)
	return &backlogGuard{queue: ager, now: cfg.Now, log: cfg.Logger}
}

// err returns what the last look says of accepting more. It never waits.
func (o *backlogGuard) err(ctx context.Context) error {
	if o.queue == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if since := now.Sub(o.looked); !o.looking && (since >= lookEvery || since < 0) {
		o.looking, o.looked = true, now
		go o.look(context.WithoutCancel(ctx))
	}
	return o.refuse
}

// look asks the queue. If it does not answer, what it said last goes on.
func (o *backlogGuard) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	oldest, retention, err := o.queue.Age(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looking = false
	if err != nil {
		o.mute.Warn(ctx, o.log, o.now(), "rating: the queue does not tell how long messages wait", slog.Any("error", err))
		return
	}
	o.refuse = nil
	if retention > 0 && oldest > retention/2 {
		o.refuse = fmt.Errorf("%w: the oldest message has waited for %v, and is lost after %v", queue.ErrNotAccepted, oldest.Round(time.Second), retention)
	}
	late := oldest > BacklogWarning || o.refuse != nil
	switch {
	case late && !o.late:
		o.log.WarnContext(ctx, "rating: accepted messages wait: does a worker run?", "oldest", oldest, "lost_after", retention)
	case !late && o.late:
		o.log.InfoContext(ctx, "rating: accepted messages wait no longer", "oldest", oldest)
	}
	o.late = late
}
