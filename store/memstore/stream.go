package memstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
)

// tick is the last claim of a job.
type tick struct {
	at    time.Time
	until time.Time // end of the lease
}

// rejectedName names a rejected message.
type rejectedName struct {
	queue.Position
	key string
}

func nameOf(r rating.Rejected) rejectedName { return rejectedName{Position: r.Position, key: r.Key} }

// Installation implements rating.Store.
func (s *Store) Installation(ctx context.Context) (string, error) { return s.installation, ctx.Err() }

// StreamEpoch implements rating.Store.
func (s *Store) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if s.epochs[stream] == 0 {
		s.epochs[stream] = int64(len(s.epochs)) + 1
	}
	return s.epochs[stream], nil
}

// KnownEpoch implements rating.Store.
func (s *Store) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	if err := s.rlock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	epoch, ok := s.epochs[stream]
	if !ok {
		return 0, fmt.Errorf("memstore: epoch of stream %q: %w", stream, rating.ErrNotFound)
	}
	return epoch, nil
}

// ClaimTick implements rating.Store.
func (s *Store) ClaimTick(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	if err := s.lock(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	now := s.now()
	if last, ok := s.ticks[job]; ok && (!at.After(last.at) || now.Before(last.until)) {
		return false, nil
	}
	s.ticks[job] = tick{at: at, until: now.Add(lease)}
	return true, nil
}

// ReleaseTick implements rating.Store.
func (s *Store) ReleaseTick(ctx context.Context, job string, at time.Time) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if last, ok := s.ticks[job]; ok && last.at.Equal(at) {
		s.ticks[job] = tick{at: at}
	}
	return nil
}

// Depart implements rating.Store.
func (s *Store) Depart(ctx context.Context, d rating.Departure) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.departed[d.Rater] = d
	return nil
}

// Departures implements rating.Store.
func (s *Store) Departures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Departure, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	late := func(yield func(rating.Departure) bool) {
		for rater := range following(maps.Keys(s.departed), after) {
			if d := s.departed[rater]; !d.At.Before(since) && !yield(d) {
				return
			}
		}
	}
	return least(late, limit, func(a, b rating.Departure) int { return strings.Compare(a.Rater, b.Rater) }), nil
}

// reject records a message unless it is recorded.
func (s *Store) reject(r rating.Rejected) {
	if s.rejectedName.has(nameOf(r)) {
		return
	}
	s.rejectedID++
	r.ID, r.Body = s.rejectedID, bytes.Clone(r.Body)
	s.rejected = append(s.rejected, r)
	s.rejectedName.add(nameOf(r))
}

// ListRejected implements rating.Store.
func (s *Store) ListRejected(ctx context.Context, q rating.RejectedQuery) ([]rating.Rejected, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []rating.Rejected
	for _, r := range s.rejected {
		if len(found) == q.Limit {
			break
		}
		if r.ID <= q.After || q.Key != "" && r.Key != q.Key || q.Position.Stream != "" && r.Position != q.Position {
			continue
		}
		r.Body = bytes.Clone(r.Body)
		found = append(found, r)
	}
	return found, nil
}

// RemoveRejected implements rating.Store.
func (s *Store) RemoveRejected(ctx context.Context, ids []int64) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	meant := set[int64]{}
	for _, id := range ids {
		meant.add(id)
	}
	s.removeRejected(func(r rating.Rejected) bool { return meant.has(r.ID) })
	return nil
}

func (s *Store) removeRejected(meant func(rating.Rejected) bool) {
	s.rejected = slices.DeleteFunc(s.rejected, func(r rating.Rejected) bool {
		if !meant(r) {
			return false
		}
		delete(s.rejectedName, nameOf(r))
		return true
	})
}

// SweepRatings implements rating.Store.
func (s *Store) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	swept := 0
	for r := range s.candidates(rating.Filter{}) {
		if swept == limit {
			return swept, nil
		}
		if r.Withdrawn && r.UpdatedAt.Before(before) {
			s.drop(r.Key)
			swept++
		}
	}
	s.removeRejected(func(r rating.Rejected) bool {
		if swept == limit || !r.At.Before(before) {
			return false
		}
		swept++
		return true
	})
	maps.DeleteFunc(s.departed, func(_ string, d rating.Departure) bool {
		if swept == limit || !d.At.Before(before) {
			return false
		}
		swept++
		return true
	})
	return swept, nil
}
