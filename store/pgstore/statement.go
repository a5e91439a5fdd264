package pgstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

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
	if known := s.prepared.byText[text]; known != nil { // another caller was faster
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

// search is query for a text that is built for one call, or for which preparing it is not worth the
// second round trip: with the connections of Open it takes one. It is planned for the
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
// If the connection breaks, database/sql may run the statement again. What the first run did is
// unknown: again is true then, and unsure qualifies what the second run found.
func (s *Store) write(ctx context.Context, text, first string, args ...any) (ids []string, again bool, err error) {
	var runs atomic.Int32
	var last []string // of the caller only if there is no error: it may have left before
	all := append([]any{counted{first, &runs}}, args...)
	err = s.retry(ctx, func(ctx context.Context) error {
		runs.Store(0)
		last = nil
		return s.db.SelectContext(ctx, &last, s.sql(text), all...)
	})
	if err != nil {
		return nil, runs.Load() > 1, err
	}
	return last, runs.Load() > 1, nil
}

// unsure returns err, or, if the statement was run again, an error that leaves open whether it was
// written: a conflict may be with the first run.
func unsure(again bool, err error) error {
	if err == nil || !again {
		return err
	}
	return fmt.Errorf("%w: the connection broke: %s", store.ErrUnavailable, err.Error())
}

// missed returns why a write matched no row: gone if there is no row with the identifier, otherwise
// changed (optimistic concurrency control: the row has another version).
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
