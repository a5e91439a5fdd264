package pgstore

import (
	"context"

	"github.com/jmoiron/sqlx"
)

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

// execAll runs statements one after the other, with the same argument.
func (t transaction) execAll(arg any, texts ...string) error {
	for _, text := range texts {
		if _, err := t.exec(text, arg); err != nil {
			return err
		}
	}
	return nil
}

// transact runs op in a transaction, again if the database gave it up in favour of another one, and
// otherwise once: database/sql does not repeat what stands in a transaction, so that op may hold
// what must not happen twice.
func (s *Store) transact(ctx context.Context, op func(transaction) error) error {
	return s.retry(ctx, func(ctx context.Context) error { return s.once(ctx, op) })
}

// retry runs op within the deadline of ctx, again if the database gave its transaction up in favour
// of another one. It needs no backoff: the other transaction has the lock that op lost.
func (s *Store) retry(ctx context.Context, op func(context.Context) error) error {
	return s.within(ctx, func(ctx context.Context) error {
		for attempt := 1; ; attempt++ {
			err := op(ctx)
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
