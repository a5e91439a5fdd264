// Package sqlitefile opens one SQLite file for everything that the embedded default keeps: a store
// and a queue.
//
// # Durability
//
// The file is in WAL mode with synchronous=FULL: a Write that returned nil survives the death of
// the process and, on a disk that does what it says, a power cut.
//
// # Writing
//
// SQLite has one writer at a time. Write therefore commits in groups: jobs that come while a
// transaction is being written to the disk wait together and share the next one, so that many
// writers cost little more than one. Jobs that take long are to be given to WriteLong instead,
// those that can be done many at once to WriteTogether.
//
// # Concurrency
//
// A File may be used concurrently, and a file may be open several times, in several processes of
// one machine.
//
// # Reading
//
// SQLite computes in this process. So what may take long has connections of its own, and half of
// the processors at the most: rows that are looked up by key never wait for a list. A statement
// that runs is interrupted when its context is done.
package sqlitefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver

	"github.com/khodnevis/khodnevis/internal/failing"
	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/internal/semaphore"
)

// readers is how many connections read rows by key at the same time. lists is the default of
// Config.Lists.
const (
	readers = 8
	lists   = 4
)

// Bytes of pages that a connection keeps in memory.
const (
	writerPages = 64 << 20
	readerPages = 2 << 20
)

// MaxPages is about how many bytes of pages a File with the default Config keeps. They are not in
// the memory that Go limits.
const MaxPages = writerPages + (readers+lists)*readerPages

// Config of a File. The zero value is usable.
type Config struct {
	// Lists is how many connections read lists at the same time, beside the readers. Default 4.
	Lists int
	// BusyTimeout is how long a job of Write waits while another process holds the write lock,
	// unless its context is done before. Default 5 s.
	BusyTimeout time.Duration
	// Driver is the name of the driver in database/sql. Default "sqlite"; a test may have
	// registered one around it.
	Driver string
}

// File is an open SQLite file. The caller of Open closes it.
type File struct {
	path     string
	cfg      Config
	readers  *sqlx.DB
	lists    *sqlx.DB
	scans    semaphore.Semaphore
	writer   *sqlx.DB
	conn     *sqlx.Conn            // the one connection that writes; only the goroutine of drain touches it
	writes   map[string]*sqlx.Stmt // prepared on conn, by text; likewise
	readsMu  sync.Mutex
	reads    map[string]*sqlx.Stmt // prepared on readers, by text
	mu       sync.Mutex            // guards what follows
	waiting  []*waiter             // for short jobs, oldest first
	long     []*waiter             // for long ones, likewise
	draining bool
	closed   bool
	drains   sync.WaitGroup
	failing  failing.Since // of writing
}

// Open opens the file at path and creates it, readable by its owner only, if it is not there. Its
// directory must be there. A path is a path, whatever it looks like: file:a.db is a file of that
// name. The one name that is refused is :memory:, because it names no file anywhere else. A
// symbolic link is followed to a file that is there. An Open that fails leaves no new file.
func Open(path string, cfg Config) (*File, error) {
	cfg.Lists = cmp.Or(cfg.Lists, lists)
	cfg.BusyTimeout = cmp.Or(cfg.BusyTimeout, 5*time.Second)
	cfg.Driver = cmp.Or(cfg.Driver, "sqlite")
	made, err := create(path)
	if err != nil {
		return nil, fmt.Errorf("sqlitefile: create %s: %w", path, err)
	}
	f := &File{path: path, cfg: cfg, scans: semaphore.New(runtime.GOMAXPROCS(0) / 2),
		writes: map[string]*sqlx.Stmt{}, reads: map[string]*sqlx.Stmt{}}
	if cause := f.open(path, cfg); cause != nil {
		err := errors.Join(fmt.Errorf("sqlitefile: open %s: %w", path, translate(cause)), f.closePools())
		if made && !busy(cause) {
			err = errors.Join(err, removeEmpty(path))
		}
		return nil, err
	}
	return f, nil
}

// create makes an empty file that its owner alone may read, unless there is a file; SQLite gives
// its other files the same permissions. A file that is there must not even be opened: closing it
// again would drop the locks that this process holds on it.
func create(path string) (made bool, err error) {
	if path == ":memory:" {
		return false, errors.New("what is in memory ends with the process: give a file")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		_, err = os.Stat(path) // SQLite would make the target of a dangling link, for everybody to read
		return false, err
	}
	if err != nil {
		return false, err
	}
	return true, file.Close()
}

// removeEmpty removes a file that nothing was written to. One that has something may be in use by
// another process already.
func removeEmpty(path string) error {
	if info, err := os.Stat(path); err != nil || info.Size() > 0 {
		return err
	}
	return os.Remove(path)
}

func (f *File) open(path string, cfg Config) error {
	var err error
	// What a savepoint may have to undo stays in memory. The log is written back every 16 MiB: large
	// batches would otherwise pay for that each time, and with more of it a publisher would wait for
	// long.
	if f.writer, err = sqlx.Open(cfg.Driver, dsn(path, cfg, "journal_mode(WAL)", "temp_store(MEMORY)",
		cacheSize(writerPages), "journal_size_limit(67108864)", "wal_autocheckpoint(4096)")); err != nil {
		return err
	}
	f.writer.SetMaxOpenConns(1)
	if f.conn, err = connect(f.writer, cfg.BusyTimeout); err != nil {
		return err
	}
	if err := f.verify(); err != nil {
		return err
	}
	// From here on nothing waits inside SQLite for another process: each job has a deadline of its
	// own.
	if _, err := f.conn.ExecContext(context.Background(), "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	if f.readers, err = f.pool(readers); err != nil {
		return err
	}
	if f.lists, err = f.pool(cfg.Lists); err != nil {
		return err
	}
	return f.readers.PingContext(context.Background())
}

// pool returns connections that read.
func (f *File) pool(conns int) (*sqlx.DB, error) {
	db, err := sqlx.Open(f.cfg.Driver, dsn(f.path, f.cfg, "query_only(1)", cacheSize(readerPages)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// connect takes the connection of the writer. Of two processes that turn a new file to WAL mode at
// once, one fails with SQLITE_BUSY without waiting.
func connect(db *sqlx.DB, timeout time.Duration) (*sqlx.Conn, error) {
	for deadline := time.Now().Add(timeout); ; time.Sleep(10 * time.Millisecond) {
		conn, err := db.Connx(context.Background())
		if err == nil || !busy(err) || time.Now().After(deadline) {
			return conn, err
		}
	}
}

// cacheSize is the pragma of a connection that keeps pages of as many bytes.
func cacheSize(bytes int) string { return fmt.Sprintf("cache_size(-%d)", bytes>>10) }

func dsn(path string, cfg Config, pragmas ...string) string {
	settings := url.Values{"_dqs": {"0"}, "_busy_timeout": {strconv.FormatInt(cfg.BusyTimeout.Milliseconds(), 10)}}
	settings["_pragma"] = append([]string{"synchronous(" + synchronous() + ")", "foreign_keys(1)"}, pragmas...)
	return uri(path) + "?" + settings.Encode()
}

// uri returns the URI under which SQLite finds the file at path. A path alone is taken for a URI if
// it looks like one.
func uri(path string) string {
	path = filepath.ToSlash(path)
	if filepath.IsAbs(path) {
		path = "///" + strings.TrimLeft(path, "/") // after two slashes alone, a host would follow
	} else {
		path = "./" + path
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath()
}

func synchronous() string {
	if planted.SkipSync {
		return "NORMAL"
	}
	return "FULL"
}

// verify refuses a file whose settings are not in force, such as one in memory or on a file system
// without shared memory.
func (f *File) verify() error {
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		if planted.SkipSync && pragma == "synchronous" {
			continue
		}
		var got string
		if err := f.conn.GetContext(context.Background(), &got, "PRAGMA "+pragma); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s is %s, must be %s", pragma, got, want)
		}
	}
	return nil
}

// FailingSince returns when the first transaction failed after the last one that was committed, for
// a reason that is not in its jobs: a full disk, a lock of another process. It is the zero time if
// there is none.
func (f *File) FailingSince() time.Time { return f.failing.Time() }

// Close waits for the jobs that Write has taken and closes the file. Closing twice is fine.
func (f *File) Close() error {
	f.mu.Lock()
	again := f.closed
	f.closed = true
	f.mu.Unlock()
	f.drains.Wait()
	if again {
		return nil
	}
	return f.closePools()
}

func (f *File) closePools() error {
	var errs []error
	// SQLite does not let go of a connection that has statements, and then leaves all of the log
	// beside the file.
	f.readsMu.Lock()
	defer f.readsMu.Unlock()
	for _, prepared := range []map[string]*sqlx.Stmt{f.reads, f.writes} {
		for _, stmt := range prepared {
			errs = append(errs, stmt.Close())
		}
	}
	// first, so that the last connection is one that may write the log back into the file
	for _, db := range []*sqlx.DB{f.readers, f.lists} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	if f.writer != nil {
		errs = append(errs, f.writer.Close())
	}
	return errors.Join(errs...)
}
