package kvstore

import (
	"context"

	"github.com/khodnevis/khodnevis/rating"
)

// piece is how many rows of an erased content one transaction removes.
const piece = 1000

// EraseContent implements rating.Store.
func (s *Store) EraseContent(ctx context.Context, id string) error {
	return s.write(ctx, "erase content "+id, func(t *tx) error {
		t.eraseRatings(id)
		return nil
	})
}

// eraseRatings removes everything about the ratings of a content and leaves a tombstone, for which
// later ratings are refused.
// Of the ratings it removes a piece; the rest is hidden until it is swept.
func (t *tx) eraseRatings(id string) {
	tombstones.put(t, struct{}{}, id)
	for _, b := range buckets.list(t, span{prefix: key(byte(buckets), id)}, -1) {
		buckets.delete(t, id, int64(b.Index))
	}
	for _, w := range windows.list(t, span{prefix: key(byte(windows), id)}, -1) {
		windows.delete(t, id, w.ID)
	}
	starts.delete(t, id)
	if row, ok := numbers.get(t, id); ok {
		numbers.delete(t, id)
		t.reindex(dirtyKeys(row), nil)
		if contents.has(t, id) {
			t.reindex(numberKeys(id, row.Stats), numberKeys(id, rating.Stats{}))
		}
	}
	t.removePiece(id)
}

// removePiece removes ratings of a content, and records whether some are left.
func (t *tx) removePiece(id string) {
	left := piece
	for _, tb := range []table[rating.Rating]{ratings, withdrawn} {
		for _, r := range tb.list(t, span{prefix: key(byte(tb), id)}, left) {
			tb.delete(t, r.Content, r.Rater)
			t.reindex(ratingKeys(r), nil)
			left--
		}
	}
	if left == 0 {
		hidden.put(t, struct{}{}, id)
	} else {
		hidden.delete(t, id)
	}
}

// hides reports whether the ratings of a content are erased although rows are left.
func (t *tx) hides(id string) bool {
	if t.hidden == nil {
		t.hidden = map[string]bool{}
		for _, p := range t.rests(span{prefix: key(byte(hidden))}, -1) {
			t.hidden[p.text()] = true
		}
	}
	return t.hidden[id]
}
