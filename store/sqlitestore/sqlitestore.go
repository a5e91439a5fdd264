// Package sqlitestore is a store in one SQLite file, the embedded default. Package sqlitequeue can
// share the file.
//
// # Durability
//
// What a method has written when it returns nil survives the death of the process and, on a disk
// that does what it says, a power cut. Writers that come at the same time share one write to the
// disk.
//
// # Errors
//
// A file that is locked for too long or a disk that is full is store.ErrUnavailable. A write whose
// context ends while it runs may still be done.
//
// # Limits
//
// There is one writer at a time: deleting a content with a million ratings makes the others wait
// for seconds.
package sqlitestore

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

var (
	_ store.Store     = (*Store)(nil)
	_ store.Rebuilder = (*Store)(nil)
	_ store.Pinger    = (*Store)(nil)
)

// Store keeps contents, ratings and accounts in one file.
type Store struct{ file File }

// File is an open SQLite file with the tables of a Store, and of a queue that shares it. It may be
// used concurrently; statements are SQLite's. Open makes one; no other package has to implement it.
type File interface {
	// Migrate runs those of the files <number>_<name>.sql in steps that component has not run yet.
	Migrate(ctx context.Context, component string, steps fs.FS) error
	// Reader returns connections for reading rows by key.
	Reader() *sqlx.DB
	// Lists returns connections for statements that return many rows.
	Lists() *sqlx.DB
	// Scan runs op in a read transaction for statements that look at many rows. A bounded number
	// of scans run at once.
	Scan(ctx context.Context, op func(*sqlx.Tx) error) error
	// Get scans the first row into dest and reports whether there is one. Get and Select keep each
	// statement prepared.
	Get(ctx context.Context, dest any, query string, args ...any) (bool, error)
	// Select scans all rows into the slice that dest points to.
	Select(ctx context.Context, dest any, query string, args ...any) error
	// Write runs job in a transaction, which short jobs share, and returns once that is committed.
	// An error undoes what the job did. A job may run on after ctx is done and Write has returned,
	// so it must not use memory that the caller goes on to use.
	Write(ctx context.Context, job func(Tx) error) error
	// WriteLong is Write for a job that takes milliseconds, in a transaction of its own.
	WriteLong(ctx context.Context, job func(Tx) error) error
	// WriteTogether is Write for one item. Items that wait with the same key are done by one call
	// of do; if that fails, each is done by itself.
	WriteTogether(ctx context.Context, key, item any, do func(tx Tx, items []any) error) error
	// Backup copies everything, as of one moment, to a new file.
	Backup(ctx context.Context, path string) error
	// Close waits for the jobs that were taken, and closes the file.
	Close() error
}

// Tx is the transaction of a job, which uses nothing else and does not keep it. It is an alias, so
// that other packages can declare the same interface.
type Tx = interface {
	// Exec runs a statement and returns how many rows it wrote.
	Exec(query string, args ...any) (int64, error)
	// Get scans the first row into dest and reports whether there is one.
	Get(dest any, query string, args ...any) (bool, error)
	// Select scans all rows into the slice that dest points to.
	Select(dest any, query string, args ...any) error
}

// Open opens the file at path, creates it if it is not there, and brings its tables up to date. Its
// directory must be there. A file of a newer version of this package is refused. The file may be
// open several times, in several processes of one machine.
func Open(path string) (*Store, error) {
	file, err := sqlitefile.Open(path, sqlitefile.Config{})
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	s, err := New(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlitestore: open %s: %w", path, err), file.Close())
	}
	return s, nil
}

// New is Open for a file that is open. The Store's Close closes it.
func New(file File) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = file.Migrate(context.Background(), "store", files)
	}
	if err != nil {
		return nil, err
	}
	return &Store{file: file}, nil
}

// File returns the file for a queue to share. It is closed by Close.
func (s *Store) File() File { return s.file }

// Backup writes a copy of everything, the queue in the file included, as of one moment, to a new
// file, readable by its owner only. Others may go on to read and write, also from other processes.
// It is an error if there is something at path.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.file.Backup(ctx, path); err != nil {
		return fmt.Errorf("sqlitestore: %w", err)
	}
	return nil
}

// Close waits for writes under way and closes the file.
func (s *Store) Close() error { return s.file.Close() }

// Ping implements store.Pinger.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	_, err := s.file.Get(ctx, &n, `SELECT count(*) FROM ticks`)
	return wrap(err, "ping")
}

// wrap returns err with what failed before it, or nil.
func wrap(err error, what string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlitestore: "+what+": %w", append(args, err)...)
}

// now is the store's clock.
func now() int64 { return time.Now().UnixMicro() }

// array returns values, or rows of them, as the JSON array that statements with json_each take, so
// that their text is the same for any number. Values are strings and integers.
func array[T any](values []T) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err) // none of these can fail
	}
	return string(text)
}
