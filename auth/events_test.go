package auth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// A26: what happens to accounts is logged under names that do not change, and without secrets.
func TestEvents(t *testing.T) {
	t.Parallel()
	const next, typed = "seven green bottles hung", "my-password-in-the-name-field"
	e := newEnv(t, nil)
	e.register("alice")
	first, third := e.login("alice"), e.login("alice")
	me := e.mustBe(first.Access)
	e.register("bobby")
	bob := e.login("bobby")
	secrets := []string{password, "correct", next, typed, "wrong wrong", "argon2id", "alice", "bobby"}
	keep := func(tokens auth.Tokens) auth.Tokens {
		secrets = append(secrets, tokens.Access, tokens.Refresh, tokens.Access[4:], tokens.Refresh[4:])
		return tokens
	}
	keep(first)
	keep(third)
	keep(bob)
	check := func(what string, want ...string) {
		t.Helper()
		if got := events(t, e.log); !slices.Equal(got, want) {
			t.Errorf("%s: logged %q, want %q", what, got, want)
		}
		for _, s := range secrets {
			if strings.Contains(e.log.String(), s) {
				t.Errorf("%s: %q is in the log: %s", what, s, e.log)
			}
		}
		e.log.Reset()
	}
	check("register and log in", "auth.registered", "auth.login", "auth.login", "auth.registered", "auth.login")

	_ = e.wrong(typed, from(1))
	check("unknown", "auth.login_failed")
	for range 6 {
		_ = e.wrong("alice", from(1))
	}
	check("throttle", "auth.login_failed", "auth.login_failed", "auth.login_failed", "auth.login_failed",
		"auth.login_failed", "auth.throttled")

	bad, _ := auth.NewToken(auth.Access)
	secrets = append(secrets, bad)
	_, _ = e.who(bad)
	_, _ = e.who("junk " + bad)
	check("denial", "auth.denied", "auth.denied")

	keep(e.mustRefresh(bob.Refresh))
	e.clock.Advance(time.Minute)
	_, _ = e.refresh(bob.Refresh)
	check("reuse", "auth.refresh_reuse")

	_ = e.ChangePassword(t.Context(), me, "wrong wrong wrong", next, from(0))
	_ = e.ChangePassword(t.Context(), me, password, next, from(0))
	check("password", "auth.reauth_failed", "auth.password_changed")
	_, _ = e.ChangeEmail(t.Context(), me, "a@example.org", next, from(0))
	check("e-mail", "auth.email_changed")
	_ = e.EndSession(t.Context(), me, me.Session)
	_ = e.EndOtherSessions(t.Context(), me)
	_ = e.Logout(t.Context(), me)
	check("sessions", "auth.session_ended", "auth.sessions_ended", "auth.logout")
	_ = e.SetStaff(t.Context(), "alice", true)
	_ = e.SetStaff(t.Context(), "alice", true)
	_ = e.SetDisabled(t.Context(), "alice", true)
	_, _ = e.Login(t.Context(), auth.Credentials{Username: "alice", Password: next}, from(0))
	check("roles", "auth.role_changed", "auth.disabled_changed", "auth.login_failed")
	_ = e.SetPassword(t.Context(), "alice", "short")
	_ = e.SetPassword(t.Context(), "alice", typed)
	_ = e.SetPassword(t.Context(), "alice", next)
	check("an operator", "auth.password_set", "auth.password_set")
	_ = e.DeleteAccount(t.Context(), me, next, "anonymize", from(0))
	check("deletion", "auth.account_deleted")
}
