package backoff_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
)

func TestPausesDouble(t *testing.T) {
	t.Parallel()
	b := backoff.Backoff{First: 10, Max: 35}
	next := func() []time.Duration { return []time.Duration{b.Next(), b.Next(), b.Next(), b.Next()} }
	want := []time.Duration{10, 20, 35, 35}
	if got := next(); !slices.Equal(got, want) {
		t.Errorf("the pauses are %v, want %v", got, want)
	}
	b.Reset()
	if got := next(); !slices.Equal(got, want) {
		t.Errorf("after Reset the pauses are %v, want %v", got, want)
	}
}

func TestJitterStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	drawn := map[time.Duration]bool{}
	for range 1000 {
		b := backoff.Backoff{First: 100, Max: 100, Jitter: true}
		pause := b.Next()
		if pause < 50 || pause >= 150 {
			t.Fatalf("a pause of %d, want 50 to 149", pause)
		}
		drawn[pause] = true
	}
	if len(drawn) < 50 {
		t.Errorf("1000 pauses have %d lengths", len(drawn))
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := backoff.Backoff{First: time.Hour, Max: time.Hour}
		began := time.Now()
		if err := b.Wait(t.Context()); err != nil || time.Since(began) != time.Hour {
			t.Errorf("Wait returns %v after %v, want nil after an hour", err, time.Since(began))
		}
		cause := errors.New("the host stops")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := b.Wait(ctx); !errors.Is(err, cause) {
			t.Errorf("Wait returns %v, want the cause", err)
		}
	})
}
