package pgstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/internal/breaker"
	"github.com/khodnevis/khodnevis/store"
)

const (
	// linger is how long a call waits for the driver to cancel the statement, once its context is
	// done: a server that speaks needs less.
	linger = 50 * time.Millisecond
	// grace is how long after that the server counts as silent.
	grace = 450 * time.Millisecond
)

// statements holds what was prepared, by its text. There are as many as constants in this package;
// they end with the database handle.
type statements struct {
	mu     sync.Mutex
	byText map[string]*sqlx.Stmt
}

// sql puts the Store's schema in place of the one that statements are written with.
func (s *Store) sql(text string) string { return strings.ReplaceAll(text, "khodnevis.", s.prefix) }

// stmt prepares a statement when it is first used.
func (s *Store) stmt(ctx context.Context, text string) (*sqlx.Stmt, error) {
	s.prepared.mu.Lock()
	known := s.prepared.byText[text]
	s.prepared.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := s.db.PreparexContext(ctx, s.sql(text))
	if err != nil {
		return nil, err
	}
	s.prepared.mu.Lock()
	defer s.prepared.mu.Unlock()
	if known := s.prepared.byText[text]; known != nil { // somebody else was faster
		_ = made.Close()
		return known, nil
	}
	if s.prepared.byText == nil {
		s.prepared.byText = map[string]*sqlx.Stmt{}
	}
	s.prepared.byText[text] = made
	return made, nil
}

// query reads all rows of a prepared statement into the slice that rows points to. If the
// connection breaks, database/sql may run the statement again, so one that writes must give the
// same the second time.
func (s *Store) query(ctx context.Context, rows any, text string, args ...any) error {
	return s.within(ctx, func(ctx context.Context) error {
		stmt, err := s.stmt(ctx, text)
		if err != nil {
			return err
		}
		return stmt.SelectContext(ctx, rows, args...)
	})
}

// search is query for a text that is put together for one call, or that is not worth a second round
// trip on each connection: with the connections that Open makes it takes one. It is planned for the
// very values, which prepared statements are not after a few executions: a list of a hot content
// must not be planned for the average one.
func (s *Store) search(ctx context.Context, rows any, text string, args ...any) error {
	return s.within(ctx, func(ctx context.Context) error {
		return s.db.SelectContext(ctx, rows, s.sql(text), args...)
	})
}

// exec runs a prepared statement and returns how many rows it wrote. Of running it again, see
// query.
func (s *Store) exec(ctx context.Context, text string, args ...any) (int, error) {
	var n int64
	err := s.within(ctx, func(ctx context.Context) error {
		stmt, err := s.stmt(ctx, text)
		if err != nil {
			return err
		}
		result, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

// write runs a statement that is a transaction by itself, in one round trip: BEGIN and COMMIT would
// cost two more. It returns the identifiers that the statement returns, none if nothing was to be
// written. The first argument is a text.
//
// If the connection breaks, database/sql may run the statement again, and what the first run did is
// unknown: again is true then, and what the second one found is for unsure.
func (s *Store) write(ctx context.Context, text, first string, args ...any) (ids []string, again bool, err error) {
	var runs atomic.Int32
	var last []string // of the caller only if there is no error: it may have left before
	all := append([]any{counted{first, &runs}}, args...)
	err = s.within(ctx, func(ctx context.Context) error {
		for attempt := 1; ; attempt++ {
			runs.Store(0)
			var found []string
			err := s.db.SelectContext(ctx, &found, s.sql(text), all...)
			if attempt == s.attempts || ctx.Err() != nil || !givenUp(err) {
				last = found
				return err
			}
		}
	})
	if err != nil {
		return nil, runs.Load() > 1, err
	}
	return last, runs.Load() > 1, nil
}

// unsure returns err, or if the statement was run again an error that leaves open what was written:
// somebody who was faster may have been the first run.
func unsure(again bool, err error) error {
	if err == nil || !again {
		return err
	}
	return fmt.Errorf("%w: the connection broke: %s", store.ErrUnavailable, err.Error())
}

// missed returns why a write met no row: gone if there is none with the identifier, otherwise
// changed.
func (s *Store) missed(ctx context.Context, isThere, id string, gone, changed error) error {
	var ids []string
	switch err := s.search(ctx, &ids, isThere, id); {
	case err != nil:
		return err
	case len(ids) == 0:
		return gone
	}
	return changed
}

// counted is a text that counts how often it is sent.
type counted struct {
	text string
	n    *atomic.Int32
}

// Value implements driver.Valuer.
func (c counted) Value() (driver.Value, error) {
	c.n.Add(1)
	return c.text, nil
}

// transaction is one that is open.
type transaction struct {
	*sqlx.Tx
	ctx   context.Context
	store *Store
}

func (t transaction) query(rows any, text string, args ...any) error {
	return t.SelectContext(t.ctx, rows, t.store.sql(text), args...)
}

// exec returns how many rows were written.
func (t transaction) exec(text string, args ...any) (int, error) {
	result, err := t.ExecContext(t.ctx, t.store.sql(text), args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// transact runs op in a transaction, again if the database gave it up in favour of another one, and
// otherwise once: database/sql does not repeat what stands in a transaction, so that op may hold
// what must not happen twice.
func (s *Store) transact(ctx context.Context, op func(transaction) error) error {
	return s.within(ctx, func(ctx context.Context) error {
		for attempt := 1; ; attempt++ {
			err := s.once(ctx, op)
			if attempt == s.attempts || ctx.Err() != nil || !givenUp(err) {
				return err
			}
		}
	})
}

// heedReadOnly undoes the READ WRITE that the driver begins every transaction with, where the
// operator wants no writes.
const heedReadOnly = `SELECT set_config('transaction_read_only',
	current_setting('default_transaction_read_only'), true)`

func (s *Store) once(ctx context.Context, op func(transaction) error) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	//nolint:errcheck // after a commit there is nothing to roll back, and after an error it is the error that matters
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, heedReadOnly); err != nil {
		return err
	}
	if err := op(transaction{tx, ctx, s}); err != nil {
		return err
	}
	return tx.Commit()
}

// ErrDown says that the database did not answer lately and was not asked this time. It wraps
// store.ErrUnavailable.
var ErrDown = fmt.Errorf("pgstore: the database does not answer and was not asked again: %w", store.ErrUnavailable)

// within runs op, unless the database is down. It returns soon after ctx is done, whatever op does:
// the driver ignores a context once the server has fallen silent. What op finds after that is for
// nobody; op ends when its connection does.
func (s *Store) within(ctx context.Context, op func(context.Context) error) error {
	if ctx.Err() != nil {
		return over(ctx)
	}
	if !s.breaker.Allows(time.Now()) {
		return ErrDown
	}
	do := op
	op = func(ctx context.Context) error {
		err := do(ctx)
		if readOnly(err) && s.reconnect(ctx) { // nothing was written
			err = do(ctx)
		}
		return err
	}
	if ctx.Done() == nil {
		err := op(ctx)
		s.heard(err)
		return translate(ctx, err)
	}
	done := make(chan end, 1)
	go func() {
		e := end{err: errors.New("pgstore: the goroutine of a call was ended")}
		defer func() {
			e.panics = recover()
			done <- e
		}()
		e.err = op(ctx)
	}()
	var e end
	select {
	case e = <-done:
	case <-ctx.Done():
		timer := time.NewTimer(linger)
		defer timer.Stop()
		select {
		case e = <-done:
		case <-timer.C:
			go s.watch(ctx, done)
			return over(ctx)
		}
	}
	s.heard(e.err)
	return translate(ctx, e.result())
}

// reconnect closes the idle connections, so that the next call gets a new one, and reports true;
// false if that was less than a second ago: a standby that stays one is not connected to for every
// write.
func (s *Store) reconnect(ctx context.Context) bool {
	now, last := time.Now().UnixNano(), s.reconnected.Load()
	if now-last < int64(breaker.ProbeInterval) || !s.reconnected.CompareAndSwap(last, now) {
		return false
	}
	for range s.db.Stats().Idle {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return false
		}
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // closes it
		_ = conn.Close()
	}
	return true
}

// heard tells the breaker how an operation ended. One that got no connection in time says nothing,
// unless connections are lost to a server that is silent.
func (s *Store) heard(err error) {
	switch {
	case errors.Is(err, context.Canceled): // a caller who went away says nothing about the database
	case unheard(err), waited(err) && s.lost.Load() > 0:
		s.breaker.Failed(time.Now())
	case !waited(err):
		s.breaker.Succeeded()
	}
}

// watch tells the breaker how an operation ends whose caller has left. A server that speaks says
// within the grace that it has cancelled the statement.
func (s *Store) watch(ctx context.Context, done <-chan end) {
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case e := <-done:
		s.heard(e.err)
		return
	case <-late.C:
	}
	s.lost.Add(1)
	defer s.lost.Add(-1)
	if !errors.Is(ctx.Err(), context.Canceled) {
		s.breaker.Failed(time.Now())
	}
	<-done
}

// end is how an operation ended.
type end struct {
	err    error
	panics any
}

func (e end) result() error {
	if e.panics != nil {
		panic(e.panics)
	}
	return e.err
}
