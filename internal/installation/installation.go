// Package installation remembers which installation this process belongs to: the identity that its
// database was made with.
package installation

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	readTimeout = 5 * time.Second        // of one read of the identity
	soon        = 250 * time.Millisecond // how long Soon waits for a read, counted from its beginning
	pause       = time.Second            // between a read that failed and the next one
)

// ErrUnknown says that the database has not returned the identity yet.
var ErrUnknown = errors.New("the database has not returned the identity of the installation yet")

// Identity reads the identity of a database once and remembers it. It may be used concurrently.
type Identity struct {
	read func(context.Context) (string, error)

	mu      sync.Mutex
	id      string        // "" while it is unknown
	reading chan struct{} // closed when the read in flight has ended; nil without one
	began   time.Time     // when the last read began
	err     error         // of the last read
	again   time.Time     // when the next read may begin
}

// New returns an Identity that read returns, such as the method Installation of a store.
func New(read func(context.Context) (string, error)) *Identity { return &Identity{read: read} }

// Of returns the identity. Until the database has returned it, Of waits for a read, at most until
// ctx is done. Within a second after a read that failed Of returns its error at once.
func (i *Identity) Of(ctx context.Context) (string, error) { return i.wait(ctx, nil) }

// Soon is Of for callers who can do without: it waits no longer than until a read is 250 ms old.
func (i *Identity) Soon(ctx context.Context) (string, error) {
	i.mu.Lock()
	began := time.Now()
	if i.reading != nil {
		began = i.began
	}
	i.mu.Unlock()
	timer := time.NewTimer(time.Until(began.Add(soon)))
	defer timer.Stop()
	return i.wait(ctx, timer.C)
}

func (i *Identity) wait(ctx context.Context, late <-chan time.Time) (string, error) {
	i.mu.Lock()
	id, err, reading := i.id, i.err, i.reading
	if id == "" && reading == nil && !time.Now().Before(i.again) {
		reading = make(chan struct{})
		i.reading, i.began = reading, time.Now()
		go i.once(context.WithoutCancel(ctx), reading)
	}
	i.mu.Unlock()
	switch {
	case id != "":
		return id, nil
	case reading == nil:
		return "", err
	}
	select {
	case <-reading:
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.id != "" {
			return i.id, nil
		}
		return "", i.err
	case <-late:
		return "", ErrUnknown
	case <-ctx.Done():
		return "", errors.Join(ErrUnknown, context.Cause(ctx))
	}
}

// once reads the identity on a goroutine of its own, because several callers may wait for it.
func (i *Identity) once(ctx context.Context, reading chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	id, err := i.read(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id, i.err, i.reading, i.again = id, err, nil, time.Now().Add(pause)
	close(reading)
}
