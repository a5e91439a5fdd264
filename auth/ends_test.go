package auth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
)

// ends are what ends sessions of alice, done on the node that e is. Each is handed the principal of
// a session that is to end, and of another one of hers.
var ends = map[string]func(e *env, ended, other auth.Principal) error{
	"logout": func(e *env, ended, _ auth.Principal) error { return e.Logout(e.t.Context(), ended) },
	"one session": func(e *env, ended, other auth.Principal) error {
		return e.EndSession(e.t.Context(), other, ended.Session)
	},
	"other sessions": func(e *env, _, other auth.Principal) error { return e.EndOtherSessions(e.t.Context(), other) },
	"password": func(e *env, _, other auth.Principal) error {
		return e.ChangePassword(e.t.Context(), other, password, "another horse battery", from(0))
	},
	"set password": func(e *env, _, _ auth.Principal) error {
		return e.SetPassword(e.t.Context(), "alice", "another horse battery")
	},
	"role":    func(e *env, _, _ auth.Principal) error { return e.SetStaff(e.t.Context(), "alice", true) },
	"disable": func(e *env, _, _ auth.Principal) error { return e.SetDisabled(e.t.Context(), "alice", true) },
	"delete": func(e *env, _, other auth.Principal) error {
		return e.DeleteAccount(e.t.Context(), other, password, "", from(0))
	},
}

// secondNode returns another process on the store and the counter of e, with a way to the store of
// its own, which may fail.
func secondNode(e *env, c *sharedCounter) *env {
	e.t.Helper()
	node := &env{t: e.t, store: &faultStore{Store: e.store.Store, n: map[string]int{}}, clock: e.clock, log: e.log}
	node.Service = node.another(func(cfg *auth.Config) { cfg.Counter = c })
	return node
}

// A19: a node refuses the tokens of a session that another node ended within a second while the
// shared counter answers, also if its way to the store is cut; those of users without ended
// sessions it accepts.
func TestEndsWhileStoreIsDown(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, c := newFleet(t)
			e.register("alice")
			e.register("bobby")
			node := secondNode(e, c)
			ended, other, bobby := e.login("alice"), e.login("alice"), e.login("bobby")
			for _, tokens := range []auth.Tokens{ended, other, bobby} {
				node.mustBe(tokens.Access)
			}
			node.store.on(down())
			node.clock.Advance(time.Minute) // by now the store would be asked again
			node.mustBe(ended.Access)       // and is not needed
			if err := end(e, e.mustBe(ended.Access), e.mustBe(other.Access)); err != nil {
				t.Fatal(err)
			}
			node.clock.Advance(auth.EndsWithin)
			for range 5 {
				_, err := node.who(ended.Access)
				wantErr(t, err, auth.ErrUnavailable)
				node.mustBe(bobby.Access)
				node.clock.Advance(time.Second)
			}
			node.store.on(nil)
			node.clock.Advance(time.Second)
			_, err := node.who(ended.Access)
			wantErr(t, err, auth.ErrInvalidCredentials)
		})
	}
}

// A19: an end is not missed because an earlier one is remembered, or because the counter has
// forgotten one, and one that was noticed costs no further checks.
func TestEndsOneAfterAnother(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	node := secondNode(e, c)
	for _, forgets := range []bool{false, true, false} {
		ended, other := e.login("alice"), e.login("alice")
		node.mustBe(ended.Access)
		node.mustBe(other.Access)
		if forgets {
			c.forget()
		}
		if err := e.Logout(t.Context(), e.mustBe(ended.Access)); err != nil {
			t.Fatal(err)
		}
		node.clock.Advance(auth.EndsWithin)
		_, err := node.who(ended.Access)
		wantErr(t, err, auth.ErrInvalidCredentials)
		node.mustBe(other.Access)
		asked := node.store.calls("GrantByToken")
		node.clock.Advance(auth.EndsWithin)
		node.mustBe(other.Access)
		if n := node.store.calls("GrantByToken") - asked; n != 0 {
			t.Errorf("the store was asked %d times about a session that goes on", n)
		}
	}
}

// A19: a counter that failed while a session ended is told with a later request, so that other
// nodes know within a second again.
func TestRevocationsAreSharedLater(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	e.register("bobby")
	node := secondNode(e, c)
	ended, bobby := e.login("alice"), e.login("bobby")
	node.mustBe(ended.Access)
	node.store.on(down())
	c.set(errors.New("i/o timeout"), false)
	if err := e.Logout(t.Context(), e.mustBe(ended.Access)); err != nil {
		t.Fatal(err)
	}
	c.set(nil, false)
	e.clock.Advance(time.Second) // a counter that failed is left alone for as long
	e.mustBe(bobby.Access)
	node.clock.Advance(auth.EndsWithin)
	_, err := node.who(ended.Access)
	wantErr(t, err, auth.ErrUnavailable)
}

// A19: with the store and the counter down, tokens of ended sessions pass for StaleTokens, no
// longer.
func TestEndsWhileAllIsDown(t *testing.T) {
	t.Parallel()
	e, c := newFleet(t)
	e.register("alice")
	node := secondNode(e, c)
	ended := e.login("alice")
	node.mustBe(ended.Access)
	node.store.on(down())
	c.set(errors.New("connection refused"), false)
	if err := e.Logout(t.Context(), e.mustBe(ended.Access)); err != nil {
		t.Fatal(err)
	}
	node.clock.Advance(10 * time.Minute)
	node.mustBe(ended.Access)
	node.clock.Advance(time.Microsecond)
	_, err := node.who(ended.Access)
	wantErr(t, err, auth.ErrUnavailable)
}
