package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// contentBounds and ratingBounds return the checks of how much lists and counts may cost.
func contentBounds() []Check {
	return []Check{
		{"content/bound", "ErrTooBroad: to find them it would have to look at many more than q.MaxRows rows. " +
			"It never leaves a match out instead.", contentBound},
		{"content/bound-all", "A list without a filter is never too broad, in any order, and neither is one " +
			"whose author, one of whose words, or one of whose spans of time (created, updated) at most " +
			"q.MaxRows contents have.", contentBoundAll},
		{"content/bound-narrow", "A list without a filter is never too broad, in any order, and neither is " +
			"one whose author, one of whose words, or one of whose spans of time (created, updated) at most " +
			"q.MaxRows contents have.", contentBoundNarrow},
		{"content/bound-count", "CountContents returns how many contents match f, and maxRows+1 if more than " +
			"maxRows do. ErrTooBroad: to count them it would have to look at many more than maxRows rows. A " +
			"count is never too broad without a filter, with an author, a word or a span of time alone, or " +
			"where at most maxRows contents have one of these. A maxRows of 0 bounds nothing.", contentBoundCount},
	}
}

func ratingBounds() []Check {
	return []Check{
		{"rating/bound",
			"ErrTooBroad: to find them it would have to read many more than q.MaxRows rows. It never leaves a " +
				"match out instead.", ratingBound},
		{"rating/bound-served",
			"Never too broad are: a list without a filter, in any order; a list of one content in the order " +
				"ByKey; a list of one rater in the orders by time; and a list whose content, rater or span of " +
				"time at most q.MaxRows ratings have.", ratingBoundServed},
		{"rating/bound-count",
			"CountRatings returns how many ratings that are not withdrawn match f, and maxRows+1 if more than " +
				"maxRows do. ErrTooBroad: to count them it would have to read many more than maxRows rows. A " +
				"count is never too broad without a filter, with a content, a rater or a span of time alone, or " +
				"where at most maxRows ratings have one of these. A maxRows of 0 means no bound.", ratingBoundCount},
	}
}

// few is the MaxRows of these checks, and many more is what most filters match.
const few = 5

// checkBounded pages through a list with MaxRows few. It reports whether the list was too broad,
// and an error if that is not allowed or a piece is not what it must be.
func (sh shelf) checkBounded(ctx context.Context, s content.Store, f content.Filter, o content.Order, limit int,
	allowed bool) (broad bool, err error) {
	wanted := sh.find(f, o)
	q := content.Query{Filter: f, Order: o, Limit: limit, MaxRows: few}
	for {
		page, err := s.ListContents(ctx, q)
		if allowed && errors.Is(err, content.ErrTooBroad) {
			return true, nil
		}
		end := min(limit, len(wanted))
		if err == nil && !slices.Equal(contentsOf(page), wanted[:end]) {
			err = fmt.Errorf("a page is %v, want %v", idsOf(page), wanted[:end])
		}
		if err != nil {
			return false, fmt.Errorf("%s by %s, descending %t, in pages of %d: %w", show(f), o.Field, o.Desc,
				limit, err)
		}
		if wanted = wanted[end:]; len(page) < limit {
			return false, nil
		}
		q.After = &page[len(page)-1].Cursor
	}
}

// wide stores 60 contents of one author and rates them, so that every word and every time stands in
// many of them.
func wide(ctx context.Context, s store.Store) (shelf, string, error) {
	author := newName()
	sh, err := newRatedShelf(ctx, s, 81, 60, []string{author})
	return sh, author, err
}

func contentBound(ctx context.Context, s store.Store) error {
	sh, author, err := wide(ctx, s)
	if err != nil {
		return err
	}
	low, high := 2.0, 99.0
	for _, f := range []content.Filter{
		{Author: author}, {Author: author, Terms: []string{"red"}},
		{Author: author, Terms: []string{"green", "blue"}}, {Author: author, ScoreMin: &low},
		{Author: author, CreatedFrom: at(2)}, {Author: author, UpdatedBefore: at(3)},
		{Author: author, RatingsMin: 2, CreatedBefore: at(4)},
	} {
		for _, o := range orders() {
			for _, limit := range []int{1, 4} {
				if _, err := sh.checkBounded(ctx, s, f, o, limit, true); err != nil {
					return err
				}
			}
		}
	}
	// Whoever says that there is none has looked at all.
	f := content.Filter{Author: author, ScoreMin: &high, RatingsMin: 2}
	broad, err := sh.checkBounded(ctx, s, f, content.Order{Field: content.ByTitle}, 4, true)
	if err == nil && !broad {
		err = fmt.Errorf("it looked at more than %d rows to find nothing", few)
	}
	if _, count := s.CountContents(ctx, f, few); err == nil && !errors.Is(count, content.ErrTooBroad) {
		err = fmt.Errorf("it looked at more than %d rows to count nothing: %w", few, count)
	}
	return err
}

func contentBoundAll(ctx context.Context, s store.Store) error {
	if _, _, err := wide(ctx, s); err != nil {
		return err
	}
	for _, o := range orders() {
		listed, err := allContents(ctx, s, content.Query{Order: o, Limit: 7, MaxRows: few})
		if err != nil {
			return fmt.Errorf("by %s, descending %t: %w", o.Field, o.Desc, err)
		}
		if len(listed) < 60 {
			return fmt.Errorf("by %s, descending %t: %d contents, of 60 at least", o.Field, o.Desc, len(listed))
		}
	}
	return nil
}

// contentBoundNarrow combines a condition that few contents have with some that many have.
func contentBoundNarrow(ctx context.Context, s store.Store) error {
	sh, author, err := wide(ctx, s)
	if err != nil {
		return err
	}
	other, word := newName(), strings.ToLower(newUUID()[:8])+"x"
	alone := time.Date(1999, 1, 1, 0, 0, 0, 0,
		time.UTC).Add(time.Duration(dice(82).Int64N(int64(time.Hour)))).Truncate(time.Microsecond)
	for i := range few {
		c := newContent(other, i)
		c.Title, c.Description = fmt.Sprintf("%d red", i%2), "green "+word
		c.CreatedAt, c.UpdatedAt = alone, alone.Add(time.Minute)
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
		sh.contents = append(sh.contents, c)
	}
	low := 1.0
	for _, f := range []content.Filter{
		{Author: other}, {Author: other, Terms: []string{"red"}},
		{Author: other, Terms: []string{"red", "green"}, UpdatedBefore: at(4)}, {Author: other, ScoreMin: &low},
		{Terms: []string{word}}, {Terms: []string{"red", word, "green"}}, {Terms: []string{word, "blue"}},
		{Author: author, Terms: []string{word}}, {Terms: []string{word}, ScoreMin: &low},
		{CreatedFrom: alone, CreatedBefore: alone.Add(time.Microsecond)},
		{CreatedFrom: alone, CreatedBefore: alone.Add(time.Hour), Terms: []string{"red"}},
		{UpdatedFrom: alone, UpdatedBefore: alone.Add(time.Hour)},
		{UpdatedFrom: alone, UpdatedBefore: alone.Add(time.Hour), Author: author},
	} {
		for _, o := range orders() {
			if _, err := sh.checkBounded(ctx, s, f, o, 2, false); err != nil {
				return err
			}
		}
		n, err := s.CountContents(ctx, f, few)
		if err := errors.Join(err, want("contents that match "+show(f), n,
			int64(len(sh.find(f, orders()[0]))))); err != nil {
			return err
		}
	}
	return nil
}

func contentBoundCount(ctx context.Context, s store.Store) error {
	sh, author, err := wide(ctx, s)
	if err != nil {
		return err
	}
	for _, f := range []content.Filter{{}, {Author: author}, {Terms: []string{"red"}}, {CreatedFrom: at(0)},
		{UpdatedBefore: at(100)}} {
		n, err := s.CountContents(ctx, f, few)
		if err := errors.Join(err, want("contents counted up to a bound, of those that match "+show(f), n,
			few+1)); err != nil {
			return err
		}
	}
	n, err := s.CountContents(ctx, content.Filter{Author: author}, len(sh.contents))
	return errors.Join(err, want("contents counted up to as many as there are", n, int64(len(sh.contents))))
}

// checkBounded is that of shelf for ratings.
func (b book) checkBounded(ctx context.Context, s rating.Store, f rating.Filter, o rating.Order, limit int,
	allowed bool) (broad bool, err error) {
	wanted := b.live(f, o)
	q := rating.Query{Filter: f, Order: o, Limit: limit, MaxRows: few}
	for {
		page, err := s.ListRatings(ctx, q)
		if allowed && errors.Is(err, rating.ErrTooBroad) {
			return true, nil
		}
		end := min(limit, len(wanted))
		if err == nil && !slices.Equal(page, wanted[:end]) {
			err = fmt.Errorf("a page is %s, want %s", show(page), show(wanted[:end]))
		}
		if err != nil {
			return false, fmt.Errorf("%s in order %d, in pages of %d: %w", show(f), o, limit, err)
		}
		if wanted = wanted[end:]; len(page) < limit {
			return false, nil
		}
		last := page[len(page)-1]
		q.After = &rating.Cursor{At: last.UpdatedAt, Key: last.Key}
	}
}

func ratingBound(ctx context.Context, s store.Store) error {
	contents, raters := names(8), names(9)
	b, err := newBook(ctx, s, 83, contents, raters)
	if err != nil {
		return err
	}
	three, none := 3, 99
	for _, f := range []rating.Filter{
		{Content: contents[0]}, {Rater: raters[0]}, {Content: contents[1], ScoreMin: &three},
		{Rater: raters[1], ScoreMax: &three},
		{Content: contents[2], UpdatedFrom: at(1)}, {Rater: raters[2], UpdatedBefore: at(3)},
		{Content: contents[3], Rater: raters[3]},
	} {
		for _, o := range ratingOrders() {
			for _, limit := range []int{1, 4} {
				if _, err := b.checkBounded(ctx, s, f, o, limit, true); err != nil {
					return err
				}
			}
		}
	}
	f := rating.Filter{ScoreMin: &none}
	for _, o := range ratingOrders() {
		broad, err := b.checkBounded(ctx, s, f, o, 4, true)
		if err == nil && !broad {
			err = fmt.Errorf("in order %d it looked at more than %d rows to find nothing", o, few)
		}
		if err != nil {
			return err
		}
	}
	if _, err := s.CountRatings(ctx, f, few); !errors.Is(err, rating.ErrTooBroad) {
		return fmt.Errorf("it looked at more than %d rows to count nothing: %w", few, err)
	}
	return nil
}

func ratingBoundServed(ctx context.Context, s store.Store) error {
	contents, raters := names(8), names(9)
	b, err := newBook(ctx, s, 84, contents, raters)
	if err != nil {
		return err
	}
	for _, o := range ratingOrders() {
		all, err := allRatings(ctx, s, rating.Query{Order: o, Limit: 7, MaxRows: few})
		if err != nil {
			return err
		}
		if n := len(b.live(rating.Filter{}, o)); len(all) < n {
			return fmt.Errorf("in order %d there are %d ratings, of %d at least", o, len(all), n)
		}
		if o != rating.ByKey {
			if _, err := b.checkBounded(ctx, s, rating.Filter{Rater: raters[0]}, o, 3, false); err != nil {
				return err
			}
		}
	}
	if _, err := b.checkBounded(ctx, s, rating.Filter{Content: contents[0]}, rating.ByKey, 3, false); err != nil {
		return err
	}
	// What few ratings have.
	id, rater := newName(), newName()
	alone := time.Date(1999, 1, 1, 0, 0, 0, 0,
		time.UTC).Add(time.Duration(dice(85).Int64N(int64(time.Hour)))).Truncate(time.Microsecond)
	var batch []rating.Change
	for i := range few {
		c := change(rating.Key{Content: id, Rater: newName()}, 1, 1+i%5)
		d := change(rating.Key{Content: newName(), Rater: rater}, 1, 1+i%5)
		c.At, d.At = alone.Add(time.Duration(i/2)*time.Microsecond), at(2)
		batch = append(batch, c, d)
	}
	for _, c := range batch {
		b.apply(c)
	}
	if _, err := apply(ctx, s, batch...); err != nil {
		return err
	}
	three := 3
	for _, f := range []rating.Filter{
		{Content: id}, {Content: id, ScoreMin: &three}, {Content: id, UpdatedFrom: alone.Add(time.Microsecond)},
		{Rater: rater}, {Rater: rater, ScoreMax: &three},
		{Rater: rater, UpdatedBefore: at(2)}, {UpdatedFrom: alone, UpdatedBefore: alone.Add(time.Second)},
		{UpdatedFrom: alone, UpdatedBefore: alone.Add(time.Second), ScoreMin: &three},
	} {
		for _, o := range ratingOrders() {
			if _, err := b.checkBounded(ctx, s, f, o, 2, false); err != nil {
				return err
			}
		}
		n, err := s.CountRatings(ctx, f, few)
		if err := errors.Join(err, want("ratings that match "+show(f), n,
			int64(len(b.live(f, rating.ByKey))))); err != nil {
			return err
		}
	}
	return nil
}

func ratingBoundCount(ctx context.Context, s store.Store) error {
	contents, raters := names(12), names(12)
	b, err := newBook(ctx, s, 86, contents, raters)
	if err != nil {
		return err
	}
	for _, f := range []rating.Filter{{}, {Content: contents[0]}, {Rater: raters[0]}, {UpdatedFrom: at(0)}} {
		n, err := s.CountRatings(ctx, f, few)
		if err := errors.Join(err, want("ratings counted up to a bound, of those that match "+show(f), n,
			few+1)); err != nil {
			return err
		}
	}
	f := rating.Filter{Content: contents[0]}
	live := len(b.live(f, rating.ByKey))
	n, err := s.CountRatings(ctx, f, live)
	return errors.Join(err, want("ratings counted up to as many as there are", n, int64(live)))
}
