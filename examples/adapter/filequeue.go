// Package filequeue is an example of an adapter: a queue in an append-only file, for one process.
// Its test is the public suite. The file is synced once a Publish and never shrinks: use
// sqlitequeue for work.
package filequeue

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/queue"
)

// Queue implements queue.Queue. A nil error of Publish means: synced to the file.
type Queue struct {
	turn    chan struct{} // holds one token; its owner has a batch in flight, so the messages of a key stay in order
	mu      sync.Mutex
	file    *os.File
	stream  string
	done    int64 // how many messages are finished
	waiting []queue.Delivery
	wake    chan struct{} // closed by the next Publish
	broken  error         // after a failed write nobody knows how the file ends
}

type line struct { // of the file
	Stream  string         `json:",omitempty"` // the first line has it
	Message *queue.Message `json:",omitempty"`
	Done    int64          `json:",omitempty"`
}

// New returns the queue in file, which must be open for reading and appending, and by nobody else.
func New(file *os.File) (*Queue, error) {
	q := &Queue{file: file, turn: make(chan struct{}, 1), wake: make(chan struct{})}
	q.turn <- struct{}{}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1] // a last line without an end was never acknowledged
	for text := range bytes.Lines(data) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("filequeue: read %s: %w", file.Name(), err)
		}
		q.stream = cmp.Or(l.Stream, q.stream)
		if l.Message != nil {
			at := queue.Position{Stream: q.stream, Offset: q.done + int64(len(q.waiting))}
			q.waiting = append(q.waiting, queue.Delivery{Message: *l.Message, Position: at})
		}
		finished := max(l.Done-q.done, 0)
		q.waiting, q.done = q.waiting[finished:], q.done+finished
	}
	if err := file.Truncate(int64(len(data))); err != nil || q.stream != "" {
		return q, err
	}
	q.stream = "file-" + rand.Text() // a new file is a new life of the log
	return q, q.write(line{Stream: q.stream})
}

func (q *Queue) write(lines ...line) error {
	var b bytes.Buffer
	for _, l := range lines {
		q.broken = errors.Join(q.broken, json.NewEncoder(&b).Encode(l))
	}
	_, err := q.file.Write(b.Bytes())
	q.broken = errors.Join(q.broken, err, q.file.Sync())
	return q.broken
}

// Publish implements queue.Publisher.
func (q *Queue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if err := queue.Validate(msgs...); err != nil || len(msgs) == 0 {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := errors.Join(ctx.Err(), q.broken); err != nil {
		return nil, fmt.Errorf("filequeue: publish: %w: %w", queue.ErrNotAccepted, err)
	}
	lines, positions := make([]line, len(msgs)), make([]queue.Position, len(msgs))
	more := make([]queue.Delivery, len(msgs))
	for i, m := range msgs {
		positions[i] = queue.Position{Stream: q.stream, Offset: q.done + int64(len(q.waiting)+i)}
		lines[i].Message, more[i] = &m, queue.Delivery{Message: m, Position: positions[i]}
	}
	if err := q.write(lines...); err != nil {
		return nil, fmt.Errorf("filequeue: publish: %w", err)
	}
	q.waiting = append(q.waiting, copies(more)...)
	close(q.wake)
	q.wake = make(chan struct{})
	return positions, nil
}

// copies returns deliveries that share no memory with ds.
func copies(ds []queue.Delivery) []queue.Delivery {
	ds = slices.Clone(ds)
	for i, d := range ds {
		ds[i].Body, ds[i].Header = bytes.Clone(d.Body), maps.Clone(d.Header)
	}
	return ds
}

// Consume implements queue.Consumer.
func (q *Queue) Consume(ctx context.Context, limit int, h queue.Handler) error {
	if limit < 1 || limit > queue.MaxBatch {
		return fmt.Errorf("filequeue: consume batches of %d messages", limit)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.turn:
		}
		q.mu.Lock()
		wake, batch := q.wake, copies(q.waiting[:min(limit, len(q.waiting))])
		q.mu.Unlock()
		var again <-chan time.Time // nil: not before the next Publish
		var err error
		switch {
		case ctx.Err() != nil || len(batch) == 0:
		case h(context.WithoutCancel(ctx), batch) != nil:
			wake, again = nil, time.After(20*time.Millisecond)
		default:
			again = time.After(0)
			q.mu.Lock()
			q.done, q.waiting = q.done+int64(len(batch)), q.waiting[len(batch):]
			err = q.write(line{Done: q.done})
			q.mu.Unlock()
		}
		q.turn <- struct{}{}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-again:
		}
	}
}
