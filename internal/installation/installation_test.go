package installation_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/khodnevis/khodnevis/internal/installation"
)

// However many ask, and however often, the database is asked once.
func TestReadOnce(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	i := installation.New(func(context.Context) (string, error) { reads.Add(1); return "a1", nil })
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 10 {
				if id, err := i.Of(t.Context()); id != "a1" || err != nil {
					t.Errorf("got %q, %v", id, err)
				}
			}
		})
	}
	all.Wait()
	if reads.Load() != 1 {
		t.Errorf("%d reads", reads.Load())
	}
}

// A database that is silent holds up nobody for longer than he likes, and its answer counts
// whenever it comes.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	i := installation.New(func(context.Context) (string, error) { <-answer; return "a1", nil })
	if _, err := i.Soon(t.Context()); !errors.Is(err, installation.ErrUnknown) {
		t.Errorf("soon: %v", err)
	}
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.Of(hurried); !errors.Is(err, installation.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("in a hurry: %v", err)
	}
	close(answer)
	if id, err := i.Of(t.Context()); id != "a1" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}

// A read that failed is not begun again at once, and callers have its error meanwhile.
func TestFailedRead(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	away := errors.New("away")
	i := installation.New(func(context.Context) (string, error) { reads.Add(1); return "", away })
	for range 100 {
		if _, err := i.Of(t.Context()); !errors.Is(err, away) {
			t.Errorf("got %v", err)
		}
	}
	if n := reads.Load(); n > 2 { // a second may pass
		t.Errorf("%d reads", n)
	}
}
