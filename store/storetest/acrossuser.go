package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func acrossDeletedUser(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	c := newContent(l.user.ID, 1)
	if err := s.CreateContent(ctx, c); err != nil {
		return err
	}
	k := rating.Key{Content: c.ID, Rater: l.user.ID}
	stored, err := applyOne(ctx, s, change(k, 1, 4), rating.Created)
	if err != nil {
		return err
	}
	if err := s.DeleteUser(ctx, auth.Deletion{User: l.user.ID}); err != nil {
		return err
	}
	got, err := contentByID(ctx, s, c.ID)
	if err != nil {
		return err
	}
	r, _, err := ratingByKey(ctx, s, k)
	if err != nil {
		return err
	}
	n, err := s.CountContents(ctx, content.Filter{Author: l.user.ID}, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(want("the content", got, c), want("the rating", r, stored),
		want("contents of the author", n, 1)); err != nil {
		return err
	}
	// And a message of the user that was still under way is applied.
	_, err = applyOne(ctx, s, change(k, 2, 5), rating.Updated)
	return errors.Join(err, newAudit([]string{c.ID}).check(ctx, s))
}

// acrossErasure deletes users with and without a word on their ratings, one twice, and one with a
// call that was given up.
func acrossErasure(ctx context.Context, s store.Store) error {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for i, ratings := range []rating.ErasureMode{rating.EraseDelete, rating.EraseAnonymize, ""} {
		l, err := createLogin(ctx, s, 1)
		if err != nil {
			return err
		}
		d := auth.Deletion{User: l.user.ID, Ratings: string(ratings), At: at(i)}
		who := []string{d.User}
		if err := s.DeleteUser(cancelled, d); err == nil {
			return errors.New("a deletion that was given up is no error")
		}
		if err := errors.Join(l.wantThere(ctx, s), wantErasures(ctx, s, at(0), 10, who)); err != nil {
			return fmt.Errorf("after a deletion that was given up: %w", err)
		}
		if err := s.DeleteUser(ctx, d); err != nil {
			return err
		}
		var wanted []rating.Erasure
		if ratings != "" {
			wanted = append(wanted, rating.Erasure{Rater: d.User, Mode: ratings, At: d.At})
		}
		again := d
		again.Ratings, again.At = "another", at(9)
		if err := errors.Join(
			wantError("a second deletion", s.DeleteUser(ctx, again), auth.ErrNotFound),
			l.wantGone(ctx, s), wantErasures(ctx, s, at(0), 10, who, wanted...),
		); err != nil {
			return err
		}
	}
	return nil
}
