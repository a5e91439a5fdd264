package semaphore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/semaphore"
)

func TestAcquire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := semaphore.New(1)
		if err := s.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := s.Acquire(ctx); !errors.Is(err, errs.ErrUnavailable) || time.Since(began) != time.Second {
			t.Errorf("after %v of 2s: %v", time.Since(began), err)
		}
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if err := s.Acquire(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("of one who left: %v", err)
		}
		time.AfterFunc(time.Minute, s.Release)
		if err := s.Acquire(t.Context()); err != nil {
			t.Errorf("without a deadline: %v", err)
		}
		s.Release()
		if err := s.Acquire(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("of one who left before there was a place: %v", err)
		}
	})
}
