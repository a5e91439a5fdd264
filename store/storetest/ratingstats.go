package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingStats() []Check {
	return []Check{
		{"rating/stats", "StatsByContent returns the numbers of those of ids that have ever been rated, each " +
			"once, in any order.", ratingStatsByContent},
		{"rating/revision", "Revision grows whenever something in Stats changes.", ratingRevision},
		{"rating/as-of",
			"AsOf is when it last grew, by the clock of the store; zero for a content that was never rated.",
			ratingAsOf},
		{"rating/history-starts",
			"StartHistories records when the history of each content starts, unless that is recorded already, " +
				"and returns the recorded starts of all of them, in their order. A recorded start never changes.",
			ratingHistoryStarts},
		{"rating/history-starts-race", "A recorded start never changes.", ratingHistoryStartsRace},
		{"rating/erase-content",
			"EraseContent removes every rating of a content that is kept elsewhere; ratings of it that are " +
				"applied later are refused. Erasing a content again, or one that was never rated, is no error.",
			ratingEraseContent},
		{"rating/rated-contents", "RatedContents returns at most limit identifiers after the given one, " +
			"bytewise ascending, of the contents that have rows or numbers here.", ratingRatedContents},
	}
}

func ratingStatsByContent(ctx context.Context, s store.Store) error {
	contents := names(3)
	a, b := rating.Key{Content: contents[0], Rater: newName()}, rating.Key{Content: contents[1], Rater: newName()}
	if _, err := apply(ctx, s, change(a, 1, 3), change(b, 1, 5)); err != nil {
		return err
	}
	if _, err := apply(ctx, s, withdrawal(b, 2)); err != nil {
		return err
	}
	ask := append(slices.Clone(contents), contents[0], newName(), contents[0])
	for range 3000 {
		ask = append(ask, newName())
	}
	found, err := s.StatsByContent(ctx, ask)
	if err != nil {
		return err
	}
	byID, err := index(found, func(st rating.Stats) string { return st.Content })
	if err := errors.Join(err, want("stats found", len(byID), 2)); err != nil {
		return err
	}
	for id, wanted := range map[string]rating.Stats{
		contents[0]: {Content: contents[0], Count: 1, Sum: 3, Histogram: map[int]int64{3: 1}},
		contents[1]: {Content: contents[1]},
	} {
		if !byID[id].Equal(wanted) {
			return fmt.Errorf("the numbers are %#v, want %#v", byID[id], wanted)
		}
	}
	found, err = s.StatsByContent(ctx, nil)
	return errors.Join(err, want("stats found for no content", len(found), 0))
}

func ratingRevision(ctx context.Context, s store.Store) error {
	k := newKey()
	var last int64
	grew := func(what string, more bool) error {
		stats, err := statsOf(ctx, s, k.Content)
		if err != nil {
			return err
		}
		if stats.Revision < last || more && stats.Revision == last {
			return fmt.Errorf("after %s the revision is %d, before it was %d", what, stats.Revision, last)
		}
		last = stats.Revision
		return nil
	}
	for _, step := range []struct {
		what   string
		change rating.Change
		more   bool
	}{
		{"a creation", change(k, 2, 3), true},
		{"a late change", change(k, 1, 4), false},
		{"a change of the score", change(k, 3, 5), true},
		{"the same score again", change(k, 4, 5), false},
		{"a second rating", change(rating.Key{Content: k.Content, Rater: newName()}, 1, 5), true},
		{"a withdrawal", withdrawal(k, 5), true},
		{"a creation after that", change(k, 6, 5), true},
	} {
		if _, err := apply(ctx, s, step.change); err != nil {
			return err
		}
		if err := grew(step.what, step.more); err != nil {
			return err
		}
		refreshed, err := computeAll(ctx, s, mean)
		if err != nil {
			return err
		}
		stats, folded := refreshed[k.Content]
		if err := grew("a fold", folded); err != nil {
			return err
		}
		if folded && stats.Revision != last {
			return fmt.Errorf("a fold returned the revision %d, stored is %d", stats.Revision, last)
		}
	}
	return nil
}

// ratingAsOf does not compare the store's clock with this one: it may be another machine's.
func ratingAsOf(ctx context.Context, s store.Store) error {
	k := newKey()
	var last time.Time
	for i := range 3 {
		if _, err := apply(ctx, s, change(k, int64(i+1), 1+i)); err != nil {
			return err
		}
		stats, err := statsOf(ctx, s, k.Content)
		if err != nil {
			return err
		}
		switch asOf := stats.AsOf; {
		case asOf.IsZero():
			return errors.New("AsOf is zero for a content that has a rating")
		case asOf != asOf.UTC().Truncate(time.Microsecond):
			return fmt.Errorf("AsOf is %v: not UTC with microseconds", asOf)
		case asOf.Before(last):
			return fmt.Errorf("AsOf is %v, before it was %v", asOf, last)
		default:
			last = asOf
		}
	}
	return nil
}

func ratingHistoryStarts(ctx context.Context, s store.Store) error {
	ids := names(3)
	open := func(openings, wanted []rating.HistoryStart) error {
		got, err := s.StartHistories(ctx, openings)
		if err == nil && !slices.Equal(got, wanted) {
			err = fmt.Errorf("the openings are %v, want %v", got, wanted)
		}
		return err
	}
	first, second, third := rating.HistoryStart{Content: ids[0], At: at(5)},
		rating.HistoryStart{Content: ids[1], At: at(6)}, rating.HistoryStart{Content: ids[2], At: at(7)}
	if err := open([]rating.HistoryStart{second, first}, []rating.HistoryStart{second, first}); err != nil {
		return err
	}
	earlier, later := first, second
	earlier.At, later.At = at(1), at(9)
	again := third
	again.At = at(8)
	var crowd []rating.HistoryStart
	for i := range 3000 {
		crowd = append(crowd, rating.HistoryStart{Content: newName(), At: at(i)})
	}
	return errors.Join(
		open(crowd, crowd),
		open([]rating.HistoryStart{earlier, third, later, earlier},
			[]rating.HistoryStart{first, third, second, first}),
		open([]rating.HistoryStart{again}, []rating.HistoryStart{third}),
		open(nil, nil),
	)
}

func ratingHistoryStartsRace(ctx context.Context, s store.Store) error {
	ids := names(5)
	const callers = 8
	told := make([][]rating.HistoryStart, callers)
	err := together(callers, func(i int) error {
		var openings []rating.HistoryStart
		for j := range ids {
			id := ids[(i+j)%len(ids)] // an order of its own
			openings = append(openings, rating.HistoryStart{Content: id, At: at(i)})
		}
		var err error
		told[i], err = s.StartHistories(ctx, openings)
		return err
	})
	if err != nil {
		return err
	}
	recorded := map[string]time.Time{}
	for _, openings := range told {
		if err := want("openings returned", len(openings), len(ids)); err != nil {
			return err
		}
		for _, o := range openings {
			if before, ok := recorded[o.Content]; ok && before != o.At {
				return fmt.Errorf("content %s opened at %v and at %v", o.Content, before, o.At)
			}
			recorded[o.Content] = o.At
		}
	}
	return nil
}

func ratingRatedContents(ctx context.Context, s store.Store) error {
	prefix := newName()
	var contents []string
	for _, suffix := range []string{"a", "B", "b", "_", "1", "aa", "A", "-", "+", "=", "|", "@", ".", "Z", "z",
		"10", "9"} {
		contents = append(contents, prefix+suffix)
	}
	for i, id := range contents {
		k := rating.Key{Content: id, Rater: newName()}
		if _, err := apply(ctx, s, change(k, 1, 4), change(rating.Key{Content: id, Rater: newName()}, 1,
			3)); err != nil {
			return err
		}
		if i%3 == 0 {
			if _, err := apply(ctx, s, withdrawal(k, 2)); err != nil {
				return err
			}
		}
	}
	slices.Sort(contents)
	for _, limit := range []int{1, 4, len(contents)} {
		var got []string
		after := prefix
		for len(got) < len(contents) {
			page, err := s.RatedContents(ctx, after, limit)
			if err != nil {
				return err
			}
			if len(page) > limit || len(page) == 0 {
				return fmt.Errorf("a page of %d identifiers after %q, want 1 to %d", len(page), after, limit)
			}
			got = append(got, page...)
			after = page[len(page)-1]
		}
		if got = got[:len(contents)]; !slices.Equal(got, contents) {
			return fmt.Errorf("the rated contents, %d at a time, are %q, want %q", limit, got, contents)
		}
	}
	// From the very beginning, and past the end.
	first, err := s.RatedContents(ctx, "", 1)
	if err != nil {
		return err
	}
	if len(first) != 1 || first[0] > contents[0] {
		return fmt.Errorf("the first rated content is %q, want at most %q", first, contents[0])
	}
	rest, err := s.RatedContents(ctx, "\x7f", 3)
	return errors.Join(err, want("contents after the last", len(rest), 0))
}

func ratingEraseContent(ctx context.Context, s store.Store) error {
	gone, stays, rater := newName(), newName(), newName()
	keys := []rating.Key{{Content: gone, Rater: rater}, {Content: gone, Rater: newName()},
		{Content: gone, Rater: newName()}}
	if _, err := apply(ctx, s, change(keys[0], 1, 4), change(keys[1], 1, 5), withdrawal(keys[2], 1),
		change(rating.Key{Content: stays, Rater: rater}, 1, 2)); err != nil {
		return err
	}
	for _, id := range []string{gone, gone, newName()} {
		if err := s.EraseContent(ctx, id); err != nil {
			return err
		}
	}
	late := rating.Key{Content: gone, Rater: newName()}
	outcomes, err := apply(ctx, s, change(late, 2, 3), change(keys[0], 2, 3))
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if !o.Refused {
			return fmt.Errorf("a later rating has the outcome %#v", o)
		}
	}
	if err := wantNoRatings(ctx, s, gone, append(keys, late)); err != nil {
		return err
	}
	byRater, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{Rater: rater},
		Order: rating.NewestFirst, Limit: 5})
	return errors.Join(err, want("ratings of the rater", len(byRater), 1), newAudit([]string{stays}).fold(ctx, s))
}
