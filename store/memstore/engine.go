package memstore

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/khodnevis/khodnevis/store/kvstore"
)

// Engine is a kvstore.Engine in memory: a tree whose nodes are copied before they are changed, so
// that a View keeps the tree that it began with and waits for nobody. One Update runs at a time.
type Engine struct {
	turn   chan struct{} // holds a token while no Update runs
	root   atomic.Pointer[node]
	writes uint64 // how many Updates have begun; guarded by turn
}

var _ kvstore.Engine = (*Engine)(nil)

// NewEngine returns an empty engine.
func NewEngine() *Engine {
	e := &Engine{turn: make(chan struct{}, 1)}
	e.root.Store(&node{})
	e.turn <- struct{}{}
	return e
}

// View implements kvstore.Engine.
func (e *Engine) View(ctx context.Context, fn func(kvstore.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(&tx{root: e.root.Load()})
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
	e.writes++
	t := &tx{root: e.root.Load(), owner: e.writes}
	if err := fn(t); err != nil {
		return err
	}
	e.root.Store(t.root)
	return nil
}

// tx implements kvstore.Tx.
type tx struct {
	root  *node
	owner uint64 // of the nodes that it may change; 0 in a View
}

var errView = errors.New("memstore: a write in a View")

// Get implements kvstore.Tx.
func (t *tx) Get(key []byte) (value []byte, ok bool, err error) {
	value, ok = t.root.get(key)
	return value, ok, nil
}

// Put implements kvstore.Tx.
func (t *tx) Put(key, value []byte) error {
	if t.owner == 0 {
		return errView
	}
	t.root = t.root.own(t.owner)
	if separator, right := t.root.put(t.owner, key, value); right != nil {
		t.root = &node{owner: t.owner, keys: [][]byte{separator}, children: []*node{t.root, right}}
	}
	return nil
}

// Delete implements kvstore.Tx.
func (t *tx) Delete(key []byte) error {
	if t.owner == 0 {
		return errView
	}
	if _, ok := t.root.get(key); !ok {
		return nil
	}
	t.root = t.root.own(t.owner)
	t.root.delete(t.owner, key)
	if len(t.root.children) == 1 {
		t.root = t.root.children[0]
	}
	return nil
}

// Scan implements kvstore.Tx.
func (t *tx) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	if descending {
		t.root.descend(low, high, yield)
	} else {
		t.root.ascend(low, high, yield)
	}
	return nil
}
