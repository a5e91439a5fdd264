package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

// acrossChecks are those of the rules that reach across the ports, and of the optional powers.
func acrossChecks() []Check {
	return []Check{
		{"across/by-score", "ByScore orders by the published rank (a score shrunk towards the middle while " +
			"ratings are few; see package rating). A content that was never ranked counts as rank 0.", acrossByScore},
		{"across/by-ratings", "ByRatings orders by the number of stored ratings.", acrossByRatings},
		{"across/score-filter",
			"ScoreMin and ScoreMax bound the published score; contents without one match neither.",
			acrossScoreFilter},
		{"across/ratings-filter", "RatingsMin is the least number of stored ratings.", acrossRatingsFilter},
		{"across/filters", "Filter says which contents are meant. The zero Filter means all; conditions that " +
			"are set must all hold.", acrossFilters},
		{"across/present", "The lists of contents filter and order by numbers that belong to ratings (score, " +
			"rank, count): as they are published, at the moment of the query.", acrossPresent},
		{"across/deleted-content", "A deleted content takes its ratings and their numbers along, and a " +
			"rating of it that comes later is refused.", acrossDeletedContent},
		{"across/refused",
			"Refused says that the content is deleted; nothing was changed and Result is empty.", acrossRefused},
		{"across/windows-deleted",
			"The windows of a deleted content are deleted with it, and adding one later is ErrNotFound.",
			acrossWindowsDeleted},
		{"across/erase-content", "EraseContent removes every rating of a content that is kept elsewhere",
			acrossEraseContent},
		{"across/delete-many", "It holds nobody up, however many ratings that are: they are gone at once for every " +
			"method, and their rows may be removed in pieces, by SweepRatings of a rating.Store.", acrossDeleteMany},
		{"across/delete-race", "DeleteContent removes the content and every rating of it; ratings of it that " +
			"are applied later are refused.", acrossDeleteRace},
		{"across/delete-refresh", "DeleteContent removes the content and every rating of it", acrossDeleteScore},
		{"across/ping", "Pinger is implemented by stores that can tell whether their database answers.", acrossPing},
		{"across/breaker", "Breaker is implemented by stores with a circuit breaker, which keeps calls away " +
			"from a database that does not answer.", acrossBreaker},
		{"across/deleted-user", "A deleted user's contents and ratings stay.", acrossDeletedUser},
		{"across/erasure", "What shall become of the ratings is recorded together with the deletion, as by " +
			"RecordErasure: either both happen or neither.", acrossErasure},
	}
}

// newRatedShelf is newShelf with ratings: some contents have none, some were never folded, some
// have lost all they had.
func newRatedShelf(ctx context.Context, s store.Store, seed uint64, n int, authors []string) (shelf, error) {
	sh, err := newShelf(ctx, s, seed, n, authors)
	if err != nil {
		return shelf{}, err
	}
	r := dice(seed + 1)
	rate := func(every int) error {
		for i, c := range sh.contents {
			if i%every == 0 {
				continue
			}
			var batch []rating.Change
			for range r.IntN(5) {
				batch = append(batch, change(rating.Key{Content: c.ID, Rater: newName()}, 1, 1+r.IntN(5)))
			}
			if _, err := apply(ctx, s, batch...); err != nil {
				return err
			}
			if i%7 == 1 {
				for j, c := range batch {
					batch[j] = withdrawal(c.Key, 2)
				}
				if _, err := apply(ctx, s, batch...); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := rate(3); err != nil {
		return shelf{}, err
	}
	if _, err := computeAll(ctx, s, mean); err != nil {
		return shelf{}, err
	}
	if err := rate(4); err != nil { // not folded
		return shelf{}, err
	}
	return sh, sh.reload(ctx, s)
}

// reload takes over the numbers as they are stored.
func (sh *shelf) reload(ctx context.Context, s store.Store) error {
	var ids []string
	for _, c := range sh.contents {
		ids = append(ids, c.ID)
	}
	found, err := s.StatsByContent(ctx, ids)
	if err != nil {
		return err
	}
	sh.stats, err = index(found, func(st rating.Stats) string { return st.Content })
	return err
}

func acrossOrder(ctx context.Context, s store.Store, seed uint64, field content.Field) error {
	author := newName()
	sh, err := newRatedShelf(ctx, s, seed, 40, []string{author})
	if err != nil {
		return err
	}
	for _, desc := range []bool{false, true} {
		for _, limit := range []int{3, 100} {
			if err := sh.checkList(ctx, s, content.Filter{Author: author},
				content.Order{Field: field, Desc: desc}, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func acrossByScore(ctx context.Context, s store.Store) error {
	if err := acrossOrder(ctx, s, 71, content.ByScore); err != nil {
		return err
	}
	// Ranks below zero stand before what was never ranked, and ranks that differ in the last bit
	// differ.
	author := newName()
	all, err := createContents(ctx, s, author, 4)
	if err != nil {
		return err
	}
	sh := shelf{contents: all}
	for i, rank := range []float64{-2.5, 0.1 + 0.2, 0.3} {
		if _, err := apply(ctx, s, change(rating.Key{Content: all[i].ID, Rater: newName()}, 1, 3)); err != nil {
			return err
		}
		if _, err := computeAll(ctx, s,
			func(rating.History) score.Score { return score.Score{Rank: rank, Computed: true} }); err != nil {
			return err
		}
	}
	if err := sh.reload(ctx, s); err != nil {
		return err
	}
	for _, desc := range []bool{false, true} {
		if err := sh.checkList(ctx, s, content.Filter{Author: author},
			content.Order{Field: content.ByScore, Desc: desc}, 1); err != nil {
			return err
		}
	}
	return nil
}

func acrossByRatings(ctx context.Context, s store.Store) error {
	return acrossOrder(ctx, s, 72, content.ByRatings)
}

// acrossScoreFilter reads a score of weight 0 as none, as score.Score says.
func acrossScoreFilter(ctx context.Context, s store.Store) error {
	author := newName()
	all, err := createContents(ctx, s, author, 4)
	if err != nil {
		return err
	}
	sh := shelf{contents: all}
	for i, computed := range []score.Score{{Value: 4.25, Counted: 2, Rank: 1, Computed: true},
		{Value: -1, Counted: 0.5, Rank: 2, Computed: true}, {Value: 4, Rank: 3, Computed: true}} {
		if _, err := apply(ctx, s, change(rating.Key{Content: all[i].ID, Rater: newName()}, 1, 3)); err != nil {
			return err
		}
		if _, err := computeAll(ctx, s, func(rating.History) score.Score { return computed }); err != nil {
			return err
		}
	}
	if err := sh.reload(ctx, s); err != nil {
		return err
	}
	bounds := []float64{-1, 0, 4, 4.25, 4.2500000001}
	for i := range bounds {
		for j := range bounds {
			for _, f := range []content.Filter{{ScoreMin: &bounds[i]}, {ScoreMax: &bounds[j]},
				{ScoreMin: &bounds[i], ScoreMax: &bounds[j]}} {
				f.Author = author
				if err := sh.checkList(ctx, s, f, content.Order{Field: content.ByScore}, 10); err != nil {
					return fmt.Errorf("scores from %v to %v: %w", bounds[i], bounds[j], err)
				}
			}
		}
	}
	f := content.Filter{Author: author, ScoreMin: &bounds[0]}
	n, err := s.CountContents(ctx, f, 0)
	return errors.Join(err, want("contents with a score", n, 2))
}

func acrossRatingsFilter(ctx context.Context, s store.Store) error {
	author := newName()
	sh, err := newRatedShelf(ctx, s, 73, 25, []string{author})
	if err != nil {
		return err
	}
	for least := range int64(10) {
		if err := sh.checkList(ctx, s, content.Filter{Author: author, RatingsMin: least},
			content.Order{Field: content.ByCreated}, 10); err != nil {
			return err
		}
	}
	return nil
}

func acrossFilters(ctx context.Context, s store.Store) error {
	authors := names(2)
	sh, err := newRatedShelf(ctx, s, 74, 60, authors)
	if err != nil {
		return err
	}
	r := dice(75)
	for i := range 50 {
		f := content.Filter{Author: authors[r.IntN(len(authors))], RatingsMin: int64(r.IntN(5))}
		for _, bound := range []**float64{&f.ScoreMin, &f.ScoreMax} {
			if r.IntN(2) == 0 {
				value := 1 + float64(r.IntN(9))/2
				*bound = &value
			}
		}
		if r.IntN(3) == 0 {
			f.Terms = content.Terms([]string{"red", "green", "آبی"}[r.IntN(3)])
		}
		if r.IntN(3) == 0 {
			f.CreatedFrom = at(r.IntN(6))
		}
		if r.IntN(3) == 0 {
			f.UpdatedBefore = at(r.IntN(6))
		}
		if err := sh.checkList(ctx, s, f, orders()[i%len(orders())], 3+r.IntN(8)); err != nil {
			return err
		}
	}
	return nil
}

func acrossPresent(ctx context.Context, s store.Store) error {
	author := newName()
	all, err := createContents(ctx, s, author, 3)
	if err != nil {
		return err
	}
	sh := shelf{contents: all}
	r := dice(76)
	for turn := range 12 {
		k := rating.Key{Content: all[r.IntN(len(all))].ID, Rater: newName()}
		if _, err := apply(ctx, s, change(k, 1, 1+r.IntN(5))); err != nil {
			return err
		}
		if turn%3 == 2 {
			if _, err := computeAll(ctx, s, mean); err != nil {
				return err
			}
		}
		if err := sh.reload(ctx, s); err != nil {
			return err
		}
		low := 3.0
		for _, f := range []content.Filter{{Author: author}, {Author: author, RatingsMin: 2},
			{Author: author, ScoreMin: &low}} {
			for _, field := range []content.Field{content.ByScore, content.ByRatings} {
				if err := sh.checkList(ctx, s, f, content.Order{Field: field, Desc: true}, 2); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// acrossEraseContent erases the ratings of a content that is not kept elsewhere: it can still be
// deleted.
func acrossEraseContent(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 1)
	if err != nil {
		return err
	}
	return errors.Join(s.EraseContent(ctx, all[0].ID), s.DeleteContent(ctx, all[0].ID, 0))
}

func acrossPing(ctx context.Context, s store.Store) error {
	p, err := power[store.Pinger](s)
	if err != nil {
		return err
	}
	return p.Ping(ctx)
}

func acrossBreaker(ctx context.Context, s store.Store) error {
	b, err := power[store.Breaker](s)
	if err != nil {
		return err
	}
	if _, err := s.Installation(ctx); err != nil {
		return err
	}
	return want("whether calls are kept away from a database that answers", b.Down(), false)
}
