package sqlitefile_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

// hold keeps the writer of f busy until the returned function is called.
func hold(t *testing.T, f *sqlitefile.File) (release func()) {
	t.Helper()
	began, released, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Write(t.Context(), func(sqlitefile.Tx) error {
			close(began)
			<-released
			return nil
		}); err != nil {
			t.Error(err)
		}
	}()
	<-began
	return func() { close(released); <-done }
}

// wait waits until n jobs wait in f.
func wait(t *testing.T, f *sqlitefile.File, n int) {
	t.Helper()
	for f.Waiting() < n {
		time.Sleep(time.Millisecond)
	}
}

func TestItemsWithOneKeyAreDoneTogetherAndFailAlone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		items int
		bad   int // the item that fails; -1: none
		panic bool
		sizes string // how many items each call of do gets
	}{
		{items: 1, bad: -1, sizes: "[1]"},
		{items: 5, bad: -1, sizes: "[5]"},
		{items: 3, bad: 1, sizes: "[3 1 1 1]"},
		{items: 3, bad: 0, panic: true, sizes: "[3 1 1 1]"},
		{items: 1, bad: 0, sizes: "[1]"},
	} {
		t.Run(fmt.Sprintf("%+v", tc), func(t *testing.T) {
			t.Parallel()
			f := open(t)
			boom := errors.New("boom")
			var sizes []int
			do := func(tx sqlitefile.Tx, items []any) error {
				sizes = append(sizes, len(items))
				for _, item := range items {
					if err := insert(item.(int))(tx); err != nil {
						return err
					}
				}
				for _, item := range items { // after everything was written, so that it must be undone
					switch {
					case item.(int) == tc.bad && tc.panic:
						panic(boom)
					case item.(int) == tc.bad:
						return boom
					}
				}
				return nil
			}
			release := hold(t, f)
			var all sync.WaitGroup
			for item := range tc.items {
				all.Go(func() {
					defer func() {
						if got := recover(); (got != nil) != (tc.panic && item == tc.bad) {
							t.Errorf("item %d panicked: %v", item, got)
						}
					}()
					if err := f.WriteTogether(t.Context(), "key", item, do); errors.Is(err,
						boom) != (item == tc.bad) {
						t.Errorf("item %d: %v", item, err)
					}
				})
			}
			wait(t, f, tc.items)
			release()
			all.Wait()
			want := 0
			for v, item := range values(t, f) {
				if want == tc.bad {
					want++
				}
				if item != want {
					t.Errorf("value %d is %d, want %d", v, item, want)
				}
				want++
			}
			if n := len(values(t, f)); n != tc.items && tc.bad < 0 || n != tc.items-1 && tc.bad >= 0 {
				t.Errorf("%d values of %d items", n, tc.items)
			}
			if got := fmt.Sprint(sizes); got != tc.sizes {
				t.Errorf("done %s at a time, want %s", got, tc.sizes)
			}
		})
	}
}

func TestLongJobsTakeTurnsWithShortOnes(t *testing.T) {
	t.Parallel()
	f := open(t)
	var order []string
	job := func(name string, then ...func()) func(sqlitefile.Tx) error {
		return func(sqlitefile.Tx) error {
			order = append(order, name)
			for _, do := range then {
				do()
			}
			return nil
		}
	}
	var all sync.WaitGroup
	waiting := 0
	start := func(write func() error) {
		all.Go(func() {
			if err := write(); err != nil {
				t.Error(err)
			}
		})
		waiting++
		wait(t, f, waiting)
	}
	release := hold(t, f)
	start(func() error {
		return f.WriteLong(t.Context(), job("long 1", func() {
			all.Go(func() {
				if err := f.Write(t.Context(), job("short 3")); err != nil {
					t.Error(err)
				}
			})
			wait(t, f, 2) // it waits beside the second long one, and comes before it
		}))
	})
	start(func() error { return f.Write(t.Context(), job("short 1")) })
	start(func() error { return f.WriteLong(t.Context(), job("long 2")) })
	start(func() error { return f.Write(t.Context(), job("short 2")) })
	release()
	all.Wait()
	if got, want := fmt.Sprint(order), "[short 1 short 2 long 1 short 3 long 2]"; got != want {
		t.Errorf("done %s, want %s", got, want)
	}
	boom := errors.New("boom")
	if err := f.WriteLong(t.Context(),
		func(tx sqlitefile.Tx) error { return errors.Join(insert(1)(tx), boom) }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if err := f.WriteLong(t.Context(), insert(2)); err != nil || fmt.Sprint(values(t, f)) != "[2]" {
		t.Errorf("%v, values %v, want what did not fail", err, values(t, f))
	}
}

// While another process holds the write lock, a caller waits no longer than until its deadline, and
// what it wanted is not done later.
func TestLockedFileHoldsNobodyBeyondItsDeadline(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.db")
	f, other := openAt(t, path), openAt(t, path)
	release := hold(t, other)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	do := func(tx sqlitefile.Tx, items []any) error { return insert(items[0].(int))(tx) }
	writes := []func(v int) error{
		func(v int) error { return f.Write(ctx, insert(v)) },
		func(v int) error { return f.WriteLong(ctx, insert(v)) },
		func(v int) error { return f.WriteTogether(ctx, "key", v, do) },
	}
	began := time.Now()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			err := writes[i%len(writes)](i)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errs.ErrUnavailable) ||
				errors.Is(err, sqlitefile.ErrUnknown) {
				t.Errorf("write %d: the error is %v, want one that is certain and says that the deadline passed", i,
					err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 2*time.Second { // the busy timeout is 5 s
		t.Errorf("a deadline of 100 ms held the callers for %v", took)
	}
	patient := make(chan error)
	go func() { patient <- f.Write(t.Context(), insert(100)) }()
	wait(t, f, 1)
	release()
	if err := <-patient; err != nil {
		t.Errorf("once the lock is free: %v", err)
	}
	if got := fmt.Sprint(values(t, f)); got != "[100]" {
		t.Errorf("the values are %s, want [100]", got)
	}
}
