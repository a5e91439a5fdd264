package auth_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// All problems of a registration are told at once; an e-mail address may be empty.
func TestRegister(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	_, err := e.Register(t.Context(), auth.Registration{Username: "x", Password: "short", Email: "nowhere"}, from(0))
	var bad *auth.ValidationError
	if !errors.As(err, &bad) || len(bad.Fields) != 3 {
		t.Fatalf("got %v", err)
	}
	u, err := e.Register(t.Context(), auth.Registration{Username: "Alice", Password: password, Email: "a@example.org"},
		from(0))
	if err != nil {
		t.Fatal(err)
	}
	if u.Username != "Alice" || u.Canonical != "alice" || u.Email != "a@example.org" || u.Version != 1 ||
		!u.JoinedAt.Equal(e.clock.Now()) {
		t.Errorf("got %+v", u)
	}
	// A23: nobody is staff by registering.
	if u.Staff || u.Disabled {
		t.Errorf("got %+v", u)
	}
	if !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$") {
		t.Errorf("hash %q", u.PasswordHash)
	}
}

func TestEmail(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(c *auth.Config) { c.LimitsOff = true })
	e.register("alice")
	me := e.mustBe(e.login("alice").Access)
	for email, ok := range map[string]bool{
		"": true, "a@b": true, "alice+tag@example.org": true, "علی@example.org": true,
		strings.Repeat("a", 242) + "@example.org": true, strings.Repeat("a", 243) + "@example.org": false,
		"alice": false, "@example.org": false, "alice@": false, "a b@example.org": false, "Alice <alice@example.org>": false,
		"<alice@example.org>": false, "alice@example.org ": false, "alice@example.org, bob@example.org": false,
		"alice@example.org\r\nBcc: x": false,
		"ali\x00ce@example.org":       false, "alice@example.org (comment)": false, "\xff@example.org": false,
		"\u202ealice@example.org": false,
	} {
		u, err := e.ChangeEmail(t.Context(), me, email, password, from(0))
		if !ok {
			wantField(t, err, "email", "invalid")
		} else if err != nil || u.Email != email {
			t.Errorf("%q: %v", email, err)
		}
	}
}

// A19, A24: changing the password needs the current one, and ends all other sessions, at once.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	mine, other := e.login("alice"), e.login("alice")
	me := e.mustBe(mine.Access)
	e.mustBe(other.Access)
	hashes, _ := e.CountHashes()
	const next = "seven green bottles hung"

	wantErr(t, e.ChangePassword(t.Context(), me, "", next, from(0)), auth.ErrReauth)
	wantField(t, e.ChangePassword(t.Context(), me, password, "password1", from(0)), "new_password", "password_blocked")
	wantField(t, e.ChangePassword(t.Context(), me, password, "", from(0)), "new_password", "blank")
	if n := hashes.Load(); n != 0 {
		t.Errorf("%d hashes so far", n)
	}
	wantErr(t, e.ChangePassword(t.Context(), me, "wrong wrong wrong", next, from(0)), auth.ErrReauth)
	e.mustBe(other.Access)

	if err := e.ChangePassword(t.Context(), me, password, next, from(0)); err != nil {
		t.Fatal(err)
	}
	e.mustBe(mine.Access)
	e.mustRefresh(mine.Refresh)
	_, err := e.who(other.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	_, err = e.refresh(other.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	_, err = e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
	wantErr(t, err, auth.ErrInvalidLogin)
	if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: next}, from(0)); err != nil {
		t.Error(err)
	}
}

// A24: the sixth wrong current password waits, for each of the changes that need it.
func TestReauthThrottle(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	me := e.mustBe(e.login("alice").Access)
	tries := []func(string) error{
		func(p string) error { return e.ChangePassword(t.Context(), me, p, "seven green bottles hung", from(0)) },
		func(p string) error {
			_, err := e.ChangeEmail(t.Context(), me, "a@example.org", p, from(0))
			return err
		},
		func(p string) error { return e.DeleteAccount(t.Context(), me, p, "", from(0)) },
	}
	for n := range 5 {
		wantErr(t, tries[n%3]("wrong wrong wrong"), auth.ErrReauth)
	}
	for _, try := range tries {
		wantThrottled(t, try("wrong wrong wrong"), time.Second, time.Second)
		wantThrottled(t, try(password), time.Second, time.Second)
		wantErr(t, try(""), auth.ErrReauth)
	}
	e.clock.Advance(time.Second)
	if err := tries[1](password); err != nil {
		t.Fatal(err)
	}
	wantErr(t, tries[1]("wrong wrong wrong"), auth.ErrReauth) // a success wipes the failures
}

// A19: a change of password that fails changes nothing, and never leaves another session alive over
// a new password.
func TestChangePasswordStoreDown(t *testing.T) {
	t.Parallel()
	const next = "seven green bottles hung"
	e := newEnv(t, nil)
	e.register("alice")
	me, other := e.mustBe(e.login("alice").Access), e.login("alice")
	e.store.on(down("UpdateUser"))
	wantErr(t, e.ChangePassword(t.Context(), me, password, next, from(0)), auth.ErrUnavailable)
	e.store.on(nil)
	e.login("alice") // with the old one

	e.store.on(down("DeleteSessions"))
	wantErr(t, e.ChangePassword(t.Context(), me, password, next, from(0)), auth.ErrUnavailable)
	e.store.on(nil)
	_, err := e.who(other.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: next}, from(0)); err != nil {
		t.Error(err)
	}
}

// A19: a login that began before a change of password does not outlive it.
func TestLoginDuringPasswordChange(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	me := e.mustBe(e.login("alice").Access)
	changed := false
	e.store.on(func(method string) error {
		if method == "CreateSession" && !changed {
			changed = true
			e.store.on(nil)
			if err := e.ChangePassword(t.Context(), me, password, "seven green bottles hung", from(0)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	_, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
	wantErr(t, err, auth.ErrInvalidLogin)
	sessions, err := e.Sessions(t.Context(), me)
	if err != nil || len(sessions) != 1 || !changed {
		t.Errorf("%d sessions, %v, want the one that changed the password", len(sessions), err)
	}
}

// A24: of two changes of a password at once, the one that comes second no longer knows the current
// one.
func TestPasswordChangesMeet(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	me := e.mustBe(e.login("alice").Access)
	const winner = "seven green bottles hung"
	raced := false
	e.store.on(func(method string) error {
		if method == "UpdateUser" && !raced {
			raced = true
			if err := e.ChangePassword(t.Context(), me, password, winner, from(0)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	wantErr(t, e.ChangePassword(t.Context(), me, password, "eight green bottles hung", from(0)), auth.ErrReauth)
	if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: winner}, from(0)); err != nil {
		t.Error(err)
	}
}

// A login whose hash another login just raised is as good as before.
func TestLoginDuringRehash(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	strong := e.another(func(c *auth.Config) { c.Hash.Memory = 64 })
	raised := false
	e.store.on(func(method string) error {
		if method == "CreateSession" && !raised {
			raised = true
			e.store.on(nil)
			if _, err := strong.Login(t.Context(), auth.Credentials{Username: "alice", Password: password},
				from(0)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	e.login("alice")
	if !raised {
		t.Error("nothing was raised meanwhile")
	}
}

// A25: deleting an account ends its sessions at once, and its user is gone.
func TestDeleteAccount(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	alice := e.register("alice")
	mine, other := e.login("alice"), e.login("alice")
	me := e.mustBe(mine.Access)
	e.mustBe(other.Access)
	wantErr(t, e.DeleteAccount(t.Context(), me, "wrong wrong wrong", "delete", from(0)), auth.ErrReauth)
	if err := e.DeleteAccount(t.Context(), me, password, "delete", from(0)); err != nil {
		t.Fatal(err)
	}
	for _, tokens := range []auth.Tokens{mine, other} {
		_, err := e.who(tokens.Access)
		wantErr(t, err, auth.ErrInvalidCredentials)
		_, err = e.refresh(tokens.Refresh)
		wantErr(t, err, auth.ErrInvalidToken)
	}
	_, err := e.User(t.Context(), alice.ID)
	wantErr(t, err, auth.ErrNotFound)
	wantErr(t, e.DeleteAccount(t.Context(), me, password, "delete", from(0)), auth.ErrNotFound)
	_, err = e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
	wantErr(t, err, auth.ErrInvalidLogin)
}

// A19, A23: staff are made by name, in any spelling of it; changing the role or disabling ends the
// sessions at once.
func TestFlags(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	users, err := e.Users(t.Context(), "", 10)
	if err != nil || len(users) != 0 {
		t.Fatalf("a fresh store has %d users, %v", len(users), err)
	}
	e.register("Alice")
	ended := func(tokens auth.Tokens) {
		t.Helper()
		_, err := e.who(tokens.Access)
		wantErr(t, err, auth.ErrInvalidCredentials)
		_, err = e.refresh(tokens.Refresh)
		wantErr(t, err, auth.ErrInvalidToken)
	}
	plain := e.login("alice")
	e.mustBe(plain.Access)
	if err := e.SetStaff(t.Context(), "ALICE", true); err != nil {
		t.Fatal(err)
	}
	ended(plain)
	staff := e.login("alice")
	if !e.mustBe(staff.Access).Staff {
		t.Error("not staff")
	}
	if err := e.SetStaff(t.Context(), "alice", false); err != nil {
		t.Fatal(err)
	}
	ended(staff)
	plain = e.login("alice")
	if e.mustBe(plain.Access).Staff {
		t.Error("still staff")
	}
	if err := e.SetDisabled(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	ended(plain)
	_, err = e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
	wantErr(t, err, auth.ErrInvalidLogin)
	if err := e.SetDisabled(t.Context(), "alice", false); err != nil {
		t.Fatal(err)
	}
	e.login("alice")
	for _, name := range []string{"nobody_here", "no name\x00", ""} {
		wantErr(t, e.SetStaff(t.Context(), name, true), auth.ErrNotFound)
		wantErr(t, e.SetDisabled(t.Context(), name, true), auth.ErrNotFound)
	}
}

// A19: an operator sets a password that is as good as any, and ends all sessions, at once.
func TestSetPassword(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("Alice")
	tokens := e.login("alice")
	e.mustBe(tokens.Access)
	const next = "seven green bottles hung"
	for bad, code := range map[string]string{"": "blank", "short": "min_length", "password1": "password_blocked",
		"khodnevis": "password_blocked"} {
		wantField(t, e.SetPassword(t.Context(), "alice", bad), "password", code)
	}
	for _, name := range []string{"nobody_here", "no name\x00", ""} {
		wantErr(t, e.SetPassword(t.Context(), name, next), auth.ErrNotFound)
	}
	e.mustBe(tokens.Access)
	e.store.on(down("UpdateUser"))
	wantErr(t, e.SetPassword(t.Context(), "alice", next), auth.ErrUnavailable)
	e.store.on(nil)
	tokens = e.login("alice") // with the old one

	if err := e.SetPassword(t.Context(), "ALICE", next); err != nil {
		t.Fatal(err)
	}
	_, err := e.who(tokens.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	_, err = e.refresh(tokens.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	_, err = e.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0))
	wantErr(t, err, auth.ErrInvalidLogin)
	if _, err := e.Login(t.Context(), auth.Credentials{Username: "alice", Password: next}, from(0)); err != nil {
		t.Error(err)
	}
}

// A clock that goes back leaves no time of a change before that of the creation, nor before that of
// another change.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	joined := e.register("alice")
	tokens := e.login("alice")
	e.clock.Advance(-time.Hour)
	kept := func() auth.User {
		t.Helper()
		u, err := e.User(t.Context(), joined.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if _, err := e.ChangeEmail(t.Context(), e.mustBe(tokens.Access), "a@example.org", password, from(0)); err != nil {
		t.Fatal(err)
	}
	changed := kept()
	if changed.UpdatedAt.Before(joined.JoinedAt) {
		t.Errorf("joined at %v, changed at %v", joined.JoinedAt, changed.UpdatedAt)
	}
	// the login of a process with other parameters makes another hash
	e.clock.Advance(-time.Hour)
	other := e.another(func(c *auth.Config) { c.Hash.Memory *= 2 })
	if _, err := other.Login(t.Context(), auth.Credentials{Username: "alice", Password: password}, from(0)); err != nil {
		t.Fatal(err)
	}
	if u := kept(); u.Version == changed.Version || u.UpdatedAt.Before(changed.UpdatedAt) {
		t.Errorf("changed at %v, then at %v with version %d", changed.UpdatedAt, u.UpdatedAt, u.Version)
	}
	if _, err := e.refresh(tokens.Refresh); err != nil {
		t.Fatal(err)
	}
	sessions, err := e.Sessions(t.Context(), auth.Principal{Subject: joined.ID})
	if err != nil || len(sessions) != 2 {
		t.Fatalf("%+v, %v", sessions, err)
	}
	for _, session := range sessions {
		if session.RotatedAt.Before(session.CreatedAt) {
			t.Errorf("a session began at %v and was used last at %v", session.CreatedAt, session.RotatedAt)
		}
	}
}

// A19: a login with the old password just before the new one is stored does not outlive it.
func TestLoginDuringSetPassword(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	var late auth.Tokens
	e.store.on(func(method string) error {
		if method == "UpdateUser" {
			e.store.on(nil)
			late = e.login("alice")
		}
		return nil
	})
	if err := e.SetPassword(t.Context(), "alice", "seven green bottles hung"); err != nil {
		t.Fatal(err)
	}
	_, err := e.who(late.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	_, err = e.refresh(late.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
}

// A19: a disabled user is refused even where ending the sessions failed, and setting the flag again
// ends them.
func TestDisableStoreDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	e.register("alice")
	tokens := e.login("alice")
	e.mustBe(tokens.Access)
	e.store.on(down("UpdateUser"))
	wantErr(t, e.SetDisabled(t.Context(), "alice", true), auth.ErrUnavailable)
	e.mustBe(tokens.Access)
	e.store.on(down("DeleteSessions"))
	wantErr(t, e.SetDisabled(t.Context(), "alice", true), auth.ErrUnavailable)
	_, err := e.who(tokens.Access)
	wantErr(t, err, auth.ErrInvalidCredentials)
	_, err = e.refresh(tokens.Refresh)
	wantErr(t, err, auth.ErrInvalidToken)
	e.store.on(nil)
	if err := e.SetDisabled(t.Context(), "alice", true); err != nil {
		t.Fatal(err)
	}
	if sessions, err := e.store.SessionsByUser(t.Context(), tokens.User.ID); err != nil || len(sessions) != 0 {
		t.Errorf("%d sessions are left, %v", len(sessions), err)
	}
}

// Changes that meet each other are both kept.
func TestUpdateConflict(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	alice := e.register("alice")
	me := e.mustBe(e.login("alice").Access)
	raced := false
	e.store.on(func(method string) error {
		if method == "UpdateUser" && !raced {
			raced = true
			other, err := e.User(context.Background(), alice.ID)
			if err != nil {
				return err
			}
			other.Staff = true
			other.Version++
			return e.store.Store.UpdateUser(context.Background(), other, auth.SessionFilter{})
		}
		return nil
	})
	u, err := e.ChangeEmail(t.Context(), me, "new@example.org", password, from(0))
	if err != nil || !u.Staff || u.Email != "new@example.org" || u.Version != 3 {
		t.Errorf("got %+v, %v", u, err)
	}
	e.store.on(func(method string) error {
		if method == "UpdateUser" {
			return auth.ErrConflict
		}
		return nil
	})
	_, err = e.ChangeEmail(t.Context(), me, "newer@example.org", password, from(0))
	wantErr(t, err, auth.ErrUnavailable)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	var ids []string
	for _, name := range []string{"alice", "bobby", "carol"} {
		ids = append(ids, e.register(name).ID)
	}
	slices.Sort(ids)
	got, err := e.Users(t.Context(), ids[0], 1)
	if err != nil || len(got) != 1 || got[0].ID != ids[1] {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = e.User(t.Context(), "nothing")
	wantErr(t, err, auth.ErrNotFound)
}

// New reports every problem of its configuration.
func TestNewReportsAll(t *testing.T) {
	t.Parallel()
	_, err := auth.New(nil, auth.Config{
		PasswordMin: 7, AccessTTL: -1, RefreshIdle: 48 * time.Hour, SessionTTL: 24 * time.Hour, MaxSessions: -1,
		MaxHashes: -1, HashQueue: -1, HashWait: -1,
		Hash: auth.HashParams{Memory: 31, Time: 11, Threads: 4},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no store", "PasswordMin", "AccessTTL", "RefreshIdle", "MaxSessions", "MaxHashes",
		"HashQueue", "HashWait", "31 KiB", "11 passes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
	if _, err := auth.New(newEnv(t, nil).store, auth.Config{}); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
}
