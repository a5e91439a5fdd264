package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

func ratingStats() []Check {
	return []Check{
		{"rating/stats", "StatsByContent returns the published numbers of those of ids that have any, each " +
			"once, in any order.", ratingStatsByContent},
		{"rating/revision", "Revision grows whenever Stats are published.", ratingRevision},
		{"rating/as-of",
			"AsOf is when it last grew, by the clock of the store; zero for a content that was never rated.",
			ratingAsOf},
		{"rating/published", "RefreshScores publishes them.", ratingPublished},
		{"rating/published-of", "RefreshScoresOf does the same for those of ids whose buckets have changed, " +
			"however many, and waits for the calls that have claimed some of them: once it returns, the " +
			"published numbers include everything that was applied before it was called.", ratingPublishedOf},
		{"rating/random-histories", "The buckets are equal to the rows after every transaction, with any number of " +
			"callers at once.", ratingRandomHistories},
		{"rating/history-start", "The history of a content starts at the earliest At of the first batch that " +
			"sets a score of it, and never changes.", ratingHistoryStart},
		{"rating/history-start-race", "The history of a content starts at the earliest At of the first batch " +
			"that sets a score of it, and never changes.", ratingHistoryStartRace},
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
	if _, err := computeAll(ctx, s, mean); err != nil {
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
	for id, h := range map[string]rating.History{
		contents[0]: {Buckets: []score.Bucket{bucket(0, 3)}},
		contents[1]: {},
	} {
		if wanted := h.Stats(id, mean(h)); !byID[id].Equal(wanted) {
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

// ratingPublished: numbers and score are those of one moment.
func ratingPublished(ctx context.Context, s store.Store) error {
	k := newKey()
	if _, err := apply(ctx, s, change(k, 1, 4)); err != nil {
		return err
	}
	before, err := statsOf(ctx, s, k.Content)
	if err != nil {
		return err
	}
	other := rating.Key{Content: k.Content, Rater: newName()}
	if _, err := apply(ctx, s, change(k, 2, 2), change(other, 3, 1)); err != nil {
		return err
	}
	found, err := s.StatsByContent(ctx, []string{k.Content})
	if err := errors.Join(err, want("stats", len(found), 1)); err != nil {
		return err
	}
	if !found[0].Equal(before) || found[0].Revision != before.Revision {
		return fmt.Errorf("before they are published again the numbers are %#v, want %#v", found[0], before)
	}
	after, err := statsOf(ctx, s, k.Content)
	return errors.Join(err, want("ratings published", after.Count, 2), want("their score", after.Score.Value, 1.5))
}

// ratingPublishedOf has every caller rate some of the same contents and publish their numbers, while
// others publish whatever is due: each caller finds its ratings in the numbers.
func ratingPublishedOf(ctx context.Context, s store.Store) error {
	contents := names(4)
	const callers, each = 6, 10
	err := together(callers+1, func(i int) error {
		for n := range each {
			if i == callers {
				if _, err := s.RefreshScores(ctx, 2, mean); err != nil {
					return err
				}
				continue
			}
			ids := []string{contents[(i+n)%4], contents[(i+n+1)%4]}
			for _, id := range ids {
				k := rating.Key{Content: id, Rater: fmt.Sprint(i, n)}
				if _, err := apply(ctx, s, change(k, int64(1+n), 1+i)); err != nil {
					return err
				}
			}
			if _, err := s.RefreshScoresOf(ctx, append(ids, newName(), ids[0]), mean); err != nil {
				return err
			}
			found, err := s.StatsByContent(ctx, ids)
			if err := errors.Join(err, want("stats", len(found), 2)); err != nil {
				return err
			}
			for _, stats := range found {
				h, err := s.HistoryByContent(ctx, stats.Content)
				if err != nil {
					return err
				}
				if now := h.Stats(stats.Content, mean(h)); stats.Histogram[1+i] < 1 || stats.Count > now.Count {
					return fmt.Errorf("caller %d published its rating and reads %#v", i, stats)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range contents {
		stats, err := s.StatsByContent(ctx, []string{id})
		if err != nil {
			return err
		}
		h, err := s.HistoryByContent(ctx, id)
		if err := errors.Join(err, want("stats", len(stats), 1)); err != nil {
			return err
		}
		if wanted := h.Stats(id, mean(h)); !stats[0].Equal(wanted) {
			return fmt.Errorf("after everybody has published them the numbers are %#v, want %#v", stats[0], wanted)
		}
	}
	refreshed, err := s.RefreshScoresOf(ctx, contents, mean)
	if err := errors.Join(err, want("contents published again without a change", len(refreshed), 0)); err != nil {
		return err
	}
	refreshed, err = s.RefreshScoresOf(ctx, nil, mean)
	return errors.Join(err, want("contents published of none", len(refreshed), 0))
}

func ratingHistoryStart(ctx context.Context, s store.Store) error {
	first, second, never := newName(), newName(), newName()
	key := func(content string) rating.Key { return rating.Key{Content: content, Rater: newName()} }
	for _, batch := range [][]rating.Change{
		{withdrawal(key(first), 1), change(key(first), 9, 4), change(key(first), 5, 4), change(key(second), 7, 1)},
		{change(key(first), 2, 3), change(key(second), 8, 3), withdrawal(key(never), 3)},
	} {
		if _, err := apply(ctx, s, batch...); err != nil {
			return err
		}
	}
	for id, wanted := range map[string]time.Time{first: at(5), second: at(7), never: {}} {
		h, err := s.HistoryByContent(ctx, id)
		if err := errors.Join(err, want("the start of the history", h.Start, wanted)); err != nil {
			return err
		}
	}
	return nil
}

func ratingHistoryStartRace(ctx context.Context, s store.Store) error {
	ids := names(5)
	const callers = 8
	seen := make([][]time.Time, callers)
	err := together(callers, func(i int) error {
		var batch []rating.Change
		for j := range ids { // in an order of its own
			batch = append(batch, change(rating.Key{Content: ids[(i+j)%len(ids)], Rater: newName()}, int64(3*i), 3))
		}
		if _, err := apply(ctx, s, batch...); err != nil {
			return err
		}
		for _, id := range ids {
			h, err := s.HistoryByContent(ctx, id)
			if err != nil {
				return err
			}
			seen[i] = append(seen[i], h.Start)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, starts := range seen {
		if !slices.Equal(starts, seen[0]) || slices.ContainsFunc(starts, time.Time.IsZero) {
			return fmt.Errorf("callers saw histories start at %v and at %v", seen[0], starts)
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
	return errors.Join(err, want("ratings of the rater", len(byRater), 1), newAudit([]string{stays}).check(ctx, s))
}
