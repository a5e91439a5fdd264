package httpapi_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/queue"
)

// ageing is a queue that deletes messages after a day, and goes by the clock of the test.
type ageing struct {
	queue.Queue
	clock *clock
	since atomic.Int64 // when the first message was published
}

func (q *ageing) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	q.since.CompareAndSwap(0, q.clock.Now().UnixNano())
	return q.Queue.Publish(ctx, msgs...)
}

func (q *ageing) Age(ctx context.Context) (oldest, retention time.Duration, err error) {
	waiting, err := q.Queue.(queue.Lagger).Lag(ctx)
	if waiting > 0 {
		oldest = q.clock.Now().Sub(time.Unix(0, q.since.Load()))
	}
	return oldest, 24 * time.Hour, err
}

// TestUnappliedTooLong: while no worker runs, ratings are accepted until the oldest has waited for
// half as long as the queue keeps it, and are again when one does.
func TestUnappliedTooLong(t *testing.T) {
	t.Parallel()
	q := &ageing{clock: &clock{}}
	s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) {
		q.Queue, c.Queue, c.Now = c.Queue, q,
			q.clock.Now
	}})
	rate := request{method: "POST", path: "ratings/", as: ada, body: fmt.Sprintf(`{"content":%q,"score":5}`,
		s.write(t, "A film"))}
	if a := s.do(t, rate); a.status != 202 {
		t.Fatalf("the first one: %s", a)
	}
	q.clock.Advance(12*time.Hour + time.Minute)
	s.login(t, ada)
	rate.faulty = true
	var refused answer
	testutil.Eventually(t, 30*time.Second, "a rating is refused", func() bool {
		refused = s.do(t, rate)
		return refused.status != 202
	})
	if refused.status != 503 || refused.problem() != "unavailable" || refused.at(t, "outcome") != "not_accepted" ||
		refused.header.Get("Retry-After") == "" {
		t.Errorf("past half the retention: %s", refused)
	}
	s.work()
	testutil.Eventually(t, 30*time.Second, "ratings are accepted again", func() bool {
		q.clock.Advance(time.Second)
		return s.do(t, rate).status == 202
	})
}
