package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

// user is a registered user with a session. Its methods may be called concurrently.
type user struct {
	credentials
	id string

	mu              sync.Mutex
	access, refresh string
}

type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// signUp registers the user number n of a seed and logs in. The same user of an earlier run is used
// again, and so is one whose registration had no answer but took place.
func signUp(ctx context.Context, c *client, seed uint64, n int) (*user, error) {
	u := &user{credentials: credentials{Username: fmt.Sprintf("replay_%d_%d", seed, n)}}
	// Deterministic, so that a later run can log in; no worse for that, as the account is a test's.
	sum := sha256.Sum256([]byte("password of " + u.Username))
	u.Password = base64.RawURLEncoding.EncodeToString(sum[:])

	r := request{method: http.MethodPost, path: "users/", body: u.credentials}
	a, err := c.do(ctx, r)
	if err == nil && a.status != http.StatusCreated && !taken(a) {
		err = fmt.Errorf("POST users/: %s", a.problem())
	}
	if err == nil {
		err = u.login(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("sign up %s: %w", u.Username, err)
	}
	return u, nil
}

func taken(a answer) bool {
	var p struct {
		Errors []struct{ Field, Code string }
	}
	return a.status == http.StatusBadRequest && json.Unmarshal(a.body, &p) == nil &&
		len(p.Errors) == 1 && p.Errors[0].Field == "username" && p.Errors[0].Code == "unique"
}

func (u *user) login(ctx context.Context, c *client) error {
	var got struct {
		Access, Refresh string
		User            struct{ ID string }
	}
	r := request{method: http.MethodPost, path: "users/login/", body: u.credentials}
	if err := c.call(ctx, r, http.StatusOK, &got); err != nil {
		return err
	}
	if got.Access == "" || got.User.ID == "" {
		return fmt.Errorf("log in %s: the answer lacks the access token or the user's id", u.Username)
	}
	u.id, u.access, u.refresh = got.User.ID, got.Access, got.Refresh
	return nil
}

func (u *user) token() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.access
}

// renew replaces an access token that the server no longer takes, once however many requests met
// that.
func (u *user) renew(ctx context.Context, c *client, old string) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.access != old {
		return u.access, nil
	}
	var got struct{ Access, Refresh string }
	r := request{method: http.MethodPost, path: "users/token/refresh/", body: map[string]string{"refresh": u.refresh}}
	if err := c.call(ctx, r, http.StatusOK, &got); err != nil {
		err := u.login(ctx, c)
		return u.access, err
	}
	u.access, u.refresh = got.Access, got.Refresh
	return u.access, nil
}
