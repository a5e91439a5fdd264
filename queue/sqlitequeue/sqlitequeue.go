// Package sqlitequeue is a queue in an SQLite file, the embedded default. It shares the file with
// package sqlitestore.
//
// # Durability
//
// A published message survives the death of the process and, on a disk that does what it says, a
// power cut. Publishers that come at the same time share one write to the disk.
//
// # Delivery
//
// A queue has one batch in flight at a time, however many Consume calls there are: they take turns,
// and the order of keys needs no further care. Processes on the same file exclude each other by a
// lease of three seconds, renewed while a handler runs. A process that was stopped for longer than
// that may find that another one has gone on: its batch is then delivered twice, and its progress
// is not recorded. Consumers of the process that published are woken at once, those of others look
// four times a second.
//
// # Stream
//
// The stream is named at random when a topic is made. Offsets are never used again, also when
// everything was consumed. A file that was put back from an old copy repeats offsets: put the store
// back from the same moment, as one file for both does.
package sqlitequeue

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/queue"
)

//go:embed migrations/*.sql
var migrations embed.FS

var (
	_ queue.Queue   = (*Queue)(nil)
	_ queue.Lagger  = (*Queue)(nil)
	_ queue.Ager    = (*Queue)(nil)
	_ queue.Locator = (*Queue)(nil)
)

// Config of a Queue. The zero value is usable.
type Config struct {
	// Topic names the log within the file. Default "ratings".
	Topic string
	// Capacity is how many messages may wait; beyond it Publish fails with queue.ErrNotAccepted.
	// Default 1,000,000.
	Capacity int64
}

func (c Config) withDefaults() Config {
	if c.Topic == "" {
		c.Topic = "ratings"
	}
	if c.Capacity == 0 {
		c.Capacity = 1_000_000
	}
	return c
}

func (c Config) validate() error {
	if c.Capacity < 0 {
		return fmt.Errorf("sqlitequeue: a capacity of %d, must be positive", c.Capacity)
	}
	return nil
}

// File is an open SQLite file that a queue can live in: what File of package sqlitestore returns.
// It may be used concurrently.
type File interface {
	// Migrate runs those of the files <number>_<name>.sql in steps that component has not run yet.
	Migrate(ctx context.Context, component string, steps fs.FS) error
	// Reader returns connections that read.
	Reader() *sqlx.DB
	// Get scans the first row into dest and reports whether there is one.
	Get(ctx context.Context, dest any, query string, args ...any) (bool, error)
	// Write runs job in a transaction and returns once that is committed. An error undoes the job.
	Write(ctx context.Context, job func(Tx) error) error
	// WriteTogether is Write for one item. Items that wait with the same key are done by one call
	// of do; if that fails, each is done by itself.
	WriteTogether(ctx context.Context, key, item any, do func(tx Tx, items []any) error) error
}

// Tx is the transaction of a job, which uses nothing else and does not keep it. It is an alias, so
// that a File does not have to import this package.
type Tx = interface {
	// Exec runs a statement and returns how many rows it wrote.
	Exec(query string, args ...any) (int64, error)
	// Get scans the first row into dest and reports whether there is one.
	Get(dest any, query string, args ...any) (bool, error)
	// Select scans all rows into the slice that dest points to.
	Select(dest any, query string, args ...any) error
}

// Queue is a log of one topic. It owns nothing but its rows: the host that opened the file closes
// it, after the last Consume has returned.
type Queue struct {
	file  File
	cfg   Config
	owner string        // of leases
	wake  chan struct{} // holds one when something was published since it was last empty
	turn  chan struct{} // holds one while a Consume has its turn
	until time.Time     // end of the lease as it was last recorded; belongs to whoever has the turn
}

// New makes the topic in file, and the tables, unless they are there.
func New(file File, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := file.Migrate(context.Background(), "queue", files); err != nil {
		return nil, err
	}
	err = file.Write(context.Background(), func(tx Tx) error {
		_, err := tx.Exec(`INSERT INTO queue_topics (topic, stream) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			cfg.Topic, rand.Text())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlitequeue: make topic %s: %w", cfg.Topic, err)
	}
	return &Queue{
		file:  file,
		cfg:   cfg,
		owner: rand.Text(),
		wake:  make(chan struct{}, 1),
		turn:  make(chan struct{}, 1),
	}, nil
}

// FailingSince implements queue.Failer. With a File that has the method, it is since when any write
// of the file fails; with another one it is the zero time.
func (q *Queue) FailingSince() time.Time {
	if f, ok := q.file.(queue.Failer); ok {
		return f.FailingSince()
	}
	return time.Time{}
}

// record is a message as it is stored.
type record struct {
	Offset int64  `db:"offset"`
	Key    string `db:"key"`
	Body   []byte `db:"body"`
	Header []byte `db:"header"`
}

// encode returns a record that shares no memory with m.
func encode(m queue.Message) (record, error) {
	r := record{Key: m.Key, Body: bytes.Clone(m.Body)}
	if r.Body == nil {
		r.Body = []byte{}
	}
	if len(m.Header) == 0 {
		return r, nil
	}
	var err error
	r.Header, err = json.Marshal(m.Header)
	return r, err
}

// decode returns the message, without its header if that is damaged.
func (r record) decode() (m queue.Message, damaged bool) {
	m = queue.Message{Key: r.Key, Body: r.Body}
	if r.Header != nil && json.Unmarshal(r.Header, &m.Header) != nil {
		m.Header = nil
		return m, true
	}
	return m, false
}

// Publish implements queue.Publisher. A full queue, a full disk and a locked file are
// queue.ErrNotAccepted.
func (q *Queue) Publish(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
	if err := queue.Validate(msgs...); err != nil {
		return nil, err
	}
	if len(msgs) == 0 {
		return nil, nil
	}
	records := make([]record, len(msgs))
	for i, m := range msgs {
		var err error
		if records[i], err = encode(m); err != nil {
			return nil, fmt.Errorf("sqlitequeue: message %d: %w: %w", i, queue.ErrNotAccepted, err)
		}
	}
	p := &publication{records: records}
	err := q.file.WriteTogether(ctx, q, p, q.append)
	switch {
	case errors.Is(err, sqlitefile.ErrUnknown):
		return nil, fmt.Errorf("sqlitequeue: publish: %w", err)
	case err != nil:
		return nil, fmt.Errorf("sqlitequeue: publish: %w: %w", queue.ErrNotAccepted, err)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	positions := make([]queue.Position, len(msgs))
	for i := range positions {
		positions[i] = queue.Position{Stream: p.first.Stream, Offset: p.first.Offset + int64(i)}
	}
	return positions, nil
}

// publication is what one call publishes.
type publication struct {
	records []record
	first   queue.Position // of the first record, once it is stored
}

// append stores publications one behind the other and sets the position of each. It stores all of
// them or nothing. Their bytes go to the database as one value, with a list of the places in it, so
// that many cost little more than one.
func (q *Queue) append(tx Tx, publications []any) error {
	var (
		blob []byte
		// For each record, the place and the length of the key, of the body and, if there is one, of the
		// header, counted from 1.
		places [][]int
	)
	for _, p := range publications {
		for _, r := range p.(*publication).records {
			key, body := len(blob)+1, len(blob)+1+len(r.Key)
			place := []int{key, len(r.Key), body, len(r.Body)}
			if r.Header != nil {
				place = append(place, body+len(r.Body), len(r.Header))
			}
			places = append(places, place)
			blob = append(append(append(blob, r.Key...), r.Body...), r.Header...)
		}
	}
	list, err := json.Marshal(places)
	if err != nil {
		return err
	}
	var topic topic
	n := int64(len(places))
	ok, err := tx.Get(&topic,
		`UPDATE queue_topics SET next = next + ?1 WHERE topic = ?2 AND next + ?1 - first <= ?3 RETURNING stream, first, next`,
		n, q.cfg.Topic, q.cfg.Capacity)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("no room for %d messages within a capacity of %d", n, q.cfg.Capacity)
	}
	if _, err := tx.Exec(`INSERT INTO queue_messages (topic, "offset", key, body, header, published)
		SELECT ?1, ?2 + key,
			CAST(substr(?3, value ->> 0, value ->> 1) AS TEXT),
			substr(?3, value ->> 2, value ->> 3),
			CAST(substr(?3, value ->> 4, value ->> 5) AS TEXT),
			?5
		FROM json_each(?4)`, q.cfg.Topic, topic.Next-n, blob, string(list), time.Now().UnixMicro()); err != nil {
		return err
	}
	next := topic.Next - n
	for _, p := range publications {
		p := p.(*publication)
		p.first = queue.Position{Stream: topic.Stream, Offset: next}
		next += int64(len(p.records))
	}
	return nil
}

// Lag implements queue.Lagger.
func (q *Queue) Lag(ctx context.Context) (int64, error) {
	t, err := q.topic(ctx)
	if err != nil {
		return 0, fmt.Errorf("sqlitequeue: lag: %w", err)
	}
	return t.Next - t.First, nil
}

// Age implements queue.Ager; nothing is deleted.
func (q *Queue) Age(ctx context.Context) (oldest, retention time.Duration, err error) {
	var published int64
	ok, err := q.file.Get(ctx, &published, `SELECT m.published FROM queue_topics t
		JOIN queue_messages m ON m.topic = t.topic AND m."offset" = t.first WHERE t.topic = ?`, q.cfg.Topic)
	if err != nil {
		return 0, 0, fmt.Errorf("sqlitequeue: age: %w", err)
	}
	if !ok {
		return 0, 0, nil
	}
	return max(time.Since(time.UnixMicro(published)), 0), 0, nil
}

// Locate implements queue.Locator; nothing is deleted before a consumer has finished it.
func (q *Queue) Locate(ctx context.Context, _ string, at queue.Position) (queue.Standing, error) {
	t, err := q.topic(ctx)
	switch {
	case err != nil:
		return queue.Unknown, fmt.Errorf("sqlitequeue: locate: %w", err)
	case at.Stream != t.Stream:
		return queue.Unknown, nil
	case at.Offset >= t.Next:
		return queue.Unpublished, nil
	}
	return queue.Published, nil
}

// topic is how far a log has come.
type topic struct {
	Stream string `db:"stream"`
	First  int64  `db:"first"`
	Next   int64  `db:"next"`
}

func (q *Queue) topic(ctx context.Context) (topic, error) {
	var t topic
	ok, err := q.file.Get(ctx, &t, `SELECT stream, first, next FROM queue_topics WHERE topic = ?`, q.cfg.Topic)
	if err == nil && !ok {
		err = fmt.Errorf("topic %s is gone", q.cfg.Topic)
	}
	return t, err
}
