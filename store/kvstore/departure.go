package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

func departureFields(c *codec, v *rating.Departure) {
	text(c, &v.Rater)
	text(c, &v.Fate)
	instant(c, &v.At)
}

func departureKeys(d rating.Departure) [][]byte {
	return [][]byte{key(departuresByTime, d.At, d.Rater)}
}

func (t *tx) depart(d rating.Departure) {
	var old [][]byte
	if last, ok := departures.get(t, d.Rater); ok {
		old = departureKeys(last)
	}
	departures.put(t, d, d.Rater)
	t.reindex(old, departureKeys(d))
}

// Depart implements rating.Store.
func (s *Store) Depart(ctx context.Context, d rating.Departure) error {
	return s.write(ctx, "departure of "+d.Rater, func(t *tx) error {
		t.depart(d)
		return nil
	})
}

// Departures implements rating.Store.
func (s *Store) Departures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Departure, error) {
	return view(ctx, s, "departures", func(t *tx) (found []rating.Departure, _ error) {
		for _, row := range t.scan(departures.following(after)) {
			d, err := decode(row, departureFields)
			if err != nil {
				return nil, err
			}
			if d.At.Before(since) {
				continue
			}
			if found = append(found, d); len(found) == limit {
				break
			}
		}
		return found, nil
	})
}

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
		for _, p := range old(rejectedByTime) {
			p.time()
			t.unreject(p.integer())
			swept++
		}
		for _, p := range old(departuresByTime) {
			t.delete(append(key(departuresByTime), p...))
			p.time()
			departures.delete(t, p.text())
			swept++
		}
		return swept, nil
	})
}
