package rating

import (
	"context"
	"fmt"
	"sync"
)

// streamEpochs asks the store once for the epoch of each stream. It does not keep that a stream has
// no epoch, since the stream may get one the next moment.
type streamEpochs struct {
	store StreamStore
	mu    sync.Mutex
	known map[string]int64
}

// maxEpochs bounds streamEpochs.known. A queue has few streams, and the store gives epochs to these
// only.
const maxEpochs = 1000

func newStreamEpochs(store StreamStore) *streamEpochs {
	return &streamEpochs{store: store, known: map[string]int64{}}
}

// of returns the epoch of a stream that the queue names. A stream without an epoch gets one.
func (e *streamEpochs) of(ctx context.Context, stream string) (int64, error) {
	return e.get(ctx, stream, e.store.StreamEpoch)
}

// find returns the epoch of a stream that a client names. ErrNotFound: the stream has none, and so
// the client may have forged it.
func (e *streamEpochs) find(ctx context.Context, stream string) (int64, error) {
	return e.get(ctx, stream, e.store.KnownEpoch)
}

func (e *streamEpochs) get(
	ctx context.Context, stream string, load func(context.Context, string) (int64, error),
) (int64, error) {
	e.mu.Lock()
	epoch, ok := e.known[stream]
	e.mu.Unlock()
	if ok {
		return epoch, nil
	}
	epoch, err := load(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("rating: epoch of stream %q: %w", stream, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) >= maxEpochs {
		clear(e.known)
	}
	e.known[stream] = epoch
	return epoch, nil
}
