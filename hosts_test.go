package khodnevis_test

import (
	"context"
	"net/http"

	"github.com/khodnevis/khodnevis/auth"
)

// nobody is a host's users: all requests are anonymous.
type nobody struct{}

func (nobody) Authenticate(context.Context, *http.Request) (auth.Principal, error) {
	return auth.Principal{}, auth.ErrNoCredentials
}

// everything is a host's contents: all of them may be rated.
type everything struct{}

func (everything) Rateable(_ context.Context, ids []string) ([]string, error) { return ids, nil }
