package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// unstorable is what content.Store and auth.Store say of values that no service hands them.
const unstorable = "What a database never takes, such as texts with NUL, it refuses with ErrUnstorable and " +
	"keeps nothing of it; a store that does take it returns it unchanged."

// oddTexts returns texts that some databases take and others do not. The last one has no repetition
// that makes it shorter than what an index can hold.
func oddTexts() []string {
	b := make([]byte, 8<<10)
	mustRead(b)
	return []string{newName() + "\x00" + newName(), newName() + "\xff", "\xed\xa0\x80" + newName(),
		hex.EncodeToString(b)}
}

// refused reports whether err refuses for ever; other errors than that are wrong.
func refused(what string, err error) (bool, error) {
	switch {
	case err == nil:
		return false, nil
	case !errors.Is(err, store.ErrUnstorable) || errors.Is(err, store.ErrUnavailable):
		return false, fmt.Errorf("%s: got the error %w, want none or ErrUnstorable", what, err)
	}
	return true, nil
}

func contentUnstorable(ctx context.Context, s store.Store) error {
	kept := newContent(newName(), 1)
	if err := s.CreateContent(ctx, kept); err != nil {
		return err
	}
	for _, odd := range oddTexts() {
		for field, set := range map[string]func(*content.Content){
			"title":       func(c *content.Content) { c.Title = odd },
			"description": func(c *content.Content) { c.Description = odd },
			"author":      func(c *content.Content) { c.Author = odd },
		} {
			what := fmt.Sprintf("a content with the %s %.40q", field, odd)
			c := newContent(newName(), 2)
			set(&c)
			no, err := refused(what, s.CreateContent(ctx, c))
			if err != nil {
				return err
			}
			found, err := s.ContentsByID(ctx, []string{c.ID})
			if err != nil {
				return err
			}
			if no && len(found) != 0 || !no && (len(found) != 1 || found[0] != c) {
				return fmt.Errorf("%s, refused %t, came back as %.300s", what, no, show(found))
			}
			if field == "author" { // never changes
				continue
			}
			next := kept
			next.Version++
			set(&next)
			if no, err = refused("a change to "+what, s.UpdateContent(ctx, next)); err != nil {
				return err
			}
			if !no {
				kept = next
			}
			got, err := contentByID(ctx, s, kept.ID)
			if err := errors.Join(err, want(fmt.Sprintf("after a change to %s, refused %t", what, no), got,
				kept)); err != nil {
				return err
			}
		}
	}
	return nil
}

func authUnstorable(ctx context.Context, s store.Store) error {
	for _, odd := range oddTexts() {
		for field, set := range map[string]func(*auth.User){
			"username": func(u *auth.User) { u.Username = odd },
			"name":     func(u *auth.User) { u.Canonical = odd },
			"e-mail":   func(u *auth.User) { u.Email = odd },
		} {
			what := fmt.Sprintf("a user with the %s %.40q", field, odd)
			u := newUser(1)
			plain := u.Canonical
			set(&u)
			no, err := refused(what, s.CreateUser(ctx, u))
			if err != nil {
				return err
			}
			found, err := s.UsersByID(ctx, []string{u.ID})
			if err != nil {
				return err
			}
			if no && len(found) != 0 || !no && (len(found) != 1 || found[0] != u) {
				return fmt.Errorf("%s, refused %t, came back as %.300s", what, no, show(found))
			}
			if no { // neither is the name taken
				u = newUser(2)
				u.Canonical = plain
				if err := s.CreateUser(ctx, u); err != nil {
					return fmt.Errorf("the name of %s, who was refused: %w", what, err)
				}
			}
			login := newLogin(u, 1)
			login.session.Label = odd
			if no, err = refused(fmt.Sprintf("a session with the label %.40q", odd),
				s.CreateSession(ctx, login.session, login.tokens)); err != nil {
				return err
			}
			sessions, err := s.SessionsByUser(ctx, u.ID)
			if err != nil {
				return err
			}
			if no && len(sessions) != 0 || !no && (len(sessions) != 1 || sessions[0] != login.session) {
				return fmt.Errorf("a session with the label %.40q, refused %t, came back as %.300s", odd, no,
					show(sessions))
			}
		}
	}
	return nil
}

func ratingUnstorable(ctx context.Context, s store.Store) error {
	for _, odd := range oddTexts() {
		for _, k := range []rating.Key{{Content: odd, Rater: newName()}, {Content: newName(), Rater: odd}} {
			good, bad := change(newKey(), 1, 3), change(k, 2, 4)
			what := fmt.Sprintf("a batch with the key %.300q", k)
			_, err := apply(ctx, s, good, bad)
			no, err := refused(what, err)
			if err != nil {
				return err
			}
			_, there, err := ratingByKey(ctx, s, good.Key)
			if err := errors.Join(err, want(what+": the other change is applied", there, !no)); err != nil {
				return err
			}
			if no {
				continue
			}
			if _, err := applyOne(ctx, s, bad, rating.Created); err != nil { // the second time
				return fmt.Errorf("%s: %w", what, err)
			}
			got, there, err := ratingByKey(ctx, s, k)
			if err := errors.Join(err, want(what+": the change is applied", there, true),
				want("the key", got.Key, k)); err != nil {
				return err
			}
			numbers, err := statsOf(ctx, s, k.Content)
			if err := errors.Join(err, want(what+": ratings of the content", numbers.Count, 1)); err != nil {
				return err
			}
		}
	}
	return nil
}

func ratingDeadLetterBytes(ctx context.Context, s store.Store) error {
	all := make([]byte, 0, 256)
	for b := range 256 {
		all = append(all, byte(b))
	}
	for i, odd := range append(oddTexts(), "", string(all), strings.Repeat(string(all), 400)) {
		r := newDeadLetter(odd, i)
		r.Position = queue.Position{Stream: newName(), Offset: int64(i)}
		r.Body, r.Detail = []byte(odd), odd
		r.Body = bytes.Clone(r.Body[:min(len(odd), 64<<10)])
		for range 2 {
			if err := reject(ctx, s, r); err != nil {
				return fmt.Errorf("a dead letter with the key, body and detail %.40q: %w", odd, err)
			}
		}
		if err := errors.Join(
			wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: odd, Position: r.Position, Limit: 9}, r),
			wantDeadLetters(ctx, s, rating.DeadLetterQuery{Position: r.Position, Limit: 9}, r),
		); err != nil {
			return err
		}
	}
	return nil
}
