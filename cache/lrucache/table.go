package lrucache

import (
	"container/heap"
	"container/list"
	"time"
)

// swept is how many entries past their end a put removes at most.
const swept = 4

// entry is an item or a count. Its value is never changed.
type entry struct {
	key    string
	value  []byte
	number int64         // the version of an item, the sum of a count
	ends   time.Time     // zero: never
	used   *list.Element // in table.used
	index  int           // in table.ending, or -1
}

func (e *entry) size() int64 { return int64(len(e.key)+len(e.value)) + Overhead }

func (e *entry) ended(now time.Time) bool { return !e.ends.IsZero() && !now.Before(e.ends) }

// table is a bounded set of entries.
type table struct {
	maxEntries int
	maxBytes   int64

	bytes   int64
	entries map[string]*entry
	used    *list.List // of *entry, the last used first
	ending  endHeap    // those that end, the next one on top
}

func newTable(maxEntries int, maxBytes int64) table {
	return table{maxEntries: maxEntries, maxBytes: maxBytes, entries: make(map[string]*entry), used: list.New()}
}

// peek returns the entry of key, or nil when there is none or it has ended.
func (t *table) peek(key string, now time.Time) *entry {
	e := t.entries[key]
	if e == nil || !e.ended(now) {
		return e
	}
	t.drop(e)
	return nil
}

// get is peek, and counts as a use of the entry.
func (t *table) get(key string, now time.Time) *entry {
	e := t.peek(key, now)
	if e != nil {
		t.used.MoveToFront(e.used)
	}
	return e
}

// put replaces the entry under e's key. It drops a few entries that have ended and, to make room,
// more of them and then the least recently used ones.
func (t *table) put(e *entry, now time.Time) {
	t.remove(e.key)
	if e.size() > t.maxBytes {
		return
	}
	for range swept {
		if !t.dropEnded(now) {
			break
		}
	}
	for len(t.entries) >= t.maxEntries || t.bytes+e.size() > t.maxBytes {
		if !t.dropEnded(now) {
			t.drop(t.used.Back().Value.(*entry))
		}
	}
	t.entries[e.key] = e
	t.bytes += e.size()
	e.used = t.used.PushFront(e)
	e.index = -1
	if !e.ends.IsZero() {
		heap.Push(&t.ending, e)
	}
}

// dropEnded drops the entry that ended first and reports whether there was one.
func (t *table) dropEnded(now time.Time) bool {
	if len(t.ending) == 0 || !t.ending[0].ended(now) {
		return false
	}
	t.drop(t.ending[0])
	return true
}

func (t *table) remove(key string) {
	if e := t.entries[key]; e != nil {
		t.drop(e)
	}
}

func (t *table) drop(e *entry) {
	delete(t.entries, e.key)
	t.bytes -= e.size()
	t.used.Remove(e.used)
	if e.index >= 0 {
		heap.Remove(&t.ending, e.index)
	}
}

type endHeap []*entry

func (h endHeap) Len() int { return len(h) }

func (h endHeap) Less(i, j int) bool { return h[i].ends.Before(h[j].ends) }

func (h endHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *endHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *endHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}
