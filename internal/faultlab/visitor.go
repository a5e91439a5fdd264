//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// tokens are a session's.
type tokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh"`
}

func (a *account) register(c *client, n *node) *operation {
	return c.do(
		n,
		&operation{Kind: register, User: a.name},
		request{
			method: http.MethodPost,
			path:   "/users/",
			body:   map[string]string{"username": a.name, "password": a.password},
		},
		nil,
	)
}

func (a *account) login(c *client, n *node) *operation {
	var t struct {
		tokens
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	o := c.do(
		n,
		&operation{Kind: login, User: a.name},
		request{
			method: http.MethodPost,
			path:   "/users/login/",
			body:   map[string]string{"username": a.name, "password": a.password},
		},
		func(body []byte, _ *seen) error { return json.Unmarshal(body, &t) },
	)
	if o.fate() == done {
		a.token, a.id = t.Access, t.User.ID
	}
	return o
}

// visit is the whole life of an account: it registers, signs in, reads, refreshes, signs out, and
// is signed out then.
func (w *world) visit(c *client, r *rand.Rand) {
	defer pause(r, 500*time.Millisecond)
	w.mu.Lock()
	w.titles++
	a := &account{name: fmt.Sprintf("visitor%d", w.titles), password: "passing through here"}
	w.mu.Unlock()
	if a.register(c, w.node(r)).fate() != done {
		return
	}
	n := w.node(r)
	var t tokens
	session := a.name
	signedIn := c.do(
		n,
		&operation{Kind: login, User: a.name, Session: session},
		request{method: http.MethodPost, path: "/users/login/",
			body: map[string]string{
				"username": a.name,
				"password": a.password,
			}},
		func(body []byte, _ *seen) error { return json.Unmarshal(body, &t) },
	)
	if signedIn.fate() != done {
		return
	}
	w.readMe(c, w.node(r), a, session, t.Access)
	fresh := t
	refreshed := c.do(
		w.node(r),
		&operation{Kind: refresh, User: a.name, Session: session},
		request{method: http.MethodPost, path: "/users/token/refresh/",
			body: map[string]string{
				"refresh": t.Refresh,
			}},
		func(body []byte, _ *seen) error { return json.Unmarshal(body, &fresh) },
	)
	if refreshed.fate() != done { // whether the session has another token now is not known
		return
	}
	w.readMe(c, w.node(r), a, session, fresh.Access)
	c.do(
		n,
		&operation{Kind: logout, User: a.name, Session: session},
		request{method: http.MethodPost, path: "/users/logout/", token: fresh.Access},
		nil,
	)
	w.readMe(c, n, a, session, fresh.Access)
	time.Sleep(endsWithin)
	w.readMe(c, w.node(r), a, session, fresh.Access)
}

func (w *world) readMe(c *client, n *node, a *account, session, token string) {
	c.do(
		n,
		&operation{Kind: readMe, User: a.name, Session: session},
		request{method: http.MethodGet, path: "/users/me/", token: token},
		nil,
	)
}
