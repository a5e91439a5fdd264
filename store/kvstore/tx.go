package kvstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/store"
)

// tx is the transaction of one method. Its first error ends it: from then on nothing is found and
// nothing written, and the method returns that error, whatever else it makes of what it did not
// find. So only decisions return errors of their own.
type tx struct {
	ctx context.Context
	kv  Tx
	now time.Time // by the store's clock
	err error

	hidden map[string]bool // what hides has read; nil: nothing yet
}

// failed reports whether the transaction has an error, or its context is done.
func (t *tx) failed() bool {
	t.fail(t.ctx.Err())
	return t.err != nil
}

func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *tx) get(k []byte) (value []byte, ok bool) {
	if t.failed() || len(k) > MaxKey {
		return nil, false
	}
	value, ok, err := t.kv.Get(k)
	t.fail(err)
	return value, ok && err == nil
}

func (t *tx) put(k, value []byte) {
	if len(k) > MaxKey || len(value) > MaxValue {
		t.fail(fmt.Errorf("a key of %d bytes with a value of %d: %w", len(k), len(value), store.ErrUnstorable))
	}
	if !t.failed() {
		t.fail(t.kv.Put(k, value))
	}
}

func (t *tx) delete(k []byte) {
	if !t.failed() && len(k) <= MaxKey {
		t.fail(t.kv.Delete(k))
	}
}

// span is a piece of the keys with a prefix: what follows the prefix is at least low and, unless
// high is empty, less than high.
type span struct {
	prefix, low, high []byte
	descending        bool
}

// scan ranges over the rests of the keys in s, after the prefix, and their values. Both are valid
// for one step, in which nothing is written.
func (t *tx) scan(s span) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		low, high := append(bytes.Clone(s.prefix), s.low...), after(s.prefix)
		if len(s.high) > 0 {
			high = append(bytes.Clone(s.prefix), s.high...)
		}
		if t.failed() {
			return
		}
		t.fail(t.kv.Scan(low, high, s.descending, func(k, value []byte) bool {
			return !t.failed() && yield(k[len(s.prefix):], value)
		}))
	}
}

// first returns the first rest of a key in s, and false if there is none.
func (t *tx) first(s span) (rest parts, ok bool) {
	for rest := range t.scan(s) {
		return bytes.Clone(rest), true
	}
	return nil, false
}

// rests returns the rests of the first limit keys in s, to be kept while something is written; all
// of them is -1.
func (t *tx) rests(s span, limit int) []parts {
	var found []parts
	if limit == 0 {
		return nil
	}
	for rest := range t.scan(s) {
		if found = append(found, bytes.Clone(rest)); len(found) == limit {
			break
		}
	}
	return found
}

// reindex replaces the keys in indexes that followed from a row by those that follow from it now.
func (t *tx) reindex(old, now [][]byte) {
	slices.SortFunc(old, bytes.Compare)
	slices.SortFunc(now, bytes.Compare)
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && bytes.Compare(old[0], now[0]) < 0:
			t.delete(old[0])
			old = old[1:]
		case len(old) == 0 || bytes.Compare(old[0], now[0]) > 0:
			t.put(now[0], nil)
			now = now[1:]
		default:
			old, now = old[1:], now[1:]
		}
	}
}
