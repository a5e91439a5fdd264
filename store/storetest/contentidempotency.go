package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store"
)

func contentRecords() []Check {
	return []Check{
		{"content/create-idempotent", "CreateContentIdempotent keeps c, as CreateContent does, and r together with " +
			"it, and returns r: both are kept or neither.", contentCreateIdempotent},
		{"content/create-idempotent-refused", "both are kept or neither.", contentCreateIdempotentRefused},
		{"content/create-idempotent-again", "If there is an IdempotencyRecord with r's author and key that is not " +
			"from before since, it keeps nothing and returns that record.", contentCreateIdempotentAgain},
		{"content/create-idempotent-later", "An older record is replaced by r.", contentCreateIdempotentLater},
		{"content/create-idempotent-race", "If there is an IdempotencyRecord with r's author and key that is not " +
			"from before since, it keeps nothing and returns that record.", contentCreateIdempotentRace},
		{"content/create-idempotent-race-later", "An older record is replaced by r.",
			contentCreateIdempotentRaceLater},
		{"content/idempotency-record", "IdempotencyRecordByKey returns the IdempotencyRecord with this " +
			"author and key, " +
			"also when its content is deleted. ErrNotFound: there is none.", contentRecord},
		{"content/idempotency-sweep", "SweepIdempotencyRecords removes at most limit IdempotencyRecords from " +
			"before the given time and returns how many. Their contents stay.", contentRecordSweep},
	}
}

// newIdempotencyRecord returns a record of c with a key and a request that nobody else has.
func newIdempotencyRecord(c content.Content) content.IdempotencyRecord {
	r := content.IdempotencyRecord{Author: c.Author, Content: c.ID, At: c.CreatedAt}
	mustRead(r.Key[:])
	mustRead(r.Request[:])
	return r
}

// createIdempotent fails unless the store then says that the key belongs to wanted.
func createIdempotent(ctx context.Context, s store.Store, c content.Content, r content.IdempotencyRecord,
	since time.Time, wanted content.IdempotencyRecord) error {
	kept, err := s.CreateContentIdempotent(ctx, c, r, since)
	if err := errors.Join(err, want("what CreateContentIdempotent returns", kept, wanted)); err != nil {
		return err
	}
	return wantRecord(ctx, s, wanted)
}

func wantRecord(ctx context.Context, s store.Store, wanted content.IdempotencyRecord) error {
	found, err := s.IdempotencyRecordByKey(ctx, wanted.Author, wanted.Key)
	return errors.Join(err, want("the creation", found, wanted))
}

func wantNoRecord(ctx context.Context, s store.Store, what string, r content.IdempotencyRecord) error {
	_, err := s.IdempotencyRecordByKey(ctx, r.Author, r.Key)
	return wantError("the creation of "+what, err, content.ErrNotFound)
}

// wantContents fails unless the author has these contents and no others.
func wantContents(ctx context.Context, s store.Store, author string, wanted ...content.Content) error {
	n, err := s.CountContents(ctx, content.Filter{Author: author}, 0)
	if err := errors.Join(err, want("contents of the author", n, int64(len(wanted)))); err != nil {
		return err
	}
	for _, c := range wanted {
		got, err := contentByID(ctx, s, c.ID)
		if err := errors.Join(err, want("the content", got, c)); err != nil {
			return err
		}
	}
	return nil
}

func contentCreateIdempotent(ctx context.Context, s store.Store) error {
	for i, t := range edges() {
		c := newContent(newName(), i)
		c.Title, c.CreatedAt, c.UpdatedAt, c.Version = fmt.Sprintf("Searched %d", i), t, at(2), 7
		r := newIdempotencyRecord(c)
		if err := errors.Join(createIdempotent(ctx, s, c, r, t, r), wantContents(ctx, s, c.Author, c)); err != nil {
			return fmt.Errorf("time %d: %w", i, err)
		}
		// It is as complete as any other: found by its words, listed by every order, and it can be
		// changed.
		for _, o := range orders() {
			listed, err := s.ListContents(ctx,
				content.Query{Filter: content.Filter{Author: c.Author, Terms: content.Terms(c.Title)}, Order: o,
					Limit: 2})
			if err != nil {
				return err
			}
			if len(listed) != 1 || listed[0].Content != c {
				return fmt.Errorf("the list by %v is %v, want the content", o, idsOf(listed))
			}
		}
		c.Version, c.Title = 8, "changed"
		if err := errors.Join(s.UpdateContent(ctx, c), wantContents(ctx, s, c.Author, c),
			wantRecord(ctx, s, r)); err != nil {
			return err
		}
	}
	return nil
}

// contentCreateIdempotentRefused: the key of what was refused is free, and one that an old creation
// has stays with that.
func contentCreateIdempotentRefused(ctx context.Context, s store.Store) error {
	taken, err := createContents(ctx, s, newName(), 2)
	if err != nil {
		return err
	}
	if err := s.DeleteContent(ctx, taken[1].ID, 0); err != nil {
		return err
	}
	author := newName()
	old := newContent(author, 1)
	kept := newIdempotencyRecord(old)
	if err := createIdempotent(ctx, s, old, kept, at(1), kept); err != nil {
		return err
	}
	for what, id := range map[string]string{"a taken identifier": taken[0].ID,
		"the identifier of a deleted content": taken[1].ID} {
		c := newContent(author, 2)
		c.ID = id
		r := newIdempotencyRecord(c)
		_, err := s.CreateContentIdempotent(ctx, c, r, at(1))
		if err := errors.Join(wantError(what, err, content.ErrConflict), wantNoRecord(ctx, s, what, r)); err != nil {
			return err
		}
		r.Key = kept.Key
		_, err = s.CreateContentIdempotent(ctx, c, r, at(2))
		if err := errors.Join(wantError(what+", with an old key", err, content.ErrConflict),
			wantRecord(ctx, s, kept)); err != nil {
			return err
		}
	}
	for _, odd := range oddTexts() {
		c := newContent(newName(), 3)
		c.Description = odd
		r := newIdempotencyRecord(c)
		_, err := s.CreateContentIdempotent(ctx, c, r, at(1))
		what := fmt.Sprintf("a content with the description %.40q", odd)
		switch no, err := refused(what, err); {
		case err != nil:
			return err
		case no:
			if err := errors.Join(wantNoRecord(ctx, s, what, r), wantContents(ctx, s, c.Author)); err != nil {
				return err
			}
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	c := newContent(author, 4)
	r := newIdempotencyRecord(c)
	if _, err := s.CreateContentIdempotent(cancelled, c, r, at(1)); err == nil {
		return errors.New("a call whose context is done: got no error")
	}
	return errors.Join(wantNoRecord(ctx, s, "a call whose context is done", r), wantContents(ctx, s, author, old))
}

func contentCreateIdempotentAgain(ctx context.Context, s store.Store) error {
	first := newContent(newName(), 10)
	kept := newIdempotencyRecord(first)
	if err := createIdempotent(ctx, s, first, kept, at(0), kept); err != nil {
		return err
	}
	for _, since := range []time.Time{at(0), at(10).Add(-time.Microsecond), at(10)} {
		c := newContent(first.Author, 20)
		r := newIdempotencyRecord(c)
		r.Key = kept.Key
		if err := createIdempotent(ctx, s, c, r, since, kept); err != nil {
			return err
		}
		// the very same again is no conflict
		if err := createIdempotent(ctx, s, first, kept, since, kept); err != nil {
			return err
		}
	}
	if err := wantContents(ctx, s, first.Author, first); err != nil {
		return err
	}
	// Neither another's key nor one that differs in a bit is this one.
	other := newContent(newName(), 10)
	r := newIdempotencyRecord(other)
	r.Key = kept.Key
	if err := errors.Join(createIdempotent(ctx, s, other, r, at(0), r),
		wantContents(ctx, s, other.Author, other)); err != nil {
		return err
	}
	second := newContent(first.Author, 11)
	r = newIdempotencyRecord(second)
	r.Key = kept.Key
	r.Key[len(r.Key)-1] ^= 1
	if err := createIdempotent(ctx, s, second, r, at(0), r); err != nil {
		return err
	}
	// A deleted content is not made again.
	if err := s.DeleteContent(ctx, first.ID, 0); err != nil {
		return err
	}
	third := newContent(first.Author, 12)
	r = newIdempotencyRecord(third)
	r.Key = kept.Key
	return errors.Join(createIdempotent(ctx, s, third, r, at(0), kept),
		wantContents(ctx, s, first.Author, second), wantRecord(ctx, s, kept))
}

func contentCreateIdempotentLater(ctx context.Context, s store.Store) error {
	first := newContent(newName(), 10)
	kept := newIdempotencyRecord(first)
	if err := createIdempotent(ctx, s, first, kept, at(0), kept); err != nil {
		return err
	}
	second := newContent(first.Author, 20)
	r := newIdempotencyRecord(second)
	r.Key = kept.Key
	if err := createIdempotent(ctx, s, second, r, at(10).Add(time.Microsecond), r); err != nil {
		return err
	}
	return errors.Join(createIdempotent(ctx, s, first, kept, at(10).Add(time.Microsecond), r),
		wantContents(ctx, s, first.Author, first, second))
}

func contentCreateIdempotentRace(ctx context.Context, s store.Store) error {
	return raceForKey(ctx, s, newIdempotencyRecord(newContent(newName(), 0)), at(0), 0)
}

func contentCreateIdempotentRaceLater(ctx context.Context, s store.Store) error {
	old := newContent(newName(), 0)
	kept := newIdempotencyRecord(old)
	if err := createIdempotent(ctx, s, old, kept, at(0), kept); err != nil {
		return err
	}
	if err := raceForKey(ctx, s, kept, at(1), 1); err != nil {
		return err
	}
	got, err := contentByID(ctx, s, old.ID)
	return errors.Join(err, want("the old content", got, old))
}

// raceForKey lets many create at once with the author and the key of r, and some with the key for
// another author. It expects that each author gets one content more, of which r's has some already.
func raceForKey(ctx context.Context, s store.Store, r content.IdempotencyRecord, since time.Time, there int64) error {
	const callers = 24
	authors := []string{r.Author, r.Author, newName()}
	made, kept := make([]content.IdempotencyRecord, callers), make([]content.IdempotencyRecord, callers)
	err := together(callers, func(i int) (err error) {
		c := newContent(authors[i%len(authors)], i+1)
		made[i] = newIdempotencyRecord(c)
		made[i].Key = r.Key
		kept[i], err = s.CreateContentIdempotent(ctx, c, made[i], since)
		return err
	})
	if err != nil {
		return err
	}
	winner := map[string]content.IdempotencyRecord{}
	for i, m := range made {
		if kept[i] != m {
			continue
		}
		if _, twice := winner[m.Author]; twice {
			return errors.New("two callers with one key have made a content")
		}
		winner[m.Author] = m
	}
	for i, m := range made {
		if err := want("what CreateContentIdempotent returns", kept[i], winner[m.Author]); err != nil {
			return err
		}
	}
	for author, wanted := range map[string]int64{r.Author: there + 1, authors[2]: 1} {
		n, err := s.CountContents(ctx, content.Filter{Author: author}, 0)
		if err := errors.Join(err, want("contents of an author", n, wanted),
			wantRecord(ctx, s, winner[author])); err != nil {
			return err
		}
		if _, err := contentByID(ctx, s, winner[author].Content); err != nil {
			return err
		}
	}
	return nil
}

func contentRecord(ctx context.Context, s store.Store) error {
	c := newContent(newName(), 1)
	r := newIdempotencyRecord(c)
	if err := wantNoRecord(ctx, s, "what was never made", r); err != nil {
		return err
	}
	if err := createIdempotent(ctx, s, c, r, at(0), r); err != nil {
		return err
	}
	other := r
	other.Author = newName()
	if err := wantNoRecord(ctx, s, "another author with the key", other); err != nil {
		return err
	}
	other = newIdempotencyRecord(c)
	if err := wantNoRecord(ctx, s, "the author with another key", other); err != nil {
		return err
	}
	plain := newContent(c.Author, 2)
	if err := errors.Join(s.CreateContent(ctx, plain), s.DeleteContent(ctx, c.ID, 0),
		wantRecord(ctx, s, r)); err != nil {
		return err
	}
	return wantContents(ctx, s, c.Author, plain)
}

// contentRecordSweep works with times of long ago, which no other check uses.
func contentRecordSweep(ctx context.Context, s store.Store) error {
	border := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	author := newName()
	var all []content.Content
	var records []content.IdempotencyRecord
	for i := range 7 {
		c := newContent(author, i)
		c.CreatedAt = border.Add(time.Duration(i-4) * time.Microsecond)
		r := newIdempotencyRecord(c)
		if err := createIdempotent(ctx, s, c, r, border.Add(-time.Hour), r); err != nil {
			return err
		}
		all, records = append(all, c), append(records, r)
	}
	for _, wanted := range []int{3, 1, 0} {
		n, err := s.SweepIdempotencyRecords(ctx, border, 3)
		if err := errors.Join(err, want("creations swept, 3 at a time", n, wanted)); err != nil {
			return err
		}
	}
	for i, r := range records {
		var err error
		if i < 4 {
			err = wantNoRecord(ctx, s, "what was swept", r)
		} else {
			err = wantRecord(ctx, s, r)
		}
		if err != nil {
			return err
		}
	}
	if err := wantContents(ctx, s, author, all...); err != nil {
		return err
	}
	// A key that was swept is free.
	c := newContent(author, 8)
	r := newIdempotencyRecord(c)
	r.Key = records[0].Key
	return createIdempotent(ctx, s, c, r, at(0), r)
}
