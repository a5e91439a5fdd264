// Package memqueue is a queue in the memory of one process, for tests and for hosts that can afford
// to lose what waits.
//
// # Delivery
//
// It keeps nothing over a restart: what was published and not finished is gone with the process,
// and every Queue begins a new stream at offset 0. One consumer alone receives messages in the
// order of publishing, whatever their keys.
//
// # Concurrency
//
// All consumers of one Queue share its one log. While a batch is in flight its keys are closed to
// the other consumers.
package memqueue

import (
	"container/heap"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

// Config bounds a Queue; the zero value is usable.
type Config struct {
	// Capacity is how many messages may wait or be in flight; a publish that would exceed it is
	// refused at once with queue.ErrNotAccepted. Zero or less: 100,000.
	Capacity int
}

// Queue holds messages until a consumer has finished them.
type Queue struct {
	stream   string
	capacity int

	mu    sync.Mutex
	next  int64            // the offset of the next message
	open  int              // messages waiting or in flight
	since []publication    // that began with the oldest one of these, and those after it
	lines map[string]*line // by key; those with a message waiting or in flight
	ready lineHeap         // lines with a message waiting and none in flight
	more  chan struct{}    // closed when ready grows; nil while nobody waits for that
}

var (
	_ queue.Queue   = (*Queue)(nil)
	_ queue.Lagger  = (*Queue)(nil)
	_ queue.Ager    = (*Queue)(nil)
	_ queue.Locator = (*Queue)(nil)
)

// New returns an empty queue with a stream of its own.
func New(cfg Config) *Queue {
	if cfg.Capacity <= 0 {
		cfg.Capacity = 100_000
	}
	return &Queue{
		stream:   "mem-" + rand.Text(),
		capacity: cfg.Capacity,
		lines:    make(map[string]*line),
	}
}

// Publish implements queue.Publisher. It never waits: a queue without room for all of msgs takes
// none of them.
func (q *Queue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	if err := queue.Validate(msgs...); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", queue.ErrNotAccepted, err)
	}
	waiting := make([]queue.Delivery, len(msgs))
	for i, m := range msgs {
		waiting[i].Message = clone(m)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open+len(msgs) > q.capacity {
		return nil, fmt.Errorf("%w: memqueue: no room for %d more messages: %d of %d wait",
			queue.ErrNotAccepted, len(msgs), q.open, q.capacity)
	}
	positions := make([]queue.Position, len(msgs))
	for i, d := range waiting {
		d.Position = queue.Position{Stream: q.stream, Offset: q.next}
		positions[i] = d.Position
		q.next++
		q.enqueue(d)
	}
	q.open += len(msgs)
	q.since = append(q.since, publication{first: positions[0].Offset, open: len(msgs), at: time.Now()})
	q.signal()
	return positions, nil
}

// Consume implements queue.Consumer. It pauses after an error of h as queue.Retry does.
func (q *Queue) Consume(ctx context.Context, limit int, h queue.Handler) error {
	if limit < 1 || limit > queue.MaxBatch {
		return fmt.Errorf("memqueue: consume: the limit %d is not within 1 to %d", limit, queue.MaxBatch)
	}
	for {
		batch := q.take(ctx, limit)
		if batch == nil {
			return nil
		}
		q.handle(ctx, batch, h)
	}
}

// Lag implements queue.Lagger; it is exact.
func (q *Queue) Lag(context.Context) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return int64(q.open), nil
}

// Age implements queue.Ager; nothing is deleted.
func (q *Queue) Age(context.Context) (oldest, retention time.Duration, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.since) == 0 {
		return 0, 0, nil
	}
	return time.Since(q.since[0].at), 0, nil
}

// Locate implements queue.Locator; nothing is deleted.
func (q *Queue) Locate(_ context.Context, _ string, at queue.Position) (queue.Standing, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case at.Stream != q.stream:
		return queue.Unknown, nil
	case at.Offset >= q.next:
		return queue.Unpublished, nil
	}
	return queue.Published, nil
}

// handle offers batch to h until h takes it or ctx is done, and settles it even when h panics.
func (q *Queue) handle(ctx context.Context, batch []queue.Delivery, h queue.Handler) {
	finished := false
	defer func() { q.settle(batch, finished) }()
	finished = queue.Retry(ctx, func() error { return h(context.WithoutCancel(ctx), copies(batch)) })
}

// take waits for messages and takes up to limit of them in the order of publishing. It returns nil
// once ctx is done.
func (q *Queue) take(ctx context.Context, limit int) []queue.Delivery {
	for ctx.Err() == nil {
		batch, more := q.tryTake(limit)
		if batch != nil {
			return batch
		}
		select {
		case <-ctx.Done():
		case <-more:
		}
	}
	return nil
}

// tryTake takes what is ready or returns the channel that is closed when something is.
func (q *Queue) tryTake(limit int) ([]queue.Delivery, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		if q.more == nil {
			q.more = make(chan struct{})
		}
		return nil, q.more
	}
	var batch []queue.Delivery
	for len(batch) < limit && len(q.ready) > 0 {
		l := q.ready[0]
		batch = append(batch, l.pop())
		l.held = true
		if len(l.waiting) > 0 {
			heap.Fix(&q.ready, 0)
		} else {
			heap.Pop(&q.ready)
		}
	}
	for _, d := range batch {
		if l := q.lines[d.Key]; l.index >= 0 {
			heap.Remove(&q.ready, l.index)
		}
	}
	return batch, nil
}

// settle opens the keys of batch again, after putting it back in front of what came later unless it
// is finished.
func (q *Queue) settle(batch []queue.Delivery, finished bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if finished {
		q.open -= len(batch)
		q.close(batch)
	} else {
		back := make(map[string][]queue.Delivery)
		for _, d := range batch {
			back[d.Key] = append(back[d.Key], d)
		}
		for key, ds := range back {
			q.lines[key].waiting = append(ds, q.lines[key].waiting...)
		}
	}
	for _, d := range batch {
		l := q.lines[d.Key]
		if l == nil || !l.held {
			continue // an earlier message of the batch had the same key
		}
		l.held = false
		if len(l.waiting) > 0 {
			heap.Push(&q.ready, l)
		} else {
			delete(q.lines, d.Key)
		}
	}
	q.signal()
}

// close takes batch off what is open of its publications, and forgets those before the oldest
// message that is.
func (q *Queue) close(batch []queue.Delivery) {
	for _, d := range batch {
		after := sort.Search(len(q.since), func(i int) bool { return q.since[i].first > d.Offset })
		q.since[after-1].open--
	}
	finished := 0
	for finished < len(q.since) && q.since[finished].open == 0 {
		finished++
	}
	q.since = q.since[finished:]
}

// enqueue puts d behind the messages of its key.
func (q *Queue) enqueue(d queue.Delivery) {
	l := q.lines[d.Key]
	if l == nil {
		l = &line{index: -1}
		q.lines[d.Key] = l
	}
	l.waiting = append(l.waiting, d)
	if !l.held && l.index < 0 {
		heap.Push(&q.ready, l)
	}
}

// signal wakes the consumers that wait if there is something for them.
func (q *Queue) signal() {
	if q.more != nil && len(q.ready) > 0 {
		close(q.more)
		q.more = nil
	}
}

// publication is what one Publish took.
type publication struct {
	first int64 // its first offset
	open  int   // messages of it that wait or are in flight
	at    time.Time
}

// line is what waits of one key.
type line struct {
	waiting []queue.Delivery
	held    bool // a consumer has messages of the key in flight
	index   int  // in Queue.ready, or -1
}

func (l *line) oldest() int64 { return l.waiting[0].Offset }

func (l *line) pop() queue.Delivery {
	d := l.waiting[0]
	l.waiting[0] = queue.Delivery{} // the array outlives its head: let go of the body
	l.waiting = l.waiting[1:]
	return d
}

// lineHeap has the line with the oldest message on top.
type lineHeap []*line

func (h lineHeap) Len() int { return len(h) }

func (h lineHeap) Less(i, j int) bool { return h[i].oldest() < h[j].oldest() }

func (h lineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *lineHeap) Push(x any) {
	l := x.(*line)
	l.index = len(*h)
	*h = append(*h, l)
}

func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.index = -1
	return l
}

// clone copies everything of m that could be changed through it.
func clone(m queue.Message) queue.Message {
	m.Body, m.Header = slices.Clone(m.Body), maps.Clone(m.Header)
	return m
}

// copies returns what a handler may keep and change while batch stays as it is.
func copies(batch []queue.Delivery) []queue.Delivery {
	out := slices.Clone(batch)
	for i := range out {
		out[i].Message = clone(out[i].Message)
	}
	return out
}
