package pgstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/khodnevis/khodnevis/store"
)

// wrap returns err with what failed before it, or nil.
func wrap(err error, what string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pgstore: "+what+": %w", append(args, err)...)
}

// over returns the error of a call that ctx has ended. A deadline that passed counts as an
// unavailable database; a cancellation does not.
func over(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
}

// translate wraps the sentinels of the ports around errors of the driver. Other errors it returns
// unchanged.
func translate(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case isUnstorable(err):
		return fmt.Errorf("%w: %w", store.ErrUnstorable, err)
	case !isUnavailable(err):
		return err
	case ctx.Err() != nil && pq.As(err) == nil:
		return over(ctx) // the driver's error is only how it noticed
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", over(ctx), err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// waited reports whether an error of the driver only says that no connection of the pool was free
// in time.
func waited(err error) bool {
	var network *net.OpError
	return errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &network)
}

// unheard reports whether an error of the driver says that the database does not answer.
func unheard(err error) bool {
	return err != nil && pq.As(err) == nil && isUnavailable(err) && !waited(err) && !errors.Is(err, context.Canceled)
}

// isUnavailable reports whether trying again later may succeed.
func isUnavailable(err error) bool {
	if e := pq.As(err); e != nil {
		switch e.Code.Class() {
		case pqerror.ClassConnectionException, pqerror.ClassInsufficientResources, pqerror.ClassSystemError:
			return true
		}
		switch e.Code {
		case pqerror.QueryCanceled, // by statement_timeout, or because the context is done
			pqerror.AdminShutdown, pqerror.CrashShutdown, pqerror.CannotConnectNow, pqerror.DatabaseDropped,
			pqerror.IdleSessionTimeout,
			pqerror.LockNotAvailable, pqerror.IdleInTransactionSessionTimeout, pqerror.TRDeadlockDetected,
			pqerror.TRSerializationFailure,
			pqerror.ReadOnlySQLTransaction, pqerror.FeatureNotSupported, // see readOnly
			pqerror.UndefinedTable, pqerror.UndefinedColumn, pqerror.InvalidSchemaName: // until somebody has migrated
			return true
		}
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// readOnly reports whether the database takes no writes: a standby,
// default_transaction_read_only=on, or (0A000) what a standby cannot do and what a connection
// cannot do any more since the tables have changed. It may be this one connection that is so: to a
// server that is no longer the primary, or with a setting that has been changed since.
func readOnly(err error) bool {
	return pq.As(err, pqerror.ReadOnlySQLTransaction, pqerror.FeatureNotSupported) != nil
}

// givenUp reports whether the database rolled a transaction back in favour of another one.
func givenUp(err error) bool {
	return pq.As(err, pqerror.TRDeadlockDetected, pqerror.TRSerializationFailure) != nil
}

// taken reports whether a row with the same key exists.
func taken(err error) bool { return pq.As(err, pqerror.UniqueViolation) != nil }

// orphan reports whether the row that a row refers to does not exist.
func orphan(err error) bool { return pq.As(err, pqerror.ForeignKeyViolation) != nil }

// isUnstorable reports whether the database will never take the values, however often it is tried.
// Taken keys and missing rows do not count: they depend on what other callers do.
func isUnstorable(err error) bool {
	e := pq.As(err, pqerror.NotNullViolation, pqerror.CheckViolation, pqerror.ProgramLimitExceeded,
		pqerror.CardinalityViolation)
	if e == nil {
		e = pq.As(err)
		return e != nil && e.Code.Class() == pqerror.ClassDataException
	}
	return true
}
