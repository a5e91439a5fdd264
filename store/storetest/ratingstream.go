package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingStream() []Check {
	return []Check{
		{"rating/epoch", "StreamEpoch returns the epoch of a stream, for ever the same. A stream that it has not seen before gets one greater than all before.", ratingEpoch},
		{"rating/epoch-race", "StreamEpoch returns the epoch of a stream, for ever the same.", ratingEpochRace},
		{"rating/tick", "ClaimTick reports whether the caller shall do what job does at the time at. Of all callers that ask for one job and time one is told so; a time before one already claimed is nobody's.", ratingTick},
		{"rating/tick-race", "Of all callers that ask for one job and time one is told so", ratingTickRace},
		{"rating/tick-lease", "While a claim's lease runs, no later time is claimed, unless ReleaseTick has ended it.", ratingTickLease},
		{"rating/tick-release", "ReleaseTick ends the lease of the claim of job and at. Without such a claim it does nothing.", ratingTickRelease},
		{"rating/rejected", "A message that is recorded already is recorded once.", ratingRejected},
		{"rating/rejected-race", "A message that is recorded already is recorded once.", ratingRejectedRace},
		{"rating/rejected-id", "ID is given by the store; later ones are greater.", ratingRejectedID},
		{"rating/rejected-list", "ListRejected returns at most q.Limit rejected messages that match, in ascending order of ID, after q.After.", ratingRejectedList},
		{"rating/rejected-remove", "RemoveRejected removes rejected messages. Missing ones are no error.", ratingRejectedRemove},
		{"rating/sweep", "SweepRatings removes at most limit withdrawn ratings and rejected messages from before the given time and returns how many.", ratingSweep},
	}
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

// claim asks for a tick with a lease that does not end while a check runs, and compares the answer.
func claim(ctx context.Context, s rating.Store, job string, tick int, wanted bool) error {
	got, err := s.ClaimTick(ctx, job, at(tick), time.Hour)
	return errors.Join(err, want(fmt.Sprintf("the claim of tick %d", tick), got, wanted))
}

func ratingTick(ctx context.Context, s store.Store) error {
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
	if err := s.ReleaseTick(ctx, job, at(5)); err != nil {
		return err
	}
	// A time that is done stays done, and so do those before it.
	return errors.Join(claim(ctx, s, job, 5, false), claim(ctx, s, job, 4, false), claim(ctx, s, job, 6, true))
}

func ratingTickRace(ctx context.Context, s store.Store) error {
	job := newName()
	for tick := range 4 {
		won := make([]bool, 16)
		err := together(len(won), func(i int) (err error) {
			won[i], err = s.ClaimTick(ctx, job, at(tick), time.Hour)
			return err
		})
		if err != nil {
			return err
		}
		if err := oneWinner(won, func(int) error { return s.ReleaseTick(ctx, job, at(tick)) }); err != nil {
			return err
		}
	}
	return nil
}

func ratingTickLease(ctx context.Context, s store.Store) error {
	job := newName()
	if err := errors.Join(claim(ctx, s, job, 1, true), claim(ctx, s, job, 2, false)); err != nil {
		return err
	}
	// A refused claim is none: the time that it asked for is still to be had.
	if err := s.ReleaseTick(ctx, job, at(1)); err != nil {
		return err
	}
	ok, err := s.ClaimTick(ctx, job, at(2), 30*time.Millisecond)
	if err := errors.Join(err, want("the claim of tick 2", ok, true)); err != nil {
		return err
	}
	// This lease is short and nobody ends it.
	err = poll(ctx, "the end of a lease of 30 ms", func() (bool, error) {
		return s.ClaimTick(ctx, job, at(3), time.Hour)
	})
	return errors.Join(err, claim(ctx, s, job, 3, false), claim(ctx, s, job, 2, false), claim(ctx, s, job, 4, false))
}

func ratingTickRelease(ctx context.Context, s store.Store) error {
	job := newName()
	release := func(job string, tick int) error { return s.ReleaseTick(ctx, job, at(tick)) }
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

// newRejected returns a rejected message with this key; the number is its offset and gives its time.
func newRejected(key string, n int) rating.Rejected {
	return rating.Rejected{
		Position: queue.Position{Stream: "stream-" + key, Offset: int64(n)}, Key: key, Body: []byte(fmt.Sprintf("body %d", n)),
		Reason: "undecodable", Detail: "شرح: it is no JSON\n", At: at(n),
	}
}

func reject(ctx context.Context, s rating.Store, rejected ...rating.Rejected) error {
	_, err := s.ApplyRatings(ctx, rating.Batch{Rejected: rejected})
	return err
}

// sameRejected compares what a worker hands in with what is stored, but for the ID.
func sameRejected(a, b rating.Rejected) bool {
	return a.Position == b.Position && a.Key == b.Key && bytes.Equal(a.Body, b.Body) && a.Reason == b.Reason && a.Detail == b.Detail && a.At == b.At
}

func listRejected(ctx context.Context, s rating.Store, key string) ([]rating.Rejected, error) {
	return s.ListRejected(ctx, rating.RejectedQuery{Key: key, Limit: 1000})
}

func wantRejected(ctx context.Context, s rating.Store, q rating.RejectedQuery, wanted ...rating.Rejected) error {
	got, err := s.ListRejected(ctx, q)
	if err != nil {
		return err
	}
	if len(got) != len(wanted) {
		return fmt.Errorf("%#v: %d rejected messages, want %d", q, len(got), len(wanted))
	}
	for i := range got {
		if !sameRejected(got[i], wanted[i]) {
			return fmt.Errorf("%#v: rejected message %d is %#v, want %#v", q, i, got[i], wanted[i])
		}
	}
	return nil
}

func ratingRejected(ctx context.Context, s store.Store) error {
	key := newName()
	first, second := newRejected(key, 1), newRejected(key, 2)
	first.Body = []byte{0, 0xff, '{', 0x80, 0}
	second.Body = bytes.Repeat([]byte{0, 1, 2, 255}, 16<<10) // 64 KiB
	// The same message, found wrong in another way the second time: what is recorded stays.
	again := first
	again.Reason, again.Detail, again.Body, again.At = "another", "another", nil, at(9)
	k := newKey()
	batch := rating.Batch{Changes: []rating.Change{change(k, 1, 4)}, Rejected: []rating.Rejected{first, first}}
	if _, err := s.ApplyRatings(ctx, batch); err != nil {
		return err
	}
	if err := reject(ctx, s, again, second); err != nil {
		return err
	}
	if err := reject(ctx, s, second, first); err != nil {
		return err
	}
	if err := wantRejected(ctx, s, rating.RejectedQuery{Key: key, Limit: 9}, first, second); err != nil {
		return err
	}
	// Position and key together name a message: with another key, stream or offset it is another one.
	otherKey, otherStream := newRejected(newName(), 1), newRejected(key, 1)
	otherKey.Position = first.Position
	otherStream.Position.Stream += "-2"
	if err := reject(ctx, s, otherKey, otherStream); err != nil {
		return err
	}
	if _, ok, err := ratingByKey(ctx, s, k); err != nil || !ok {
		return fmt.Errorf("the change beside a rejected message is there: %t, %w", ok, err)
	}
	return errors.Join(
		wantRejected(ctx, s, rating.RejectedQuery{Key: key, Limit: 9}, first, second, otherStream),
		wantRejected(ctx, s, rating.RejectedQuery{Key: otherKey.Key, Limit: 9}, otherKey),
	)
}

func ratingRejectedRace(ctx context.Context, s store.Store) error {
	key := newName()
	err := together(8, func(i int) error {
		return reject(ctx, s, newRejected(key, 1+i%3), newRejected(key, 1+(i+1)%3), newRejected(key, 1+(i+2)%3))
	})
	if err != nil {
		return err
	}
	got, err := listRejected(ctx, s, key)
	return errors.Join(err, want("records of 3 messages that 8 callers rejected", len(got), 3))
}

func ratingRejectedID(ctx context.Context, s store.Store) error {
	key := newName()
	var last int64
	for n := range 6 {
		r := newRejected(key, n)
		r.ID = 1 << 40 // not for the caller to say
		if err := reject(ctx, s, r); err != nil {
			return err
		}
		got, err := listRejected(ctx, s, key)
		if err != nil {
			return err
		}
		newest := got[len(got)-1]
		if newest.Position.Offset != int64(n) || newest.ID <= last || newest.ID == r.ID {
			return fmt.Errorf("message %d has the ID %d, the one before it %d", n, newest.ID, last)
		}
		last = newest.ID
		// An ID is not given again, not even that of the last one.
		if n%2 == 1 {
			if err := s.RemoveRejected(ctx, []int64{last}); err != nil {
				return err
			}
		}
	}
	return nil
}

func ratingRejectedList(ctx context.Context, s store.Store) error {
	key, other := newName(), newName()
	var all []rating.Rejected
	for n := range 7 {
		r := newRejected(key, n)
		if err := reject(ctx, s, r, newRejected(other, n)); err != nil {
			return err
		}
		all = append(all, r)
	}
	got, err := listRejected(ctx, s, key)
	if err != nil {
		return err
	}
	for i := range got {
		if i > 0 && got[i].ID <= got[i-1].ID {
			return errors.New("the rejected messages are not in ascending order of ID")
		}
	}
	if err := want("rejected messages of the key", len(got), len(all)); err != nil {
		return err
	}
	var paged []rating.Rejected
	q := rating.RejectedQuery{Key: key, Limit: 3}
	for {
		page, err := s.ListRejected(ctx, q)
		if err != nil {
			return err
		}
		if len(page) > q.Limit {
			return fmt.Errorf("a page of %d, at most %d", len(page), q.Limit)
		}
		paged = append(paged, page...)
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].ID
	}
	if err := want("rejected messages in pages", len(paged), len(all)); err != nil {
		return err
	}
	for i, r := range paged {
		if r.ID != got[i].ID {
			return fmt.Errorf("place %d in pages is the message %d, want %d", i, r.ID, got[i].ID)
		}
	}
	position := all[4].Position
	none := position
	none.Offset = 99
	return errors.Join(
		wantRejected(ctx, s, rating.RejectedQuery{Key: key, Limit: 9}, all...),
		wantRejected(ctx, s, rating.RejectedQuery{Position: position, Limit: 9}, all[4]),
		wantRejected(ctx, s, rating.RejectedQuery{Position: all[0].Position, Limit: 9}, all[0]),
		wantRejected(ctx, s, rating.RejectedQuery{Key: key, Position: position, Limit: 9}, all[4]),
		wantRejected(ctx, s, rating.RejectedQuery{Key: other, Position: position, Limit: 9}),
		wantRejected(ctx, s, rating.RejectedQuery{Position: none, Limit: 9}),
		wantRejected(ctx, s, rating.RejectedQuery{Key: key, Position: position, After: got[4].ID, Limit: 9}),
		wantRejected(ctx, s, rating.RejectedQuery{Key: newName(), Limit: 9}),
	)
}

func ratingRejectedRemove(ctx context.Context, s store.Store) error {
	key := newName()
	all := []rating.Rejected{newRejected(key, 0), newRejected(key, 1), newRejected(key, 2), newRejected(key, 3)}
	if err := reject(ctx, s, all...); err != nil {
		return err
	}
	got, err := listRejected(ctx, s, key)
	if err := errors.Join(err, want("rejected messages", len(got), 4)); err != nil {
		return err
	}
	ids := []int64{got[1].ID, 1 << 60, got[3].ID, got[1].ID}
	for range 2 {
		if err := s.RemoveRejected(ctx, ids); err != nil {
			return err
		}
	}
	q := rating.RejectedQuery{Key: key, Limit: 9}
	if err := errors.Join(s.RemoveRejected(ctx, nil), wantRejected(ctx, s, q, all[0], all[2])); err != nil {
		return err
	}
	// A message that was removed and comes again is a new one.
	return errors.Join(reject(ctx, s, all[3], all[0]), wantRejected(ctx, s, q, all[0], all[2], all[3]))
}

// ratingSweep works with times of long ago, which no other check uses. A withdrawn rating is as old as its withdrawal.
func ratingSweep(ctx context.Context, s store.Store) error {
	ancient := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	border := ancient.Add(time.Hour)
	id, message := newName(), newName()
	b, r := book{}, dice(61)
	var batch rating.Batch
	add := func(c rating.Change, after time.Duration) rating.Key {
		c.At = ancient.Add(after)
		batch.Changes = append(batch.Changes, c)
		b.apply(c)
		return c.Key
	}
	key := func() rating.Key { return rating.Key{Content: id, Rater: newName()} }
	var old []rating.Key
	for range 5 {
		old = append(old, add(withdrawal(key(), 2), time.Duration(r.IntN(3000))*time.Second))
	}
	old = append(old, add(withdrawal(key(), 2), time.Hour-time.Microsecond))
	for range 3 {
		add(change(key(), 2, 4), time.Minute) // old, but not withdrawn
	}
	add(withdrawal(key(), 2), time.Hour)
	add(withdrawal(key(), 2), 2*time.Hour)
	for n := range 5 {
		rejected := newRejected(message, n)
		rejected.At = ancient.Add(time.Duration(n) * 20 * time.Minute) // three of them before the border, the fourth at it
		batch.Rejected = append(batch.Rejected, rejected)
	}
	if _, err := s.ApplyRatings(ctx, batch); err != nil {
		return err
	}
	au := newAudit([]string{id})
	if err := au.check(ctx, s); err != nil {
		return err
	}
	total := 0
	for {
		n, err := s.SweepRatings(ctx, border, 4)
		if err != nil {
			return err
		}
		if n > 4 {
			return fmt.Errorf("%d are swept, at most 4", n)
		}
		if total += n; n == 0 {
			break
		}
		// It is true that so many are gone.
		gone := 0
		for _, k := range old {
			_, ok, err := ratingByKey(ctx, s, k)
			if err != nil {
				return err
			}
			if !ok {
				gone++
			}
		}
		left, err := listRejected(ctx, s, message)
		if err != nil {
			return err
		}
		if gone += len(batch.Rejected) - len(left); gone != total {
			return fmt.Errorf("%d are said to be swept, gone are %d", total, gone)
		}
	}
	for _, k := range old {
		delete(b, k)
	}
	if err := want("swept in all", total, len(old)+3); err != nil {
		return err
	}
	return errors.Join(
		b.check(ctx, s),
		wantRejected(ctx, s, rating.RejectedQuery{Key: message, Limit: 9}, batch.Rejected[3:]...),
		au.check(ctx, s),
	)
}
