package kvstore

import (
	"context"
	"time"
)

// SweepRatings implements rating.Store.
func (s *Store) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.sweepHidden(ctx); err != nil {
		return 0, err
	}
	return update(ctx, s, "sweep ratings", func(t *tx) (swept int, _ error) {
		old := func(ix index) []parts {
			return t.rests(span{prefix: key(ix), high: extend(nil, before)}, limit-swept)
		}
		for _, p := range old(withdrawnByTime) {
			t.delete(append(key(withdrawnByTime), p...))
			p.time()
			withdrawn.delete(t, p.text(), p.text())
			swept++
		}
		for _, p := range old(deadLetterByTime) {
			p.time()
			t.deleteDeadLetter(p.integer())
			swept++
		}
		for _, p := range old(erasuresByTime) {
			t.delete(append(key(erasuresByTime), p...))
			p.time()
			erasures.delete(t, p.text())
			swept++
		}
		return swept, nil
	})
}

// sweepHidden removes what eraseRatings has left, piece by piece.
func (s *Store) sweepHidden(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = update(ctx, s, "sweep deleted contents", func(t *tx) (bool, error) {
			first, ok := t.first(span{prefix: key(byte(hidden))})
			if ok {
				t.removePiece(first.text())
			}
			return ok, nil
		}); err != nil {
			return err
		}
	}
	return nil
}
