package auth

import "container/list"

// lru holds at most max values and forgets those used longest ago. It is not safe for concurrent use.
type lru[K comparable, V any] struct {
	max   int
	order *list.List // of *lruEntry[K, V], most recently used first
	items map[K]*list.Element
	// dropped, if set, is told of each value that is forgotten, removed or replaced.
	dropped func(K, V)
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](maxItems int, dropped func(K, V)) *lru[K, V] {
	return &lru[K, V]{max: maxItems, order: list.New(), items: map[K]*list.Element{}, dropped: dropped}
}

func (c *lru[K, V]) get(key K) (V, bool) {
	e, ok := c.items[key]
	if !ok {
		var zero V
		return zero, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

func (c *lru[K, V]) put(key K, value V) {
	c.remove(key)
	c.items[key] = c.order.PushFront(&lruEntry[K, V]{key, value})
	if len(c.items) > c.max {
		c.remove(c.order.Back().Value.(*lruEntry[K, V]).key)
	}
}

func (c *lru[K, V]) remove(key K) {
	e, ok := c.items[key]
	if !ok {
		return
	}
	c.order.Remove(e)
	delete(c.items, key)
	if c.dropped != nil {
		c.dropped(key, e.Value.(*lruEntry[K, V]).value)
	}
}

func (c *lru[K, V]) len() int { return len(c.items) }
