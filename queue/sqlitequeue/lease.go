package sqlitequeue

import (
	"context"
	"time"
)

// lease is how long the process that consumes may be silent before another one takes over.
const lease = 3 * time.Second

// claim takes the lease, or renews it when less than half of it is left, and reports whether this
// process has it. It returns how far the topic has come by then: t, unless another process had the
// lease since. A lease that would end later than one taken now was taken before the clock was set
// back, and counts for nothing.
func (q *Queue) claim(ctx context.Context, t topic) (topic, bool, error) {
	if time.Until(q.until) > lease/2 {
		return t, true, nil
	}
	var mine bool
	var until time.Time
	err := q.file.Write(ctx, func(tx Tx) (err error) {
		now := time.Now() // not before it is this process's turn to write: no other lease is from later than that
		until = now.Add(lease)
		mine, err = tx.Get(&t, `UPDATE queue_topics SET owner = ?1, until = ?2
			WHERE topic = ?3 AND (owner = ?1 OR until <= ?4 OR until > ?2) RETURNING stream, first, next`,
			q.owner, until.UnixMicro(), q.cfg.Topic, now.UnixMicro())
		return err
	})
	if err != nil || !mine {
		q.until = time.Time{}
		return topic{}, false, err
	}
	q.until = until
	return t, true, nil
}

// renew keeps the lease until done is closed. When it cannot, the lease runs out, and finish finds
// that out.
func (q *Queue) renew(ctx context.Context, done <-chan struct{}) {
	tick := time.NewTicker(lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_, _, _ = q.claim(ctx, topic{})
		}
	}
}

// release ends the lease, so that another process need not wait for its end. Should it fail, that
// is all there is to it.
func (q *Queue) release(ctx context.Context) {
	if q.until.IsZero() {
		return
	}
	q.until = time.Time{}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease)
	defer cancel()
	_ = q.file.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(`UPDATE queue_topics SET until = 0 WHERE topic = ? AND owner = ?`, q.cfg.Topic, q.owner)
		return err
	})
}
