package auth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/authtest"
)

// A21: the module's own authenticator keeps the contract that it asks hosts to keep.
func TestAuthenticatorContract(t *testing.T) {
	t.Parallel()
	authtest.Run(t, func(t *testing.T) authtest.Host {
		e := newEnv(t, nil)
		with := func(token string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
		}
		user := func(name string, staff bool) authtest.User {
			u := e.register(name)
			if err := e.SetStaff(t.Context(), name, staff); err != nil {
				t.Fatal(err)
			}
			tokens := e.login(name)
			return authtest.User{Principal: auth.Principal{Subject: u.ID, Staff: staff, Session: tokens.Session.ID},
				Sign: with(tokens.Access)}
		}
		e.register("eve")
		outdated := e.login("eve")
		e.clock.Advance(2 * time.Hour)
		unknown, _ := auth.NewToken(auth.Access)
		return authtest.Host{
			Authenticator: e.Service,
			Users:         []authtest.User{user("alice", false), user("boss", true)},
			Wrong: map[string]func(*http.Request){
				"an outdated token": with(outdated.Access), "a refresh token": with(outdated.Refresh),
				"an unknown token": with(unknown),
				"another scheme":   func(r *http.Request) { r.SetBasicAuth("alice", password) },
			},
			Break: func() { e.store.on(down()) },
		}
	}, authtest.Config{})
}
