package sqlitefile

import (
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	code "modernc.org/sqlite/lib"

	"github.com/khodnevis/khodnevis/internal/outage"
)

var (
	// ErrUnknown says that nobody can know whether a Write was done: its commit failed or was not waited for. Any other error of
	// a Write means that nothing of it was, nor ever will be.
	ErrUnknown = errors.New("sqlitefile: outcome unknown")
	// ErrClosed says that the File is closed.
	ErrClosed = errors.New("sqlitefile: closed")
)

// Unstorable reports whether err says that the database will never take what it was given: a broken constraint, a value too
// great or of the wrong type.
func Unstorable(err error) bool {
	switch primary(err) {
	case code.SQLITE_CONSTRAINT, code.SQLITE_TOOBIG, code.SQLITE_MISMATCH:
		return true
	}
	return false
}

// translate marks the errors after which trying again later may succeed.
func translate(err error) error {
	switch primary(err) {
	case code.SQLITE_BUSY, code.SQLITE_LOCKED, code.SQLITE_FULL, code.SQLITE_IOERR, code.SQLITE_CANTOPEN, code.SQLITE_NOMEM,
		code.SQLITE_READONLY, code.SQLITE_PROTOCOL:
		return fmt.Errorf("%w: %w", outage.Err, err)
	}
	if errors.Is(err, sql.ErrConnDone) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

func busy(err error) bool { return primary(err) == code.SQLITE_BUSY }

// primary returns the result code of SQLite without its extension, or 0.
func primary(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return code.SQLITE_OK
	}
	return e.Code() & 0xff
}
