package sqlitefile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/planted"
)

// Bounds of a group of short jobs. A group ends when no job waits, or at the first of these bounds.
const (
	maxGroup   = 1_000
	maxTime    = 50 * time.Millisecond // from the first job to the commit; a longer job is the last of its group
	maxWaiting = 10_000                // jobs; beyond them Write fails at once
)

// waiter is a job whose caller waits for it.
type waiter struct {
	job      func(Tx) error
	long     bool
	key      any // of WriteTogether; nil: the job is done alone
	item     any
	do       func(tx Tx, items []any) error // of all items with key
	queued   time.Time
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

// Write runs job inside a transaction and returns once that is committed, or not. An error of the
// job undoes what the job did and nothing else, and is returned as it is; a panic likewise. Unless
// the error wraps ErrUnknown, nothing was written.
//
// A job begins when the file's write lock is held. If ctx is done before, or another process has
// held the lock for Config.BusyTimeout, the job never begins and nothing was written. When ctx is
// done later, Write returns with ErrUnknown, and the job may still be running: it must not touch
// memory that the caller of Write goes on to use. A deadline that passed also wraps
// errs.ErrUnavailable. A job uses only its Tx, does not keep it, returns every error of it, and does
// not wait for anything; in particular not for another Write.
func (f *File) Write(ctx context.Context, job func(Tx) error) error {
	return f.write(ctx, &waiter{job: job})
}

// WriteLong is Write for a job that takes milliseconds, or may. It gets a transaction of its own,
// in turns with the groups of short jobs, so that no short job waits for two long ones.
func (f *File) WriteLong(ctx context.Context, job func(Tx) error) error {
	return f.write(ctx, &waiter{job: job, long: true})
}

// WriteTogether is Write for a kind of job that costs little more for many items than for one, such
// as a statement that takes a list. Items with the same key that wait one behind the other are done
// by one call of do. If that fails, do is called for each by itself, so that its error is its own.
func (f *File) WriteTogether(ctx context.Context, key, item any, do func(tx Tx, items []any) error) error {
	one := func(tx Tx) error { return do(tx, []any{item}) }
	return f.write(ctx, &waiter{job: one, key: key, item: item, do: do})
}

func (f *File) write(ctx context.Context, w *waiter) error {
	if ctx.Err() != nil {
		return over(ctx)
	}
	w.done, w.queued = make(chan struct{}), time.Now()
	if err := f.enqueue(w); err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if w.state.CompareAndSwap(queued, abandoned) {
			return over(ctx)
		}
		select {
		case <-w.done:
		default:
			return fmt.Errorf("%w: %w", ErrUnknown, over(ctx))
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
		return fmt.Errorf("sqlitefile: %d writes wait: %w", maxWaiting, errs.ErrUnavailable)
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

// drain commits until no job waits: a group of short jobs, then a long one. It is a goroutine of
// its own, not the first caller, so that every caller can return at its deadline.
func (f *File) drain() {
	defer f.drains.Done()
	tx := &transaction{f}
	for f.more() {
		runtime.Gosched() // on a busy machine other callers join the group; on an idle one it costs nothing
		if f.waits(&f.waiting) && tx.begin() {
			tx.commit(f.nextShort)
		}
		if f.waits(&f.long) && tx.begin() {
			tx.commit(f.nextLong)
		}
	}
}

// maxPause is the longest pause between two attempts to get the write lock that another process
// holds.
const maxPause = 10 * time.Millisecond

// begin begins a transaction. While another process holds the write lock it tries again and again,
// as long as a job waits: none has begun, so that each caller can return when its context is done.
// It reports false if no job waits any more.
func (tx *transaction) begin() bool {
	pauses := backoff.Backoff{First: time.Millisecond, Max: maxPause}
	for {
		_, err := tx.Exec("BEGIN IMMEDIATE")
		if err == nil {
			return true
		}
		if !tx.f.refuse(err) {
			return false
		}
		time.Sleep(pauses.Next())
	}
}

// refuse drops the jobs whose callers have returned, and fails jobs after an error of begin: those
// that have waited for the lock for Config.BusyTimeout, or all of them if the error is not that the
// file is locked. It reports whether jobs are left.
func (f *File) refuse(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := time.Now().Add(-f.cfg.BusyTimeout)
	refused := func(w *waiter) bool {
		if busy(err) && w.state.Load() == queued && w.queued.After(oldest) {
			return false
		}
		f.failing.Note(true)
		if w.state.CompareAndSwap(queued, begun) {
			w.err = err
			close(w.done)
		}
		return true
	}
	f.waiting, f.long = slices.DeleteFunc(f.waiting, refused), slices.DeleteFunc(f.long, refused)
	return len(f.waiting)+len(f.long) > 0
}

// more reports whether jobs wait. If none does, the next job starts a new drain.
func (f *File) more() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = len(f.waiting)+len(f.long) > 0
	return f.draining
}

// waits reports whether a job waits in a queue of f.
func (f *File) waits(queue *[]*waiter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(*queue) > 0
}

// nextShort takes the oldest short job that is still wanted, with those behind it that can be done
// together with it, at most limit in all. It returns nil if there is none, or group has no room for
// it.
func (f *File) nextShort(group []*waiter, end time.Time) []*waiter {
	limit := maxGroup - len(group)
	if limit <= 0 || len(group) > 0 && !time.Now().Before(end) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var unit []*waiter
	for len(f.waiting) > 0 && len(unit) < limit {
		if len(unit) > 0 && (unit[0].key == nil || f.waiting[0].key != unit[0].key) {
			break
		}
		if w := take(&f.waiting); w.state.CompareAndSwap(queued, begun) {
			unit = append(unit, w)
		}
	}
	return unit
}

// nextLong takes the oldest long job that is still wanted. It returns nil if there is none, or
// group has one.
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

// next picks the jobs to run next in the open transaction. group is what the transaction already
// contains; it should commit soon after end.
type next func(group []*waiter, end time.Time) []*waiter

// commit runs one group in the open transaction, commits it, and reports the outcome to every
// caller.
func (tx *transaction) commit(next next) {
	group, err := tx.do(next, time.Now().Add(maxTime))
	if planted.AckEarly && err == nil && len(group) > 0 && group[0].key != nil { // publications
		for _, w := range group {
			close(w.done)
		}
		time.Sleep(maxTime / 2)
		_, _ = tx.Exec("COMMIT")
		return
	}
	if err == nil && len(group) > 0 {
		if _, err = tx.Exec("COMMIT"); err != nil {
			err = fmt.Errorf("%w: commit: %w", ErrUnknown, err)
		}
	}
	if err != nil || len(group) == 0 {
		_, _ = tx.Exec("ROLLBACK") // SQLite may have done so already
	}
	written, failed := false, err != nil
	for _, w := range group {
		if err != nil {
			w.err, w.panicked = err, nil // what the job saw was rolled back
		}
		written, failed = written || w.err == nil, failed || errors.Is(w.err, errs.ErrUnavailable)
	}
	if written || failed {
		tx.f.failing.Note(failed)
	}
	for _, w := range group {
		close(w.done)
	}
}

// do runs one unit after the other, until next picks none. It returns the jobs to be committed. An
// error means that the transaction failed, and so all jobs in it.
func (tx *transaction) do(next next, end time.Time) (group []*waiter, err error) {
	unit := next(nil, end)
	if len(unit) == 0 || !tx.doFirst(unit) {
		return nil, nil
	}
	group = unit
	for unit = next(group, end); len(unit) > 0; unit = next(group, end) {
		group = append(group, unit...)
		if err := tx.doUnit(unit); err != nil {
			return group, err
		}
	}
	return group, nil
}

// doFirst runs the first unit of a group, which a rollback of the transaction undoes. So a job that
// writes much, and often has its group to itself, needs no savepoint and its copies of pages. It
// reports false if the transaction has to be rolled back: a single job has failed then, and several
// jobs are queued again, each by itself.
func (tx *transaction) doFirst(unit []*waiter) bool {
	all := unit[0]
	if len(unit) > 1 {
		all = together(unit)
	}
	all.panicked, all.err = tx.attempt(all.job)
	if all.err == nil && all.panicked == nil {
		return true
	}
	if len(unit) == 1 {
		if errors.Is(all.err, errs.ErrUnavailable) {
			tx.f.failing.Note(true)
		}
		close(all.done)
		return false
	}
	for _, w := range unit {
		w.key = nil
		w.state.Store(queued)
	}
	tx.f.mu.Lock()
	defer tx.f.mu.Unlock()
	tx.f.waiting = append(slices.Clone(unit), tx.f.waiting...)
	return false
}

// together makes one job of those of a unit.
func together(unit []*waiter) *waiter {
	items := make([]any, len(unit))
	for i, w := range unit {
		items[i] = w.item
	}
	return &waiter{job: func(tx Tx) error { return unit[0].do(tx, items) }}
}

// doUnit runs the jobs of unit together, or one after the other if that fails. An error means that
// SQLite has rolled the transaction back.
func (tx *transaction) doUnit(unit []*waiter) error {
	if len(unit) == 1 {
		return tx.doAnother(unit[0])
	}
	all := together(unit)
	if err := tx.doAnother(all); err != nil {
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

// doAnother runs a job so that it can be undone alone. An error means that SQLite has rolled
// the transaction back, as after some failures such as a full disk.
func (tx *transaction) doAnother(w *waiter) error {
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

func (tx *transaction) attempt(job func(Tx) error) (panicked any, err error) {
	defer func() { panicked = recover() }()
	return nil, job(tx)
}
