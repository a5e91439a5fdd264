package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/khodnevis/khodnevis/internal/suite"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

func ratingWindows() []Check {
	return []Check{
		{"rating/histories",
			"HistoryByContent returns what RefreshScores would pass to compute for a content, and when its " +
				"history starts. An unknown content has an empty history.", ratingHistories},
		{"rating/mark", "MarkChanged has those of ids that have ever been rated claimed by the next " +
			"RefreshScores, as if their buckets had changed.", ratingMark},
		{"rating/mark-meanwhile", "MarkChanged has those of ids that have ever been rated claimed by the " +
			"next RefreshScores", ratingMarkMeanwhile},
		{"rating/windows", "AddWindow records w and, if its content has ever been rated, has it claimed by " +
			"the next RefreshScores.", ratingWindowsApply},
		{"rating/windows-passed",
			"compute also gets the windows of the content, in ascending order of ID.", ratingWindowsApply},
		{"rating/windows-removed", "RemoveWindow removes a window and has its content claimed like AddWindow.",
			ratingWindowsApply},
		{"rating/windows-again",
			"A window whose content and ID are recorded already changes nothing.", ratingWindowsAgain},
		{"rating/windows-missing", "A missing window is ErrNotFound.", ratingWindowsMissing},
		{"rating/windows-deleted",
			"The windows of a deleted content are deleted with it, and adding one later is ErrNotFound.",
			ratingWindowsDeleted},
	}
}

func window(contentID string, ruling score.Ruling, first, last int) rating.Window {
	return rating.Window{ID: newUUID(), Content: contentID, Ruling: ruling, From: at(first),
		Until: at(last + 1), First: first, Last: last,
		Note: "Łódź → \u200cنیم\u200cفاصله\n\"quoted\"", By: newName(), CreatedAt: at(7)}
}

func sameHistory(got, wanted rating.History) error {
	if got.Start != wanted.Start || sameBuckets(got.Buckets, wanted.Buckets) != nil ||
		!slices.Equal(got.Windows, wanted.Windows) {
		return fmt.Errorf("the history is %#v, want %#v", got, wanted)
	}
	return nil
}

func ratingHistories(ctx context.Context, s store.Store) error {
	id := newName()
	h, err := s.HistoryByContent(ctx, id)
	if err := errors.Join(err, sameHistory(h, rating.History{})); err != nil {
		return err
	}
	if err := begin(ctx, s, id); err != nil {
		return err
	}
	var batch []rating.Change
	for i, index := range []int{30, 2, 30, 5} {
		batch = append(batch, in(change(rating.Key{Content: id, Rater: newName()}, int64(i+1), 1+i), index))
	}
	if _, err := apply(ctx, s, batch...); err != nil {
		return err
	}
	if _, err := apply(ctx, s, withdrawal(batch[3].Key, 9)); err != nil { // empties bucket 5
		return err
	}
	w := window(id, score.Cleared, 2, 9)
	if err := s.AddWindow(ctx, w); err != nil {
		return err
	}
	wanted := rating.History{Start: at(0), Buckets: []score.Bucket{bucket(2, 2), bucket(30, 1, 3)},
		Windows: []rating.Window{w}}
	for range 2 { // before and after the numbers are published
		h, err := s.HistoryByContent(ctx, id)
		if err := errors.Join(err, sameHistory(h, wanted)); err != nil {
			return err
		}
		h.Buckets[0], h.Windows[0] = score.Bucket{}, rating.Window{} // they belong to the caller
		if _, err := computeAll(ctx, s, mean); err != nil {
			return err
		}
	}
	return nil
}

func ratingMark(ctx context.Context, s store.Store) error {
	rated, unknown := newKey(), newName()
	if _, err := apply(ctx, s, change(rated, 1, 4)); err != nil {
		return err
	}
	if _, err := computeAll(ctx, s, mean); err != nil {
		return err
	}
	before, err := statsOf(ctx, s, rated.Content)
	if err != nil {
		return err
	}
	if err := s.MarkChanged(ctx, []string{unknown, rated.Content, rated.Content}); err != nil {
		return err
	}
	refreshed, err := computeAll(ctx, s, mean)
	if err := errors.Join(err, want("contents folded", len(refreshed), 1), s.MarkChanged(ctx, nil)); err != nil {
		return err
	}
	if got := refreshed[rated.Content]; !got.Equal(before) || got.Revision <= before.Revision {
		return fmt.Errorf("marked and folded it is %#v, before it was %#v", got, before)
	}
	refreshed, err = computeAll(ctx, s, mean)
	return errors.Join(err, want("contents folded that nobody marked", len(refreshed), 0))
}

// ratingMarkMeanwhile marks during a fold, which may have begun with other constants.
func ratingMarkMeanwhile(ctx context.Context, s store.Store) error {
	k := newKey()
	if _, err := apply(ctx, s, change(k, 1, 4)); err != nil {
		return err
	}
	marked := make(chan error, 1)
	if _, err := s.RefreshScores(ctx, 10, func(h rating.History) score.Score {
		go func() {
			marked <- suite.Recovered(func() error { return s.MarkChanged(ctx, []string{k.Content}) })
		}()
		return score.Score{Value: 1, Counted: 1, Computed: true}
	}); err != nil {
		return err
	}
	if err := <-marked; err != nil {
		return err
	}
	refreshed, err := computeAll(ctx, s, mean)
	return errors.Join(err, want("the score of the fold after the mark", refreshed[k.Content].Score.Value, 4))
}

func ratingWindowsApply(ctx context.Context, s store.Store) error {
	k, unrated := newKey(), newName()
	if _, err := apply(ctx, s, change(k, 1, 4)); err != nil {
		return err
	}
	var windows []rating.Window
	seen := func(what string) error { // what the next fold of the content gets
		var got []rating.Window
		refreshed, err := computeAll(ctx, s, func(h rating.History) score.Score {
			got = slices.Clone(h.Windows)
			clear(h.Windows) // they belong to fold
			return mean(h)
		})
		if err != nil {
			return err
		}
		if _, ok := refreshed[k.Content]; !ok || len(refreshed) != 1 || !slices.Equal(got, windows) {
			return fmt.Errorf("after %s %d contents are folded, with %#v, want %#v", what, len(refreshed), got,
				windows)
		}
		stats, err := statsOf(ctx, s, k.Content)
		return errors.Join(err, want("the ratings", stats.Count, 1), want("their sum", stats.Sum, 4),
			want("the histogram", stats.Histogram[4], 1))
	}
	if err := seen("a rating"); err != nil {
		return err
	}
	for _, ruling := range []score.Ruling{score.Excluded, score.Cleared, score.Excluded} {
		w := window(k.Content, ruling, 1, 400)
		windows = append(windows, w)
		slices.SortFunc(windows, func(a, b rating.Window) int { return strings.Compare(a.ID, b.ID) })
		if err := errors.Join(s.AddWindow(ctx, w), seen("a window")); err != nil {
			return err
		}
	}
	if err := s.AddWindow(ctx, window(unrated, score.Cleared, 0, 0)); err != nil {
		return err
	}
	if refreshed, err := computeAll(ctx, s, mean); err != nil || len(refreshed) > 0 {
		return fmt.Errorf("a window of a content without ratings has %d contents folded: %w", len(refreshed), err)
	}
	for len(windows) > 0 {
		id := windows[0].ID
		windows = windows[1:]
		if err := errors.Join(s.RemoveWindow(ctx, k.Content, id), seen("a removal")); err != nil {
			return err
		}
	}
	return nil
}

func ratingWindowsAgain(ctx context.Context, s store.Store) error {
	k := newKey()
	w := window(k.Content, score.Excluded, 1, 2)
	other := w
	other.Ruling, other.Last = score.Cleared, 9
	elsewhere := window(newName(), score.Cleared, 0, 0)
	elsewhere.ID = w.ID
	_, err := apply(ctx, s, change(k, 1, 4))
	if err := errors.Join(err, s.AddWindow(ctx, w)); err != nil {
		return err
	}
	if _, err := computeAll(ctx, s, mean); err != nil {
		return err
	}
	if err := errors.Join(s.AddWindow(ctx, other), s.AddWindow(ctx, elsewhere)); err != nil {
		return err
	}
	refreshed, err := computeAll(ctx, s, mean)
	if err := errors.Join(err, want("contents folded", len(refreshed), 0)); err != nil {
		return err
	}
	h, err := s.HistoryByContent(ctx, k.Content)
	if err := errors.Join(err, sameHistory(rating.History{Windows: h.Windows},
		rating.History{Windows: []rating.Window{w}})); err != nil {
		return err
	}
	h, err = s.HistoryByContent(ctx, elsewhere.Content)
	return errors.Join(err, sameHistory(h, rating.History{Windows: []rating.Window{elsewhere}}))
}

func ratingWindowsMissing(ctx context.Context, s store.Store) error {
	w := window(newName(), score.Excluded, 1, 2)
	if err := s.AddWindow(ctx, w); err != nil {
		return err
	}
	return errors.Join(
		wantError("a window of another content", s.RemoveWindow(ctx, newName(), w.ID), rating.ErrNotFound),
		wantError("an unknown window", s.RemoveWindow(ctx, w.Content, newUUID()), rating.ErrNotFound),
		s.RemoveWindow(ctx, w.Content, w.ID),
		wantError("a removed window", s.RemoveWindow(ctx, w.Content, w.ID), rating.ErrNotFound))
}

func ratingWindowsDeleted(ctx context.Context, s store.Store) error {
	id := newName()
	return windowsGone(ctx, s, id, func() error { return s.EraseContent(ctx, id) })
}

func acrossWindowsDeleted(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 1)
	if err != nil {
		return err
	}
	return windowsGone(ctx, s, all[0].ID, func() error { return s.DeleteContent(ctx, all[0].ID, 0) })
}

// windowsGone adds a window to a content and deletes the content.
func windowsGone(ctx context.Context, s store.Store, id string, deletion func() error) error {
	w := window(id, score.Excluded, 1, 2)
	if err := s.AddWindow(ctx, w); err != nil {
		return err
	}
	if err := deletion(); err != nil {
		return err
	}
	h, err := s.HistoryByContent(ctx, id)
	return errors.Join(err, sameHistory(h, rating.History{}),
		wantError("a window of a deleted content", s.AddWindow(ctx, window(id, score.Cleared, 0, 0)),
			rating.ErrNotFound),
		wantError("the removal of a deleted window", s.RemoveWindow(ctx, id, w.ID), rating.ErrNotFound))
}
