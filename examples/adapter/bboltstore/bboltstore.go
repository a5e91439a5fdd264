// Package bboltstore is an example of an adapter: a whole store in a bbolt file, for one process.
// Its test are the public suites.
package bboltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/kvstore"
)

// Engine implements kvstore.Engine. A nil error of Update means: synced to the file, unless the
// database has NoSync.
type Engine struct {
	db   *bolt.DB
	turn chan struct{} // holds a token while no Update runs: bbolt's own lock does not heed a context
}

var _ kvstore.Engine = (*Engine)(nil)

var bucket = []byte("khodnevis")

// New returns the engine in db, which stays open until the engine is no longer used. For the store
// over it call kvstore.New.
func New(db *bolt.DB) (*Engine, error) {
	e := &Engine{db: db, turn: make(chan struct{}, 1)}
	e.turn <- struct{}{}
	return e, translate(db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	}))
}

// View implements kvstore.Engine.
func (e *Engine) View(ctx context.Context, fn func(kvstore.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return translate(e.db.View(func(tx *bolt.Tx) error { return fn(engineTx{tx.Bucket(bucket)}) }))
}

// Update implements kvstore.Engine.
func (e *Engine) Update(ctx context.Context, fn func(kvstore.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.turn:
	}
	defer func() { e.turn <- struct{}{} }()
	return translate(e.db.Update(func(tx *bolt.Tx) error { return fn(engineTx{tx.Bucket(bucket)}) }))
}

// translate makes store.ErrUnavailable of what may pass, and leaves all else as it is.
func translate(err error) error {
	for _, passing := range []error{syscall.ENOSPC, syscall.EIO, bolterrors.ErrDatabaseNotOpen} {
		if errors.Is(err, passing) {
			return fmt.Errorf("bboltstore: %w: %w", store.ErrUnavailable, err)
		}
	}
	return err
}

// engineTx implements kvstore.Tx; Put and Delete are the bucket's.
type engineTx struct{ *bolt.Bucket }

// Get implements kvstore.Tx.
func (tx engineTx) Get(key []byte) (value []byte, ok bool, err error) {
	value = tx.Bucket.Get(key)
	return value, value != nil, nil
}

// Scan implements kvstore.Tx.
func (tx engineTx) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	cursor := tx.Cursor()
	step := cursor.Next
	k, v := cursor.Seek(low)
	if descending {
		step = cursor.Prev
		if k, _ = cursor.Seek(high); len(high) == 0 || k == nil {
			k, v = cursor.Last()
		} else {
			k, v = cursor.Prev()
		}
	}
	for k != nil && bytes.Compare(k, low) >= 0 && (len(high) == 0 || bytes.Compare(k, high) < 0) && yield(k, v) {
		k, v = step()
	}
	return nil
}
