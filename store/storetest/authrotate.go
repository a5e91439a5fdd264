package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/store"
)

// authRotate: the tokens of former generations stay, so that their use can be noticed.
func authRotate(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	other := newLogin(l.user, 2)
	if err := s.CreateSession(ctx, other.session, other.tokens); err != nil {
		return err
	}
	for n := range 3 {
		next, added := l.rotated(n)
		sent := next.session
		sent.CreatedAt = at(99) // stays
		if n == 2 {
			sent.User = newUUID() // stays
		}
		if err := s.RotateSession(ctx, sent, added); err != nil {
			return err
		}
		l = next
		if err := l.wantThere(ctx, s); err != nil {
			return fmt.Errorf("after rotation %d: %w", n+1, err)
		}
	}
	// A rotation may bring no tokens.
	l.session.Version, l.session.Siblings = l.session.Version+1, 5
	return errors.Join(s.RotateSession(ctx, l.session, nil), l.wantThere(ctx, s), other.wantThere(ctx, s))
}

// authRotateThins: what a session leaves in the store is bounded, however often it is refreshed,
// and what tells the tokens that are gone stays.
func authRotateThins(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	other := newLogin(l.user, 2)
	family := newLogin(l.user, 3)
	family.tokens = []auth.Token{{Hash: newHash(), Session: family.session.ID, Kind: auth.Family,
		ExpiresAt: at(1003)}}
	for _, l := range []login{other, family} {
		if err := s.CreateSession(ctx, l.session, l.tokens); err != nil {
			return err
		}
	}
	rotate := func(l login, times int) (login, error) {
		for n := range times {
			next, added := l.rotated(n)
			if err := s.RotateSession(ctx, next.session, added); err != nil {
				return l, err
			}
			l = next
		}
		return l, nil
	}
	gone := func(tokens []auth.Token) error {
		for _, t := range tokens {
			_, err := s.GrantByToken(ctx, t.Hash)
			if err := wantError(fmt.Sprintf("an %s token of generation %d", t.Kind, t.Generation), err,
				auth.ErrNotFound); err != nil {
				return err
			}
		}
		return nil
	}
	if l, err = rotate(l, auth.KeptGenerations); err != nil {
		return err
	}
	if err := l.wantThere(ctx, s); err != nil {
		return fmt.Errorf("after %d rotations: %w", auth.KeptGenerations, err)
	}
	const more = 3
	if l, err = rotate(l, more); err != nil {
		return err
	}
	old := l.tokens[:2*more] // an access and a refresh token each
	l.tokens = l.tokens[2*more:]
	if err := errors.Join(l.wantThere(ctx, s), gone(old), other.wantThere(ctx, s)); err != nil {
		return fmt.Errorf("after %d rotations: %w", auth.KeptGenerations+more, err)
	}
	// Many generations at once; the family stays.
	skipped, added := family.rotated(1)
	skipped.session.Generation += auth.KeptGenerations
	if err := s.RotateSession(ctx, skipped.session, added); err != nil {
		return err
	}
	if err := skipped.wantThere(ctx, s); err != nil {
		return fmt.Errorf("a family: %w", err)
	}
	skipped.session.Generation += auth.KeptGenerations + 1
	skipped.session.Version++
	skipped.tokens = skipped.tokens[:1]
	return errors.Join(s.RotateSession(ctx, skipped.session, nil), skipped.wantThere(ctx, s), gone(added))
}

func authRotateRefused(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	next, added := l.rotated(5)
	for _, version := range []int64{0, 1, 3} {
		stale := next
		stale.session.Version = version
		if err := wantError(fmt.Sprintf("a rotation from version 1 to %d", version),
			s.RotateSession(ctx, stale.session, added), auth.ErrConflict); err != nil {
			return err
		}
	}
	for _, t := range added {
		_, err := s.GrantByToken(ctx, t.Hash)
		if err := wantError("a token of a refused rotation", err, auth.ErrNotFound); err != nil {
			return err
		}
	}
	return errors.Join(l.wantThere(ctx, s), newLogin(l.user, 7).wantGone(ctx, s))
}

func authRotateRace(ctx context.Context, s store.Store) error {
	l, err := createLogin(ctx, s, 1)
	if err != nil {
		return err
	}
	const callers = 50
	next, added := make([]login, callers), make([][]auth.Token, callers)
	for i := range callers {
		next[i], added[i] = l.rotated(i)
	}
	rotate := func(i int) error { return s.RotateSession(ctx, next[i].session, added[i]) }
	return race(callers, auth.ErrConflict, rotate, func(winner int) error {
		for i := range callers {
			if i == winner {
				continue
			}
			_, err := s.GrantByToken(ctx, added[i][0].Hash)
			if err := wantError("a token of a rotation that lost", err, auth.ErrNotFound); err != nil {
				return err
			}
		}
		return next[winner].wantThere(ctx, s)
	})
}
