package sqlitefile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/internal/outage"
)

// Bounds of a group of short jobs. It ends when nobody waits for one, or at the first of them.
const (
	maxGroup   = 1_000
	maxTime    = 50 * time.Millisecond // from the first job to the commit; a longer job is the last of its group
	maxWaiting = 10_000                // jobs; beyond them Write fails at once
)

// waiter is a job, and whoever waits for it.
type waiter struct {
	job      func(*Tx) error
	long     bool
	joint    *Joint // nil: job alone counts
	item     any    // what the joint is to do
	state    atomic.Int32
	done     chan struct{} // closed when err and panicked are final
	err      error
	panicked any
}

// The states of a waiter.
const (
	queued    = iota
	begun     // will be done
	abandoned // will not be done: its context was done before it began
)

// Write runs job inside a transaction and returns once that is committed, or not. An error of the job undoes what the job did
// and nothing else, and is returned as it is; a panic likewise. Unless the error wraps ErrUnknown, nothing was written.
//
// A job that has not begun when ctx is done never begins. When ctx is done later, Write returns with ErrUnknown, and the job may
// still be running: it must not touch memory that the caller of Write goes on to use. A job uses only its Tx, does not keep
// it, returns every error of it, and does not wait for anything; in particular not for another Write.
func (f *File) Write(ctx context.Context, job func(*Tx) error) error {
	return f.write(ctx, &waiter{job: job})
}

// WriteLong is Write for a job that takes milliseconds, or may. It gets a transaction of its own, by turns with the groups of those
// that are short, so that nobody who waits for a short job waits for two long ones.
func (f *File) WriteLong(ctx context.Context, job func(*Tx) error) error {
	return f.write(ctx, &waiter{job: job, long: true})
}

// Joint is a kind of job that costs little more for many items than for one, such as a statement that takes a list.
type Joint struct {
	do func(tx *Tx, items []any) error
}

// NewJoint returns a Joint that does items with do, which may be asked to do the same item again after an error.
func NewJoint(do func(tx *Tx, items []any) error) *Joint { return &Joint{do} }

// WriteJoint is Write for an item of j. Items that wait one behind the other are done together. If that fails, each is done by itself,
// so that its error is its own.
func (f *File) WriteJoint(ctx context.Context, j *Joint, item any) error {
	one := func(tx *Tx) error { return j.do(tx, []any{item}) }
	return f.write(ctx, &waiter{job: one, joint: j, item: item})
}

func (f *File) write(ctx context.Context, w *waiter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.done = make(chan struct{})
	if err := f.enqueue(w); err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if w.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err()
		}
		select {
		case <-w.done:
		default:
			return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
		}
	}
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.err
}

// enqueue appends w, and starts the goroutine that works off what waits unless it is running.
func (f *File) enqueue(w *waiter) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if len(f.waiting)+len(f.long) >= maxWaiting {
		return fmt.Errorf("sqlitefile: %d writes wait: %w", maxWaiting, outage.Err)
	}
	if w.long {
		f.long = append(f.long, w)
	} else {
		f.waiting = append(f.waiting, w)
	}
	if !f.draining {
		f.draining = true
		f.drains.Add(1)
		go f.drain()
	}
	return nil
}

// drain commits until nobody waits: a group of short jobs, then a long one. It is a goroutine of its own, rather than the first of
// the waiting, so that everybody who waits can leave.
func (f *File) drain() {
	defer f.drains.Done()
	for f.more() {
		runtime.Gosched() // on a busy machine, whoever can run joins the group; otherwise it costs nothing
		f.commit(f.nextShort)
		f.commit(f.nextLong)
	}
}

// more reports whether somebody waits; otherwise the next one to come starts a new drain.
func (f *File) more() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = len(f.waiting)+len(f.long) > 0
	return f.draining
}

// nextShort takes the oldest short job that is still wanted, with those behind it that can be done together with it, at most limit
// in all. It returns nil if there is none, or group has no room for it.
func (f *File) nextShort(group []*waiter, end time.Time) []*waiter {
	limit := maxGroup - len(group)
	if limit <= 0 || len(group) > 0 && !time.Now().Before(end) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var unit []*waiter
	for len(f.waiting) > 0 && len(unit) < limit {
		if len(unit) > 0 && (unit[0].joint == nil || f.waiting[0].joint != unit[0].joint) {
			break
		}
		if w := take(&f.waiting); w.state.CompareAndSwap(queued, begun) {
			unit = append(unit, w)
		}
	}
	return unit
}

// nextLong takes the oldest long job that is still wanted. It returns nil if there is none, or group has one.
func (f *File) nextLong(group []*waiter, _ time.Time) []*waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.long) > 0 && len(group) == 0 {
		if w := take(&f.long); w.state.CompareAndSwap(queued, begun) {
			return []*waiter{w}
		}
	}
	return nil
}

func take(waiting *[]*waiter) *waiter {
	w := (*waiting)[0]
	(*waiting)[0] = nil
	*waiting = (*waiting)[1:]
	return w
}

// next returns what shall be done next, together, in a transaction that already holds group and shall end soon after end.
type next func(group []*waiter, end time.Time) []*waiter

// commit does one group in one transaction and tells everybody in it what became of it.
func (f *File) commit(next next) {
	end := time.Now().Add(maxTime)
	group := next(nil, end)
	if group == nil {
		return
	}
	tx := &Tx{f}
	group, err := tx.do(group, next, end)
	if err == nil {
		if _, err = tx.Exec("COMMIT"); err != nil {
			err = fmt.Errorf("%w: commit: %w", ErrUnknown, err)
		}
	}
	if err != nil {
		_, _ = tx.Exec("ROLLBACK") // SQLite may have done so already
	}
	for _, w := range group {
		if err != nil {
			w.err, w.panicked = err, nil // what it saw was never there
		}
		close(w.done)
	}
}

// do begins a transaction and does unit and then what comes next, until nothing does. It returns all that it did. An error means
// that the transaction, and so all of them, failed.
func (tx *Tx) do(unit []*waiter, next next, end time.Time) (group []*waiter, err error) {
	if err := tx.begin(); err != nil {
		return unit, err
	}
	for first := true; unit != nil; first, unit = false, next(group, end) {
		group = append(group, unit...)
		if err := tx.doUnit(unit, first); err != nil {
			return group, err
		}
	}
	return group, nil
}

func (tx *Tx) begin() error {
	_, err := tx.Exec("BEGIN IMMEDIATE")
	return err
}

// doUnit does the jobs of unit together, or one after the other if that fails. An error means that the transaction is gone.
func (tx *Tx) doUnit(unit []*waiter, first bool) error {
	do := tx.doAnother
	if first {
		do = tx.doFirst
	}
	if len(unit) == 1 {
		return do(unit[0])
	}
	items := make([]any, len(unit))
	for i, w := range unit {
		items[i] = w.item
	}
	all := &waiter{job: func(tx *Tx) error { return unit[0].joint.do(tx, items) }}
	if err := do(all); err != nil {
		return err
	}
	if all.err == nil && all.panicked == nil {
		return nil
	}
	for _, w := range unit {
		if err := tx.doAnother(w); err != nil {
			return err
		}
	}
	return nil
}

// doFirst runs the first job of a group, which is undone by beginning again. That spares a job that writes much, and often has its
// group to itself, the copies of pages that a savepoint takes.
func (tx *Tx) doFirst(w *waiter) error {
	w.panicked, w.err = tx.attempt(w.job)
	if w.err == nil && w.panicked == nil {
		return nil
	}
	_, _ = tx.Exec("ROLLBACK") // SQLite may have done so already
	return tx.begin()
}

// doAnother runs a job so that it can be undone alone. An error means that the transaction is gone: SQLite rolls back all of it
// after some failures, such as a full disk.
func (tx *Tx) doAnother(w *waiter) error {
	if _, err := tx.Exec("SAVEPOINT job"); err != nil {
		return err
	}
	w.panicked, w.err = tx.attempt(w.job)
	if w.err != nil || w.panicked != nil {
		if _, err := tx.Exec("ROLLBACK TO job"); err != nil {
			return errors.Join(w.err, err)
		}
	}
	if _, err := tx.Exec("RELEASE job"); err != nil {
		return errors.Join(w.err, err)
	}
	return nil
}

func (tx *Tx) attempt(job func(*Tx) error) (panicked any, err error) {
	defer func() { panicked = recover() }()
	return nil, job(tx)
}
