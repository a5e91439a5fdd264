package sqlitefile_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

// endless is a statement that runs for hours.
const endless = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000000)
	SELECT count(*) FROM n`

// ways are those of reading.
var ways = map[string]func(context.Context, *sqlitefile.File, string) error{
	"a look-up": func(ctx context.Context, f *sqlitefile.File, text string) error {
		var n int64
		_, err := f.Get(ctx, &n, text)
		return err
	},
	"a list": func(ctx context.Context, f *sqlitefile.File, text string) error {
		var n int64
		return sqlitefile.Error(f.Lists().GetContext(ctx, &n, text))
	},
	"a scan": func(ctx context.Context, f *sqlitefile.File, text string) error {
		return f.Scan(ctx, func(tx *sqlx.Tx) error {
			var n int64
			return tx.GetContext(ctx, &n, text)
		})
	},
}

func openReading(t *testing.T) *sqlitefile.File {
	t.Helper()
	f, err := sqlitefile.Open(filepath.Join(t.TempDir(), "f.db"), sqlitefile.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// A statement that runs is interrupted at its deadline, and leaves nothing occupied.
func TestReadsHeedTheirDeadline(t *testing.T) {
	t.Parallel()
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := openReading(t)
			for range 10 { // more than there are connections
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				err := read(ctx, f, endless)
				cancel()
				if !errors.Is(err, errs.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("it ends with %v", err)
				}
			}
			if err := read(t.Context(), f, `SELECT 1`); err != nil {
				t.Error(err)
			}
		})
	}
}

// However many lists run and wait, a row that is looked up waits for none of them, and neither does
// a short list for those that look at many rows.
func TestLookUpsDoNotWaitForLists(t *testing.T) {
	t.Parallel()
	for busy, free := range map[string][]string{"a list": {"a look-up"}, "a scan": {"a look-up", "a list"}} {
		t.Run(busy, func(t *testing.T) {
			t.Parallel()
			f := openReading(t)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			const lists = 20
			for range lists {
				go func() { ended <- ways[busy](ctx, f, endless) }()
			}
			for f.Lists().Stats().InUse == 0 { // until the first of them runs
				select {
				case err := <-ended:
					t.Fatal(err)
				default:
					runtime.Gosched()
				}
			}
			for _, name := range free {
				if err := ways[name](t.Context(), f, `SELECT 1`); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			cancel()
			for range lists {
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("it ends with %v", err)
				}
			}
		})
	}
}
