package sqlitefile

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"
)

// Tx is the transaction that a job works in. It is an alias, so that the File of package
// sqlitestore and that of package sqlitequeue are the same interface.
type Tx = interface {
	// Exec runs a statement and returns how many rows it wrote.
	Exec(query string, args ...any) (int64, error)
	// Get scans the first row into dest and reports whether there is one.
	Get(dest any, query string, args ...any) (bool, error)
	// Select scans all rows into the slice that dest points to.
	Select(dest any, query string, args ...any) error
}

// transaction implements Tx. Its statements are prepared once and kept by their text, so the texts
// must be few: lists of values are bound as one JSON array. Statements take no context: SQLite
// rolls back the transaction, with the jobs of others in it, when a statement that writes is
// interrupted.
type transaction struct{ f *File }

func (tx *transaction) Exec(query string, args ...any) (int64, error) {
	stmt, err := tx.prepare(query)
	if err != nil {
		return 0, err
	}
	// a group is committed whatever becomes of those who wait
	result, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, translate(err)
	}
	return result.RowsAffected()
}

func (tx *transaction) Get(dest any, query string, args ...any) (bool, error) {
	stmt, err := tx.prepare(query)
	if err != nil {
		return false, err
	}
	return found(stmt.Get(dest, args...))
}

func (tx *transaction) Select(dest any, query string, args ...any) error {
	stmt, err := tx.prepare(query)
	if err != nil {
		return err
	}
	return translate(stmt.Select(dest, args...))
}

func (tx *transaction) prepare(query string) (*sqlx.Stmt, error) {
	if stmt := tx.f.writes[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := tx.f.conn.PreparexContext(context.Background(), query)
	if err != nil {
		return nil, translate(err)
	}
	tx.f.writes[query] = stmt
	return stmt, nil
}

// Get scans the first row into dest and reports whether there is one. Like those of a Tx, the
// statements of Get and Select are prepared once and kept by their text.
func (f *File) Get(ctx context.Context, dest any, query string, args ...any) (bool, error) {
	stmt, err := f.prepare(ctx, query)
	if err != nil {
		return false, err
	}
	return found(stmt.GetContext(ctx, dest, args...))
}

// Select scans all rows into the slice that dest points to.
func (f *File) Select(ctx context.Context, dest any, query string, args ...any) error {
	stmt, err := f.prepare(ctx, query)
	if err != nil {
		return err
	}
	return translate(stmt.SelectContext(ctx, dest, args...))
}

// Reader returns the connections that read, for statements of too many texts to be kept. Translate
// its errors with Error.
func (f *File) Reader() *sqlx.DB { return f.readers }

// Lists returns the connections that read lists, for statements that cost what they return.
// Translate its errors with Error.
func (f *File) Lists() *sqlx.DB { return f.lists }

// Scan runs op in a transaction that sees the file as of one moment, on a connection of Lists, for
// statements that look at many rows. As many scans run at once as half of the processors, at least
// one; the others wait for their turn for half of the time that ctx leaves.
func (f *File) Scan(ctx context.Context, op func(*sqlx.Tx) error) error {
	if err := f.scans.Acquire(ctx); err != nil {
		return translate(err)
	}
	defer f.scans.Release()
	tx, err := f.lists.BeginTxx(ctx, nil)
	if err != nil {
		return translate(err)
	}
	defer tx.Rollback() //nolint:errcheck // there is nothing to roll back
	return translate(op(tx))
}

// Error marks an error of a Reader after which trying again later may succeed, as File's methods do
// by themselves.
func Error(err error) error { return translate(err) }

func (f *File) prepare(ctx context.Context, query string) (*sqlx.Stmt, error) {
	f.readsMu.Lock()
	stmt := f.reads[query]
	f.readsMu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := f.readers.PreparexContext(ctx, query)
	if err != nil {
		return nil, translate(err)
	}
	f.readsMu.Lock()
	defer f.readsMu.Unlock()
	if other := f.reads[query]; other != nil { // somebody else was quicker
		return other, stmt.Close()
	}
	f.reads[query] = stmt
	return stmt, nil
}

func found(err error) (bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, translate(err)
}
