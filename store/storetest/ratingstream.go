package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingStream() []Check {
	return []Check{
		{"rating/installation", "Installation returns the identity of the database: 1 to 64 of a-z, 0-9 and " +
			"hyphen, made at random together with the database, for ever the same, and another one in every " +
			"other database.", ratingInstallation},
		{"rating/epoch", "StreamEpoch returns the epoch of a stream, for ever the same. A stream that it has " +
			"not seen before gets one greater than all before.", ratingEpoch},
		{"rating/epoch-race", "StreamEpoch returns the epoch of a stream, for ever the same.", ratingEpochRace},
		{"rating/epoch-known", "KnownEpoch returns the epoch that StreamEpoch has given a stream, and never " +
			"gives one.", ratingEpochKnown},
		{"rating/epoch-unknown",
			"A stream without an epoch is ErrNotFound, whatever bytes its name has.", ratingEpochUnknown},
		{"rating/lease",
			"ClaimLease reports whether the caller must run job for the time at. Of all callers with the same " +
				"job and time one gets true; a time before one that is already claimed is claimed by nobody.",
			ratingLease},
		{"rating/lease-race", "Of all callers with the same job and time one gets true", ratingLeaseRace},
		{"rating/lease-length",
			"While the lease of a claim runs, no later time is claimed, unless ReleaseLease has ended it.",
			ratingLeaseLease},
		{"rating/lease-release", "ReleaseLease ends the lease of the claim of job and at. Without such a " +
			"claim it does nothing.", ratingLeaseRelease},
	}
}

// installation is what identities are made of.
var installation = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

func ratingInstallation(ctx context.Context, s store.Store) error {
	const callers = 16
	got := make([]string, callers)
	err := together(callers, func(i int) (err error) {
		got[i], err = s.Installation(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if !installation.MatchString(got[0]) {
		return fmt.Errorf("the identity is %q", got[0])
	}
	for _, id := range got {
		if err := want("the identity, asked for again", id, got[0]); err != nil {
			return err
		}
	}
	return nil
}

// Installations checks that two stores, each with a database of its own, have different identities,
// as rating.Store says of Installation. Run checks it; it is no Check, because a Check has one
// store.
func Installations(ctx context.Context, a, b store.Store) error {
	first, err := a.Installation(ctx)
	if err != nil {
		return err
	}
	second, err := b.Installation(ctx)
	if err == nil && first == second {
		err = fmt.Errorf("two databases have the identity %q", first)
	}
	return err
}

func ratingEpoch(ctx context.Context, s store.Store) error {
	epochs := map[string]int64{}
	var last int64
	for range 5 {
		stream := newName()
		epoch, err := s.StreamEpoch(ctx, stream)
		if err != nil {
			return err
		}
		if epoch < 1 || epoch <= last {
			return fmt.Errorf("a new stream has the epoch %d, the one before it %d", epoch, last)
		}
		last, epochs[stream] = epoch, epoch
		for stream, wanted := range epochs {
			epoch, err := s.StreamEpoch(ctx, stream)
			if err := errors.Join(err, want("the epoch of a known stream", epoch, wanted)); err != nil {
				return err
			}
		}
	}
	return nil
}

func ratingEpochRace(ctx context.Context, s store.Store) error {
	streams := names(4)
	const callers = 16
	got := make([]int64, callers)
	err := together(callers, func(i int) (err error) {
		got[i], err = s.StreamEpoch(ctx, streams[i%len(streams)])
		return err
	})
	if err != nil {
		return err
	}
	seen := map[int64]string{}
	for i, epoch := range got {
		if err := want("the epoch of one stream, asked by several", epoch, got[i%len(streams)]); err != nil {
			return err
		}
		if other, ok := seen[epoch]; ok && other != streams[i%len(streams)] {
			return fmt.Errorf("two streams have the epoch %d", epoch)
		}
		seen[epoch] = streams[i%len(streams)]
	}
	return nil
}

func ratingEpochKnown(ctx context.Context, s store.Store) error {
	streams := names(3)
	unknown := func(when, stream string) error {
		_, err := s.KnownEpoch(ctx, stream)
		return wantError("the epoch of a stream "+when, err, rating.ErrNotFound)
	}
	var all error
	for _, stream := range streams {
		all = errors.Join(all, unknown("that has none", stream), unknown("that was asked for before", stream))
	}
	if all != nil {
		return all
	}
	for i, stream := range streams {
		given, err := s.StreamEpoch(ctx, stream)
		if err != nil {
			return err
		}
		known, err := s.KnownEpoch(ctx, stream)
		if err := errors.Join(err, want("the epoch of a stream that has got one", known, given)); err != nil {
			return err
		}
		for _, stream := range streams[i+1:] {
			if err := unknown("beside one that has got one", stream); err != nil {
				return err
			}
		}
	}
	// While one is given, it is there or not.
	stream := newName()
	const callers = 16
	got := make([]int64, callers)
	err := together(callers, func(i int) (err error) {
		if i == 0 {
			got[0], err = s.StreamEpoch(ctx, stream)
			return err
		}
		if got[i], err = s.KnownEpoch(ctx, stream); errors.Is(err, rating.ErrNotFound) {
			got[i], err = s.StreamEpoch(ctx, stream)
		}
		return err
	})
	for _, epoch := range got {
		err = errors.Join(err, want("the epoch of one stream, looked for while it is given", epoch, got[0]))
	}
	return err
}

func ratingEpochUnknown(ctx context.Context, s store.Store) error {
	for _, stream := range append(oddTexts(), "", newName()) {
		for range 2 {
			_, err := s.KnownEpoch(ctx, stream)
			if err := wantError(fmt.Sprintf("the epoch of the stream %.40q", stream), err,
				rating.ErrNotFound); err != nil {
				return err
			}
		}
	}
	return nil
}

// claim asks for a tick with a lease that does not end while a check runs, and compares the answer.
func claim(ctx context.Context, s rating.Store, job string, tick int, wanted bool) error {
	got, err := s.ClaimLease(ctx, job, at(tick), time.Hour)
	return errors.Join(err, want(fmt.Sprintf("the claim of tick %d", tick), got, wanted))
}

func ratingLease(ctx context.Context, s store.Store) error {
	job, other := newName(), newName()
	for _, step := range []struct {
		job    string
		tick   int
		wanted bool
	}{
		{job, 5, true}, {job, 5, false}, {job, 4, false}, {other, 4, true}, {job, 5, false}, {other, 3, false},
	} {
		if err := claim(ctx, s, step.job, step.tick, step.wanted); err != nil {
			return err
		}
	}
	if err := s.ReleaseLease(ctx, job, at(5)); err != nil {
		return err
	}
	// A time that is done stays done, and so do those before it.
	return errors.Join(claim(ctx, s, job, 5, false), claim(ctx, s, job, 4, false), claim(ctx, s, job, 6, true))
}

func ratingLeaseRace(ctx context.Context, s store.Store) error {
	job := newName()
	for tick := range 4 {
		won := make([]bool, 16)
		err := together(len(won), func(i int) (err error) {
			won[i], err = s.ClaimLease(ctx, job, at(tick), time.Hour)
			return err
		})
		if err != nil {
			return err
		}
		if err := oneWinner(won, func(int) error { return s.ReleaseLease(ctx, job, at(tick)) }); err != nil {
			return err
		}
	}
	return nil
}

func ratingLeaseLease(ctx context.Context, s store.Store) error {
	job := newName()
	if err := errors.Join(claim(ctx, s, job, 1, true), claim(ctx, s, job, 2, false)); err != nil {
		return err
	}
	// A refused claim is none: the time that it asked for is still to be had.
	if err := s.ReleaseLease(ctx, job, at(1)); err != nil {
		return err
	}
	ok, err := s.ClaimLease(ctx, job, at(2), 30*time.Millisecond)
	if err := errors.Join(err, want("the claim of tick 2", ok, true)); err != nil {
		return err
	}
	// This lease is short and nobody ends it.
	err = poll(ctx, "the end of a lease of 30 ms", func() (bool, error) {
		return s.ClaimLease(ctx, job, at(3), time.Hour)
	})
	return errors.Join(err, claim(ctx, s, job, 3, false), claim(ctx, s, job, 2, false), claim(ctx, s, job, 4, false))
}

func ratingLeaseRelease(ctx context.Context, s store.Store) error {
	job := newName()
	release := func(job string, tick int) error { return s.ReleaseLease(ctx, job, at(tick)) }
	return errors.Join(
		release(job, 1), // no claim at all
		claim(ctx, s, job, 1, true),
		release(job, 0), release(job, 2), release(newName(), 1), // not the claim
		claim(ctx, s, job, 2, false),
		release(job, 1),
		claim(ctx, s, job, 2, true),
		release(job, 1), // an earlier one, which somebody else has taken over from
		claim(ctx, s, job, 3, false),
		release(job, 2), release(job, 2),
		claim(ctx, s, job, 3, true),
	)
}
