// Package lru keeps a bounded number of values.
package lru

import "container/list"

// Map holds at most so many values and forgets those used longest ago. It is not safe for
// concurrent use.
type Map[K comparable, V any] struct {
	max   int
	order *list.List // of *entry[K, V], most recently used first
	items map[K]*list.Element
	// dropped, if set, is called with each value that is forgotten, removed or replaced.
	dropped func(K, V)
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New returns a Map of at most maxItems values. dropped, if not nil, is called with each value that
// is forgotten, removed or replaced.
func New[K comparable, V any](maxItems int, dropped func(K, V)) *Map[K, V] {
	return &Map[K, V]{max: maxItems, order: list.New(), items: map[K]*list.Element{}, dropped: dropped}
}

// Get returns the value of key, and whether there is one.
func (m *Map[K, V]) Get(key K) (V, bool) {
	e, ok := m.items[key]
	if !ok {
		var zero V
		return zero, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put sets the value of key.
func (m *Map[K, V]) Put(key K, value V) {
	m.Remove(key)
	m.items[key] = m.order.PushFront(&entry[K, V]{key, value})
	if len(m.items) > m.max {
		m.Remove(m.order.Back().Value.(*entry[K, V]).key)
	}
}

// Remove forgets the value of key, if there is one.
func (m *Map[K, V]) Remove(key K) {
	e, ok := m.items[key]
	if !ok {
		return
	}
	m.order.Remove(e)
	delete(m.items, key)
	if m.dropped != nil {
		m.dropped(key, e.Value.(*entry[K, V]).value)
	}
}

// Len returns how many values there are.
func (m *Map[K, V]) Len() int { return len(m.items) }
