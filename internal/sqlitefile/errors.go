package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	code "modernc.org/sqlite/lib"

	"github.com/khodnevis/khodnevis/internal/errs"
)

var (
	// ErrUnknown says that nobody can know whether a Write was done: its commit failed or was not
	// waited for. Any other error of a Write means that nothing of it was, nor ever will be.
	ErrUnknown = errors.New("sqlitefile: outcome unknown")
	// ErrClosed says that the File is closed.
	ErrClosed = errors.New("sqlitefile: closed")
)

// isUnstorable reports whether the database will never take the values: one is too great, of the
// wrong type, or breaks a constraint. Keys that are taken and rows that are missing are not among
// them: they depend on what others do.
func isUnstorable(err error) bool {
	switch result(err) {
	case code.SQLITE_CONSTRAINT_CHECK, code.SQLITE_CONSTRAINT_NOTNULL, code.SQLITE_CONSTRAINT_DATATYPE:
		return true
	}
	switch primary(err) {
	case code.SQLITE_TOOBIG, code.SQLITE_MISMATCH:
		return true
	}
	return false
}

// translate marks the errors after which trying again later may succeed, and those after which it
// never will.
func translate(err error) error {
	switch primary(err) {
	case code.SQLITE_FULL:
		return fmt.Errorf("%w: %w", errs.ErrFull, err)
	case code.SQLITE_BUSY, code.SQLITE_LOCKED, code.SQLITE_IOERR, code.SQLITE_CANTOPEN, code.SQLITE_NOMEM,
		code.SQLITE_READONLY, code.SQLITE_PROTOCOL:
		return fmt.Errorf("%w: %w", errs.ErrUnavailable, err)
	}
	if isUnstorable(err) {
		return fmt.Errorf("%w: %w", errs.ErrUnstorable, err)
	}
	// the file was not available in time
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errs.ErrUnavailable) {
		return fmt.Errorf("%w: %w", errs.ErrUnavailable, err)
	}
	if errors.Is(err, sql.ErrConnDone) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// over returns the error of ctx, which is done. To a caller, a deadline that passed means that the
// file was not available in time.
func over(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", errs.ErrUnavailable, ctx.Err())
}

func busy(err error) bool { return primary(err) == code.SQLITE_BUSY }

// primary returns the result code of SQLite without its extension, or 0.
func primary(err error) int { return result(err) & 0xff }

// result returns the result code of SQLite with its extension, or 0.
func result(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return code.SQLITE_OK
	}
	return e.Code()
}
