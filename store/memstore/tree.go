package memstore

import (
	"bytes"
	"slices"
)

// width is the greatest number of keys of a node.
const width = 32

// node is a node of a B+ tree: a leaf, with keys and their values, or an inner node, with children
// and the keys between them. A child is never empty, but for the root.
type node struct {
	owner  uint64 // the transaction that may change the node; others copy it
	keys   [][]byte
	values [][]byte // of a leaf, as many as keys
	// children are those of an inner node, one more than keys: keys[i] is greater than all in
	// children[i], and than none in the next.
	children []*node
}

// own returns the node for owner to change: itself or a copy.
func (n *node) own(owner uint64) *node {
	if n.owner == owner {
		return n
	}
	return &node{owner: owner, keys: grown(n.keys), values: grown(n.values), children: grown(n.children)}
}

// grown returns a copy that has room for one more.
func grown[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append(make([]T, 0, len(s)+1), s...)
}

// child returns which child has key.
func (n *node) child(key []byte) int {
	i, found := slices.BinarySearchFunc(n.keys, key, bytes.Compare)
	if found {
		i++
	}
	return i
}

func (n *node) get(key []byte) ([]byte, bool) {
	for n.children != nil {
		n = n.children[n.child(key)]
	}
	if i, ok := slices.BinarySearchFunc(n.keys, key, bytes.Compare); ok {
		return n.values[i], true
	}
	return nil, false
}

// put writes into a node that owner owns. If the node gets too wide, it keeps one half and returns
// the other, and the key between them.
func (n *node) put(owner uint64, key, value []byte) (separator []byte, right *node) {
	if n.children == nil {
		i, ok := slices.BinarySearchFunc(n.keys, key, bytes.Compare)
		if ok {
			n.values[i] = value
			return nil, nil
		}
		n.keys, n.values = slices.Insert(n.keys, i, key), slices.Insert(n.values, i, value)
	} else {
		i := n.child(key)
		n.children[i] = n.children[i].own(owner)
		separator, right := n.children[i].put(owner, key, value)
		if right == nil {
			return nil, nil
		}
		n.keys, n.children = slices.Insert(n.keys, i, separator), slices.Insert(n.children, i+1, right)
	}
	if len(n.keys) <= width {
		return nil, nil
	}
	return n.split()
}

func (n *node) split() (separator []byte, right *node) {
	half := len(n.keys) / 2
	right = &node{owner: n.owner}
	if separator = n.keys[half]; n.children == nil {
		right.keys, right.values = slices.Clone(n.keys[half:]), slices.Clone(n.values[half:])
		n.values = slices.Delete(n.values, half, len(n.values))
	} else {
		right.keys, right.children = slices.Clone(n.keys[half+1:]), slices.Clone(n.children[half+1:])
		n.children = slices.Delete(n.children, half+1, len(n.children))
	}
	n.keys = slices.Delete(n.keys, half, len(n.keys))
	return separator, right
}

// delete removes a key that is there from a node that owner owns. A child that gets narrow is
// joined with its neighbour if both fit into one.
func (n *node) delete(owner uint64, key []byte) {
	if n.children == nil {
		i, _ := slices.BinarySearchFunc(n.keys, key, bytes.Compare)
		n.keys, n.values = slices.Delete(n.keys, i, i+1), slices.Delete(n.values, i, i+1)
		return
	}
	i := n.child(key)
	n.children[i] = n.children[i].own(owner)
	n.children[i].delete(owner, key)
	if len(n.children[i].keys) < width/4 && len(n.children) > 1 {
		n.join(owner, min(i, len(n.children)-2))
	}
}

// join makes one of the children i and i+1, or moves keys between them, so that neither is narrow.
func (n *node) join(owner uint64, i int) {
	left, right := n.children[i].own(owner), n.children[i+1]
	if left.children != nil {
		left.keys = append(left.keys, n.keys[i])
	}
	left.keys, left.values = append(left.keys, right.keys...), append(left.values, right.values...)
	left.children = append(left.children, right.children...)
	n.children[i] = left
	if len(left.keys) > width {
		n.keys[i], n.children[i+1] = left.split()
		return
	}
	n.keys, n.children = slices.Delete(n.keys, i, i+1), slices.Delete(n.children, i+1, i+2)
}

// ascend yields the keys from low up to high, and reports whether it was not stopped.
func (n *node) ascend(low, high []byte, yield func(key, value []byte) bool) bool {
	if n.children == nil {
		i, _ := slices.BinarySearchFunc(n.keys, low, bytes.Compare)
		for ; i < len(n.keys); i++ {
			if len(high) > 0 && bytes.Compare(n.keys[i], high) >= 0 || !yield(n.keys[i], n.values[i]) {
				return false
			}
		}
		return true
	}
	for _, child := range n.children[n.child(low):] {
		if !child.ascend(low, high, yield) {
			return false
		}
	}
	return true
}

// descend yields the keys below high down to low, and reports whether it was not stopped.
func (n *node) descend(low, high []byte, yield func(key, value []byte) bool) bool {
	if n.children == nil {
		i := len(n.keys)
		if len(high) > 0 {
			i, _ = slices.BinarySearchFunc(n.keys, high, bytes.Compare)
		}
		for i--; i >= 0; i-- {
			if bytes.Compare(n.keys[i], low) < 0 || !yield(n.keys[i], n.values[i]) {
				return false
			}
		}
		return true
	}
	i := len(n.children) - 1
	if len(high) > 0 {
		i = n.child(high)
	}
	for ; i >= 0; i-- {
		if !n.children[i].descend(low, high, yield) {
			return false
		}
	}
	return true
}
