package pgstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/breaker"
	"github.com/khodnevis/khodnevis/store"
)

// ErrDown says that the circuit breaker is open: the database did not answer lately, and was not
// asked this time. It wraps store.ErrUnavailable.
var ErrDown = fmt.Errorf("pgstore: the database does not answer and was not asked again: %w", store.ErrUnavailable)

// within runs op, unless the circuit breaker is open. It returns soon after ctx is done, whatever
// op does: the driver ignores a context once the server has fallen silent. The result of op is
// dropped then; op ends when its connection does.
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

// heard reports to the breaker how an operation ended. An operation that got no connection in time
// counts for nothing, unless other connections are lost to a silent server.
func (s *Store) heard(err error) {
	switch {
	case errors.Is(err, context.Canceled): // a cancellation says nothing about the database
	case unheard(err), waited(err) && s.lost.Load() > 0:
		s.breaker.Failed(time.Now())
	case !waited(err):
		s.breaker.Succeeded()
	}
}

// watch reports to the breaker how an operation ends whose caller has returned. A server that works
// reports within the grace that it has cancelled the statement.
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
