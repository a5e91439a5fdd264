package sqlitequeue

import (
	"context"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/internal/planted"
	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/queue"
)

const (
	poll     = 250 * time.Millisecond // between checks for messages and leases of other processes
	maxBytes = 16 << 20               // of bodies in a batch; a batch is at least one message
)

// Consume implements queue.Consumer.
func (q *Queue) Consume(ctx context.Context, limit int, h queue.Handler) error {
	if limit < 1 || limit > queue.MaxBatch {
		return fmt.Errorf("sqlitequeue: batches of %d messages, must be 1 to %d", limit, queue.MaxBatch)
	}
	for ctx.Err() == nil {
		select {
		case q.turn <- struct{}{}: // in the order in which they asked
		case <-ctx.Done():
			continue
		}
		err := q.consume(ctx, limit, h)
		<-q.turn
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("sqlitequeue: consume: %w", err)
		}
	}
	select {
	case q.turn <- struct{}{}:
		q.release(ctx)
		<-q.turn
	default: // somebody else goes on
	}
	return nil
}

// consume waits for messages and passes one batch to h until h takes it or ctx is done. It reads
// the batch before each attempt, because another process may have taken over meanwhile.
func (q *Queue) consume(ctx context.Context, limit int, h queue.Handler) (err error) {
	queue.Retry(ctx, func() error {
		var t topic
		if t, err = q.ready(ctx); err != nil {
			return nil
		}
		var batch []queue.Delivery
		if batch, err = q.read(ctx, t, limit); err != nil {
			return nil
		}
		if planted.CommitEarly {
			_ = q.finish(context.WithoutCancel(ctx), t.First, batch[len(batch)-1].Offset+1)
		}
		if err := q.handle(ctx, batch, h); err != nil {
			return err
		}
		err = q.finish(context.WithoutCancel(ctx), t.First, batch[len(batch)-1].Offset+1)
		return nil
	})
	return err
}

// ready waits until there are messages that this process may consume.
func (q *Queue) ready(ctx context.Context) (topic, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		t, err := q.topic(ctx)
		if err != nil {
			return t, err
		}
		if t.Next > t.First {
			if t, mine, err := q.claim(ctx, t); err != nil || mine && t.Next > t.First {
				return t, err
			}
		}
		select {
		case <-q.wake:
		case <-tick.C:
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

// read returns the oldest messages.
func (q *Queue) read(ctx context.Context, t topic, limit int) ([]queue.Delivery, error) {
	rows, err := q.file.Reader().QueryxContext(ctx, //nolint:sqlclosecheck // the defer below closes rows
		`SELECT "offset", key, body, header FROM queue_messages WHERE topic = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?`,
		q.cfg.Topic, t.First, limit)
	if err != nil {
		return nil, sqlitefile.Error(err)
	}
	defer rows.Close()
	var batch []queue.Delivery
	for size := 0; size < maxBytes && rows.Next(); {
		var r record
		if err := rows.StructScan(&r); err != nil {
			return nil, err
		}
		d := queue.Delivery{Position: queue.Position{Stream: t.Stream, Offset: r.Offset}}
		d.Message, d.Damaged = r.decode()
		size += len(r.Body)
		batch = append(batch, d)
	}
	if err := rows.Err(); err != nil {
		return nil, sqlitefile.Error(err)
	}
	if len(batch) == 0 || batch[0].Offset != t.First {
		return nil, fmt.Errorf("message %d of topic %s is gone", t.First, q.cfg.Topic)
	}
	return batch, nil
}

// handle calls h and renews the lease as long as that takes.
func (q *Queue) handle(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
	ctx = context.WithoutCancel(ctx)
	handled, renewed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(renewed)
		q.renew(ctx, handled)
	}()
	defer func() { close(handled); <-renewed }() // deferred for the sake of a handler that panics
	return h(ctx, batch)
}

// finish records that the messages from first to before next are done, and deletes them.
func (q *Queue) finish(ctx context.Context, first, next int64) error {
	until := time.Now().Add(lease)
	var mine int64
	err := q.file.Write(ctx, func(tx Tx) (err error) {
		mine, err = tx.Exec(`UPDATE queue_topics SET first = ?, until = ? WHERE topic = ? AND owner = ? AND first = ?`,
			next, until.UnixMicro(), q.cfg.Topic, q.owner, first)
		if err != nil || mine == 0 {
			return err
		}
		_, err = tx.Exec(`DELETE FROM queue_messages WHERE topic = ? AND "offset" >= ? AND "offset" < ?`,
			q.cfg.Topic, first, next)
		return err
	})
	if err != nil || mine == 0 { // without the lease the progress is the other process's to record
		until = time.Time{}
	}
	q.until = until
	return err
}
