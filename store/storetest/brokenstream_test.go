package storetest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

type newIdentities struct{ store.Store }

func (s newIdentities) Installation(context.Context) (string, error) {
	return strings.ToLower(rand.Text()), nil
}

type shouting struct{ store.Store }

func (s shouting) Installation(context.Context) (string, error) { return "ABC", nil }

type oneIdentity struct{ store.Store }

func (s oneIdentity) Installation(context.Context) (string, error) { return "khodnevis", nil }

func TestBrokenInstallations(t *testing.T) {
	t.Parallel()
	of := func() store.Store { return oneIdentity{memstore.New(memstore.Config{})} }
	if err := storetest.Installations(t.Context(), of(), of()); err == nil {
		t.Error("that two databases have one identity is not noticed")
	}
}

type shrinking struct{ store.Store }

func (s shrinking) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, err := s.Store.StreamEpoch(ctx, stream)
	return 1000 - epoch, err
}

type newEpochs struct {
	store.Store
	last atomic.Int64
}

func (s *newEpochs) StreamEpoch(context.Context, string) (int64, error) { return s.last.Add(1), nil }

type givesEpochs struct{ store.Store }

func (s givesEpochs) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	return s.StreamEpoch(ctx, stream)
}

type givesEpochsTacitly struct{ store.Store }

func (s givesEpochsTacitly) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, err := s.Store.KnownEpoch(ctx, stream)
	if err != nil {
		_, _ = s.StreamEpoch(ctx, stream)
	}
	return epoch, err
}

type zeroEpochs struct{ store.Store }

func (s zeroEpochs) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, err := s.Store.KnownEpoch(ctx, stream)
	if errors.Is(err, rating.ErrNotFound) {
		return 0, nil
	}
	return epoch, err
}

type remembersAbsence struct {
	store.Store
	absent sync.Map
}

func (s *remembersAbsence) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	if err, ok := s.absent.Load(stream); ok {
		return 0, err.(error)
	}
	epoch, err := s.Store.KnownEpoch(ctx, stream)
	if err != nil {
		s.absent.Store(stream, err)
	}
	return epoch, err
}

type textualStreams struct{ store.Store }

func (s textualStreams) KnownEpoch(ctx context.Context, stream string) (int64, error) {
	if odd(stream) {
		return 0, store.ErrUnstorable
	}
	return s.Store.KnownEpoch(ctx, stream)
}

type twiceClaimed struct {
	store.Store
	last sync.Map
}

func (s *twiceClaimed) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	ok, err := s.Store.ClaimLease(ctx, job, at, lease)
	if ok {
		s.last.Store(job, at)
	}
	last, _ := s.last.Load(job)
	return ok || last == at, err
}

type leaseless struct {
	store.Store
	last sync.Map
}

func (s *leaseless) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	if last, ok := s.last.Load(job); ok {
		if err := s.ReleaseLease(ctx, job, last.(time.Time)); err != nil {
			return false, err
		}
	}
	ok, err := s.Store.ClaimLease(ctx, job, at, lease)
	if ok {
		s.last.Store(job, at)
	}
	return ok, err
}

type endlessLease struct{ store.Store }

func (s endlessLease) ClaimLease(ctx context.Context, job string, at time.Time, _ time.Duration) (bool, error) {
	return s.Store.ClaimLease(ctx, job, at, time.Hour)
}

type anyRelease struct {
	store.Store
	last sync.Map
}

func (s *anyRelease) ClaimLease(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	ok, err := s.Store.ClaimLease(ctx, job, at, lease)
	if ok {
		s.last.Store(job, at)
	}
	return ok, err
}

func (s *anyRelease) ReleaseLease(ctx context.Context, job string, at time.Time) error {
	if last, ok := s.last.Load(job); ok {
		at = last.(time.Time)
	}
	return s.Store.ReleaseLease(ctx, job, at)
}

type recordsAgain struct {
	store.Store
	times atomic.Int64
}

func (s *recordsAgain) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	batch.DeadLetters = slices.Clone(batch.DeadLetters)
	for i := range batch.DeadLetters {
		batch.DeadLetters[i].Position.Offset += 1000 * s.times.Add(1)
	}
	return s.Store.ApplyRatings(ctx, batch)
}

type renumbering struct{ store.Store }

func (s renumbering) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	found, err := s.Store.ListDeadLetters(ctx, q)
	for i := range found {
		found[i].ID = int64(i + 1)
	}
	return found, err
}

func (s renumbering) DeleteDeadLetters(ctx context.Context, ids []int64) error {
	found, err := s.Store.ListDeadLetters(ctx, rating.DeadLetterQuery{Limit: 1000})
	if err != nil {
		return err
	}
	var meant []int64
	for i, r := range found {
		if slices.Contains(ids, int64(i+1)) {
			meant = append(meant, r.ID)
		}
	}
	return s.Store.DeleteDeadLetters(ctx, meant)
}

type sweepsLive struct{ store.Store }

func (s sweepsLive) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	old, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{UpdatedBefore: before}, Limit: 100})
	if err != nil {
		return 0, err
	}
	var batch rating.Batch
	for _, r := range old {
		version := r.Version
		version.Offset++
		batch.Changes = append(batch.Changes, rating.Change{Key: r.Key, Version: version, Withdraw: true,
			At: r.UpdatedAt})
	}
	if _, err := s.ApplyRatings(ctx, batch); err != nil {
		return 0, err
	}
	return s.Store.SweepRatings(ctx, before, limit)
}

type sweepsAll struct{ store.Store }

func (s sweepsAll) SweepRatings(ctx context.Context, before time.Time, _ int) (int, error) {
	return s.Store.SweepRatings(ctx, before, 1000)
}

func (s sweepsAll) SweepSessions(ctx context.Context, before time.Time, _ int) (int, error) {
	return s.Store.SweepSessions(ctx, before, 1000)
}
