package sqlitefile

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/internal/outage"
)

// Bounds of a group. A group ends when nobody waits, or at the first of them.
const (
	maxGroup   = 1_000
	maxTime    = 50 * time.Millisecond // from the first job to the commit; a longer job is the last of its group
	maxWaiting = 10_000                // jobs; beyond them Write fails at once
)

// waiter is a job, and whoever waits for it.
type waiter struct {
	job      func(*Tx) error
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
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &waiter{job: job, done: make(chan struct{})}
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
	if len(f.waiting) >= maxWaiting {
		return fmt.Errorf("sqlitefile: %d writes wait: %w", maxWaiting, outage.Err)
	}
	f.waiting = append(f.waiting, w)
	if !f.draining {
		f.draining = true
		f.drains.Add(1)
		go f.drain()
	}
	return nil
}

// drain commits group after group until nobody waits. It is a goroutine of its own, rather than the first of the waiting, so
// that everybody who waits can leave.
func (f *File) drain() {
	defer f.drains.Done()
	for f.more() {
		f.commit()
	}
}

// more reports whether somebody waits; otherwise the next one to come starts a new drain.
func (f *File) more() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = len(f.waiting) > 0
	return f.draining
}

// next takes the oldest job that is still wanted, or nil.
func (f *File) next() *waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.waiting) > 0 {
		w := f.waiting[0]
		f.waiting[0] = nil
		f.waiting = f.waiting[1:]
		if w.state.CompareAndSwap(queued, begun) {
			return w
		}
	}
	return nil
}

// commit does one group in one transaction and tells everybody in it what became of it.
func (f *File) commit() {
	tx := &Tx{f}
	group, err := f.group(tx)
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

// group runs jobs until nobody waits or a bound is reached. An error means that the transaction, and so all of them, failed.
func (f *File) group(tx *Tx) (group []*waiter, err error) {
	if err := tx.begin(); err != nil {
		for len(group) < maxGroup {
			w := f.next()
			if w == nil {
				break
			}
			group = append(group, w)
		}
		return group, err
	}
	for end := time.Now().Add(maxTime); len(group) < maxGroup && (group == nil || time.Now().Before(end)); {
		w := f.next()
		if w == nil {
			break
		}
		do := tx.doAnother
		if group == nil {
			do = tx.doFirst
		}
		group = append(group, w)
		if err := do(w); err != nil {
			return group, err
		}
	}
	return group, nil
}

func (tx *Tx) begin() error {
	_, err := tx.Exec("BEGIN IMMEDIATE")
	return err
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
