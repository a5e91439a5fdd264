package sqlitefile_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

// open opens a new file with a table n (v) in it.
func open(t testing.TB) *sqlitefile.File {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "a?b#c%20.db"))
}

func openAt(t testing.TB, path string) *sqlitefile.File {
	t.Helper()
	f, err := sqlitefile.Open(path, sqlitefile.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	tables := fstest.MapFS{"0001_n.sql": {Data: []byte("CREATE TABLE n (v INTEGER NOT NULL UNIQUE) STRICT; " +
		"CREATE TABLE blobs (b BLOB) STRICT;")}}
	if err := f.Migrate(t.Context(), "test", tables); err != nil {
		t.Fatal(err)
	}
	return f
}

func insert(v int) func(sqlitefile.Tx) error {
	return func(tx sqlitefile.Tx) error {
		_, err := tx.Exec("INSERT INTO n (v) VALUES (?)", v)
		return err
	}
}

func values(t *testing.T, f *sqlitefile.File) []int {
	t.Helper()
	var vs []int
	if err := f.Select(context.Background(), &vs, "SELECT v FROM n ORDER BY v"); err != nil {
		t.Fatal(err)
	}
	return vs
}

func TestSettingsAreInForceOnEveryConnection(t *testing.T) {
	t.Parallel()
	f := open(t)
	want := map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "0"}
	for pragma, value := range want {
		var got string
		if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
			_, err := tx.Get(&got, "PRAGMA "+pragma)
			return err
		}); err != nil || got != value {
			t.Errorf("the writer has %s %s, want %s (%v)", pragma, got, value, err)
		}
	}
	want["query_only"], want["busy_timeout"] = "1", "5000"
	for range 8 { // each keeps its connection, so that the next one gets another
		conn, err := f.Reader().Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for pragma, value := range want {
			var got string
			if err := conn.GetContext(t.Context(), &got, "PRAGMA "+pragma); err != nil || got != value {
				t.Errorf("a reader has %s %s, want %s (%v)", pragma, got, value, err)
			}
		}
	}
}

func TestFileIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.db")
	openAt(t, path)
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(name), mode)
		}
	}
}

// One file is what is left: who copies it has everything.
func TestCloseWritesTheLogBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "one.db")
	f := openAt(t, path)
	for v := range 3 {
		if err := f.Write(t.Context(), insert(v)); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(t, f); len(got) != 3 {
		t.Fatal(got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + beside); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", beside, err)
		}
	}
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(elsewhere, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := values(t, openAt(t, elsewhere)); len(got) != 3 {
		t.Errorf("the copy has %v", got)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	f := open(t)
	if err := f.Write(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "it's a ?copy.db")
	stop, writing := make(chan struct{}), sync.WaitGroup{}
	writing.Go(func() { // others go on
		for v := 2; ; v++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := f.Write(t.Context(), insert(v)); err != nil {
				t.Error(err)
			}
		}
	})
	err := f.Backup(t.Context(), path)
	close(stop)
	writing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v, %v", info, err)
	}
	copied := values(t, openAt(t, path))
	if len(copied) == 0 {
		t.Error("the copy is empty")
	}
	for i, v := range copied { // what was there at one moment: no gap
		if v != i+1 {
			t.Fatalf("the copy has %d where %d belongs", v, i+1)
		}
	}
	if err := f.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that is there: %v", err)
	}
	if err := f.Backup(t.Context(), filepath.Join(path, "no folder")); err == nil {
		t.Error("into what is no folder: no error")
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, text, filepath.Join(dir, "missing", "f.db")} {
		if f, err := sqlitefile.Open(path, sqlitefile.Config{}); err == nil {
			t.Errorf("opened %s", path)
			f.Close()
		}
	}
}

func TestTwoOpensOfOneFileShareIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.db")
	files := make([]*sqlitefile.File, 2)
	var opened sync.WaitGroup
	for i := range files {
		opened.Go(func() {
			var err error
			if files[i], err = sqlitefile.Open(path, sqlitefile.Config{}); err != nil {
				t.Error(err)
			}
		})
	}
	opened.Wait()
	if t.Failed() {
		return
	}
	defer files[0].Close()
	defer files[1].Close()
	tables := fstest.MapFS{"0001_n.sql": {Data: []byte("CREATE TABLE n (v INTEGER NOT NULL UNIQUE) STRICT")}}
	var writers sync.WaitGroup
	for i, f := range files {
		writers.Go(func() {
			if err := f.Migrate(t.Context(), "test", tables); err != nil {
				t.Error(err)
				return
			}
			for v := range 100 {
				if err := f.Write(t.Context(), insert(2*v+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	for _, f := range files {
		if n := len(values(t, f)); n != 200 {
			t.Errorf("%d values, want 200", n)
		}
	}
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	f := open(t)
	one := &fstest.MapFile{Data: []byte("CREATE TABLE x (v INTEGER); INSERT INTO x VALUES (1);")}
	two := &fstest.MapFile{Data: []byte("INSERT INTO x VALUES (2);")}
	migrate := func(files fstest.MapFS) error { return f.Migrate(t.Context(), "x", files) }
	rows := func() (n int) {
		if _, err := f.Get(t.Context(), &n, "SELECT count(*) FROM x"); err != nil {
			t.Fatal(err)
		}
		return n
	}
	broken := &fstest.MapFile{Data: []byte("INSERT INTO x VALUES (3); INSERT INTO nowhere VALUES (1);")}
	for _, files := range []fstest.MapFS{{"0001_x.sql": one}, {"0001_x.sql": one},
		{"0001_x.sql": one, "0002_y.sql": two}} {
		if err := migrate(files); err != nil {
			t.Fatal(err)
		}
		if n := rows(); n != len(files) {
			t.Errorf("%d rows after %d steps", n, len(files))
		}
	}
	if err := migrate(fstest.MapFS{"0001_x.sql": one, "0002_y.sql": two, "0003_z.sql": broken}); err == nil ||
		rows() != 2 {
		t.Errorf("a broken step left %d rows and said %v", rows(), err)
	}
	if err := migrate(fstest.MapFS{"0001_x.sql": one}); !errors.Is(err, sqlitefile.ErrNewer) {
		t.Errorf("a newer file: %v", err)
	}
	if err := migrate(fstest.MapFS{"0001_x.sql": one, "0003_z.sql": two}); err == nil {
		t.Error("a gap in the numbers was taken")
	}
}

func TestFailedJobUndoesItselfAlone(t *testing.T) {
	t.Parallel()
	f := open(t)
	boom := errors.New("boom")
	block, release := make(chan struct{}), make(chan struct{})
	var jobs sync.WaitGroup
	jobs.Go(func() { // keeps the others waiting, so that they share a transaction
		if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
			close(block)
			<-release
			return insert(0)(tx)
		}); err != nil {
			t.Error(err)
		}
	})
	<-block
	var begun atomic.Int32
	for v := 1; v <= 30; v++ {
		jobs.Go(func() {
			defer func() {
				if got := recover(); (got != nil) != (v%3 == 2) {
					t.Errorf("job %d panicked: %v", v, got)
				}
			}()
			begun.Add(1)
			err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
				if err := insert(v)(tx); err != nil {
					return err
				}
				switch v % 3 {
				case 1:
					return boom
				case 2:
					panic("boom")
				}
				return nil
			})
			if (v%3 == 1) != errors.Is(err, boom) {
				t.Errorf("job %d: %v", v, err)
			}
		})
	}
	for begun.Load() < 30 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	jobs.Wait()
	if got, want := fmt.Sprint(values(t, f)), "[0 3 6 9 12 15 18 21 24 27 30]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestContextDoneWhileWaitingAndWhileRunning(t *testing.T) {
	t.Parallel()
	f := open(t)
	if err := f.Write(canceled(t), insert(1)); !errors.Is(err, context.Canceled) ||
		errors.Is(err, sqlitefile.ErrUnknown) {
		t.Errorf("before it was queued: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	block, release, left := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		left <- f.Write(ctx, func(tx sqlitefile.Tx) error {
			close(block)
			<-release
			return insert(2)(tx)
		})
	}()
	<-block
	go func() { left <- f.Write(ctx, insert(3)) }()
	for f.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	unknown := 0
	for range 2 { // both leave at once, though the first job still runs
		err := <-left
		if !errors.Is(err, context.Canceled) {
			t.Errorf("left with %v", err)
		}
		if errors.Is(err, sqlitefile.ErrUnknown) {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("%d of one running and one waiting job have an unknown outcome", unknown)
	}
	close(release)
	if err := f.Write(t.Context(), insert(4)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(values(t, f)); got != "[2 4]" {
		t.Errorf("got %s", got)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestFullDiskIsAnErrorAndPasses(t *testing.T) {
	t.Parallel()
	f := open(t)
	bound := func(pages int) {
		if err := f.Write(t.Context(), func(tx sqlitefile.Tx) error {
			_, err := tx.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(ctx context.Context) error {
		return f.Write(ctx, func(tx sqlitefile.Tx) error {
			_, err := tx.Exec("INSERT INTO blobs (b) VALUES (zeroblob(200000))")
			return err
		})
	}
	bound(60)
	var err error
	for range 10 {
		if err = fill(t.Context()); err != nil {
			break
		}
	}
	if !errors.Is(err, errs.ErrFull) || !errors.Is(err, errs.ErrUnavailable) || errors.Is(err, sqlitefile.ErrUnknown) {
		t.Fatalf("on a full disk: %v", err)
	}
	since := f.FailingSince()
	if err := fill(t.Context()); !errors.Is(err, errs.ErrFull) || since.IsZero() || !f.FailingSince().Equal(since) {
		t.Errorf("%v: writing fails since %v, and then since %v", err, since, f.FailingSince())
	}
	if err := f.Write(t.Context(), insert(1)); err != nil || !f.FailingSince().IsZero() {
		t.Errorf("something small has room: %v, and writing fails since %v", err, f.FailingSince())
	}
	bound(10_000)
	if err := fill(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := f.Write(t.Context(), insert(2)); err != nil || len(values(t, f)) != 2 {
		t.Errorf("with room again: %v", err)
	}
}

func TestLostTransactionFailsItsGroup(t *testing.T) {
	t.Parallel()
	f := open(t)
	lose := func(tx sqlitefile.Tx) error { // as SQLite does by itself after some failures
		if err := insert(1)(tx); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT OR ROLLBACK INTO n (v) VALUES (1)")
		return err
	}
	if err := f.Write(t.Context(), lose); err == nil || errors.Is(err, sqlitefile.ErrUnknown) {
		t.Errorf("got %v, want an error that is certain", err)
	}
	began, release := make(chan struct{}), make(chan struct{})
	results := make(chan error)
	go func() {
		results <- f.Write(t.Context(), func(tx sqlitefile.Tx) error {
			close(began)
			<-release
			return insert(2)(tx)
		})
	}()
	<-began
	go func() { results <- f.Write(t.Context(), lose) }()
	for f.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	for range 2 {
		if err := <-results; err == nil || errors.Is(err, sqlitefile.ErrUnknown) {
			t.Errorf("got %v, want an error that is certain", err)
		}
	}
	if err := f.Write(t.Context(), insert(3)); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(values(t, f)); got != "[3]" {
		t.Errorf("got %s", got)
	}
}

func TestAnotherWriterMakesItWaitAndThenFail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.db")
	openAt(t, path)
	hasty, err := sqlitefile.Open(path, sqlitefile.Config{BusyTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer hasty.Close()
	other := openAt(t, path)
	if err := other.Write(t.Context(), func(sqlitefile.Tx) error {
		if err := hasty.Write(context.Background(), insert(1)); !errors.Is(err, errs.ErrUnavailable) ||
			errors.Is(err, sqlitefile.ErrUnknown) {
			t.Errorf("while another one writes: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := hasty.Write(t.Context(), insert(2)); err != nil {
		t.Error(err)
	}
}

func TestCloseFinishesWhatItTookAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.db")
	f := openAt(t, path)
	var wrote atomic.Int64
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for v := i; ; v += 8 {
				switch err := f.Write(context.Background(), insert(v)); {
				case err == nil:
					wrote.Add(1)
				case errors.Is(err, sqlitefile.ErrClosed):
					return
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	for wrote.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	writers.Wait()
	if err := f.Select(context.Background(), new([]int), "SELECT v FROM n"); err == nil {
		t.Error("read from a closed file")
	}
	if n := int64(len(values(t, openAt(t, path)))); n != wrote.Load() {
		t.Errorf("%d values, %d were acknowledged", n, wrote.Load())
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			f := open(b)
			var next atomic.Int64
			var done sync.WaitGroup
			b.ResetTimer()
			for range writers {
				done.Go(func() {
					for v := next.Add(1); v <= int64(b.N); v = next.Add(1) {
						if err := f.Write(context.Background(), insert(int(v))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
