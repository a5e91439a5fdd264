package hostcall_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/hostcall"
)

func TestDo(t *testing.T) {
	t.Parallel()
	own := errors.New("its own")
	for name, tt := range map[string]struct {
		f    func(context.Context) error
		want error
		took time.Duration
	}{
		"nothing wrong": {func(context.Context) error { return nil }, nil, 0},
		"an error":      {func(context.Context) error { return own }, own, 0},
		"in time":       {func(context.Context) error { time.Sleep(time.Second); return own }, own, time.Second},
		"heeds its context": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, errs.ErrUnavailable,
			2 * time.Second},
		"wraps its deadline": {func(ctx context.Context) error { <-ctx.Done(); return errors.Join(own, ctx.Err()) },
			errs.ErrUnavailable, 2 * time.Second},
		"heeds nothing": {func(context.Context) error { time.Sleep(time.Hour); return nil }, errs.ErrUnavailable,
			2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				if err := hostcall.NewLimiter(1).Do(t.Context(), 2*time.Second, tt.f); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took != tt.took { // the clock of synctest
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				time.Sleep(time.Hour) // nothing is left running
			})
		})
	}
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	var p *hostcall.PanicError
	err := hostcall.NewLimiter(1).Do(t.Context(), time.Minute, func(context.Context) error { panic("boom") })
	if !errors.As(err, &p) || p.Value != "boom" || !strings.Contains(err.Error(), "hostcall_test.go") {
		t.Errorf("got %v", err)
	}
}

// The end of the caller's own context is not unavailability of what was called.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := hostcall.NewLimiter(1).Do(ctx, time.Minute,
			func(context.Context) error { time.Sleep(time.Hour); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errs.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Hour) // nothing is left running
	})
}

// Calls that hang take up places until they end; others wait for one no longer than for an answer.
func TestPlacesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		room, release := hostcall.NewLimiter(3), make(chan struct{})
		var running atomic.Int32
		hang := func(context.Context) error { running.Add(1); <-release; return nil }
		for range 10 {
			if err := room.Do(t.Context(), time.Second, hang); !errors.Is(err, errs.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := running.Load(); n != 3 {
			t.Errorf("%d calls run at once, want 3", n)
		}
		close(release)
		synctest.Wait()
		if err := room.Do(t.Context(), time.Second, func(context.Context) error { return nil }); err != nil {
			t.Errorf("after they ended: %v", err)
		}
	})
}
