package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingDeadLetters() []Check {
	return []Check{
		{"rating/dead-letter", "A message that is recorded already is recorded once.", ratingDeadLetter},
		{"rating/dead-letter-race", "A message that is recorded already is recorded once.", ratingDeadLetterRace},
		{"rating/dead-letter-id", "ID is given by the store; later ones are greater.", ratingDeadLetterID},
		{"rating/dead-letter-list", "ListDeadLetters returns at most q.Limit dead letters that match, in " +
			"ascending order of ID, after q.After.", ratingDeadLetterList},
		{"rating/dead-letter-bytes",
			"It always accepts dead letters, whatever bytes their keys, bodies and details have: there is no " +
				"other place for them.", ratingDeadLetterBytes},
		{"rating/unstorable", "ErrUnstorable: the database will never take one of the changes.", ratingUnstorable},
		{"rating/dead-letter-remove", "DeleteDeadLetters removes dead letters. Missing ones are no error.",
			ratingDeadLetterRemove},
		{"rating/sweep-forgotten",
			"It also removes, in pieces, the rows that deleted and erased contents have left; these are not " +
				"visible, so they do not count.", ratingSweepForgotten},
		{"rating/sweep",
			"SweepRatings removes at most limit tombstones, dead letters and erasures from before the given " +
				"time and returns how many.", ratingSweep},
	}
}

// newDeadLetter returns a dead letter with this key; the number is its offset and gives its time.
func newDeadLetter(key string, n int) rating.DeadLetter {
	return rating.DeadLetter{
		Position: queue.Position{Stream: "stream-" + key, Offset: int64(n)}, Key: key,
		Body:   []byte(fmt.Sprintf("body %d", n)),
		Reason: "undecodable", Detail: "شرح: it is no JSON\n", At: at(n),
	}
}

func reject(ctx context.Context, s rating.Store, rejected ...rating.DeadLetter) error {
	_, err := s.ApplyRatings(ctx, rating.Batch{DeadLetters: rejected})
	return err
}

// sameDeadLetters compares what a worker hands in with what is stored, but for the ID.
func sameDeadLetters(a, b rating.DeadLetter) bool {
	type rest struct {
		position            queue.Position
		key, reason, detail string
		at                  time.Time
	}
	return rest{a.Position, a.Key, a.Reason, a.Detail, a.At} == rest{b.Position, b.Key, b.Reason, b.Detail,
		b.At} && bytes.Equal(a.Body, b.Body)
}

func listDeadLetters(ctx context.Context, s rating.Store, key string) ([]rating.DeadLetter, error) {
	return s.ListDeadLetters(ctx, rating.DeadLetterQuery{Key: key, Limit: 1000})
}

func wantDeadLetters(ctx context.Context, s rating.Store, q rating.DeadLetterQuery,
	wanted ...rating.DeadLetter) error {
	got, err := s.ListDeadLetters(ctx, q)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(got, wanted, sameDeadLetters) {
		return fmt.Errorf("%s: the dead letters are %s, want %s", show(q), show(got), show(wanted))
	}
	return nil
}

func ratingDeadLetter(ctx context.Context, s store.Store) error {
	key := newName()
	first, second := newDeadLetter(key, 1), newDeadLetter(key, 2)
	first.Body = []byte{0, 0xff, '{', 0x80, 0}
	second.Body = bytes.Repeat([]byte{0, 1, 2, 255}, 16<<10) // 64 KiB
	// The same message, found wrong in another way the second time: what is recorded stays.
	again := first
	again.Reason, again.Detail, again.Body, again.At = "another", "another", nil, at(9)
	k := newKey()
	batch := rating.Batch{Changes: []rating.Change{change(k, 1, 4)}, DeadLetters: []rating.DeadLetter{first, first}}
	if _, err := s.ApplyRatings(ctx, batch); err != nil {
		return err
	}
	if err := reject(ctx, s, again, second); err != nil {
		return err
	}
	if err := reject(ctx, s, second, first); err != nil {
		return err
	}
	if err := wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: key, Limit: 9}, first, second); err != nil {
		return err
	}
	// Position and key together name a message: with another key, stream or offset it is another one.
	otherKey, otherStream := newDeadLetter(newName(), 1), newDeadLetter(key, 1)
	otherKey.Position = first.Position
	otherStream.Position.Stream += "-2"
	if err := reject(ctx, s, otherKey, otherStream); err != nil {
		return err
	}
	if _, ok, err := ratingByKey(ctx, s, k); err != nil || !ok {
		return fmt.Errorf("the change beside a dead letter is there: %t, %w", ok, err)
	}
	return errors.Join(
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: key, Limit: 9}, first, second, otherStream),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: otherKey.Key, Limit: 9}, otherKey),
	)
}

func ratingDeadLetterRace(ctx context.Context, s store.Store) error {
	key := newName()
	err := together(8, func(i int) error {
		return reject(ctx, s, newDeadLetter(key, 1+i%3), newDeadLetter(key, 1+(i+1)%3), newDeadLetter(key, 1+(i+2)%3))
	})
	if err != nil {
		return err
	}
	got, err := listDeadLetters(ctx, s, key)
	return errors.Join(err, want("records of 3 messages that 8 callers rejected", len(got), 3))
}

func ratingDeadLetterID(ctx context.Context, s store.Store) error {
	key := newName()
	var last int64
	for n := range 6 {
		r := newDeadLetter(key, n)
		r.ID = 1 << 40 // not for the caller to say
		if err := reject(ctx, s, r); err != nil {
			return err
		}
		got, err := listDeadLetters(ctx, s, key)
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
			if err := s.DeleteDeadLetters(ctx, []int64{last}); err != nil {
				return err
			}
		}
	}
	return nil
}

func ratingDeadLetterList(ctx context.Context, s store.Store) error {
	key, other := newName(), newName()
	var all []rating.DeadLetter
	for n := range 7 {
		r := newDeadLetter(key, n)
		if err := reject(ctx, s, r, newDeadLetter(other, n)); err != nil {
			return err
		}
		all = append(all, r)
	}
	got, err := listDeadLetters(ctx, s, key)
	if err != nil {
		return err
	}
	for i := range got {
		if i > 0 && got[i].ID <= got[i-1].ID {
			return errors.New("the dead letters are not in ascending order of ID")
		}
	}
	if err := want("dead letters of the key", len(got), len(all)); err != nil {
		return err
	}
	var paged []rating.DeadLetter
	q := rating.DeadLetterQuery{Key: key, Limit: 3}
	for {
		page, err := s.ListDeadLetters(ctx, q)
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
	if err := want("dead letters in pages", len(paged), len(all)); err != nil {
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
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: key, Limit: 9}, all...),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Position: position, Limit: 9}, all[4]),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Position: all[0].Position, Limit: 9}, all[0]),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: key, Position: position, Limit: 9}, all[4]),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: other, Position: position, Limit: 9}),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Position: none, Limit: 9}),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: key, Position: position, After: got[4].ID, Limit: 9}),
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: newName(), Limit: 9}),
	)
}

func ratingDeadLetterRemove(ctx context.Context, s store.Store) error {
	key := newName()
	all := []rating.DeadLetter{newDeadLetter(key, 0), newDeadLetter(key, 1), newDeadLetter(key, 2),
		newDeadLetter(key, 3)}
	if err := reject(ctx, s, all...); err != nil {
		return err
	}
	got, err := listDeadLetters(ctx, s, key)
	if err := errors.Join(err, want("dead letters", len(got), 4)); err != nil {
		return err
	}
	ids := []int64{got[1].ID, 1 << 60, got[3].ID, got[1].ID}
	for range 2 {
		if err := s.DeleteDeadLetters(ctx, ids); err != nil {
			return err
		}
	}
	q := rating.DeadLetterQuery{Key: key, Limit: 9}
	if err := errors.Join(s.DeleteDeadLetters(ctx, nil), wantDeadLetters(ctx, s, q, all[0], all[2])); err != nil {
		return err
	}
	// A message that was removed and comes again is a new one.
	return errors.Join(reject(ctx, s, all[3], all[0]), wantDeadLetters(ctx, s, q, all[0], all[2], all[3]))
}

// ratingSweep works with times of long ago, which no other check uses. A withdrawn rating is as old
// as its withdrawal.
func ratingSweepForgotten(ctx context.Context, s store.Store) error {
	gone := newName()
	return removeMany(ctx, s, gone, func() error { return s.EraseContent(ctx, gone) })
}

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
		rejected := newDeadLetter(message, n)
		// three of them before the border, the fourth at it
		rejected.At = ancient.Add(time.Duration(n) * 20 * time.Minute)
		batch.DeadLetters = append(batch.DeadLetters, rejected)
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
		left, err := listDeadLetters(ctx, s, message)
		if err != nil {
			return err
		}
		if gone += len(batch.DeadLetters) - len(left); gone != total {
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
		wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: message, Limit: 9}, batch.DeadLetters[3:]...),
		au.check(ctx, s),
	)
}
