// Package authtest is the suite that every implementation of auth.Authenticator must pass. Each
// check quotes the sentence of package auth that it is about.
//
//	func TestAuthenticator(t *testing.T) {
//		authtest.Run(t, func(t *testing.T) authtest.Host {
//			site := open(t)
//			return authtest.Host{
//				Authenticator: site,
//				Users: []authtest.User{
//					{Principal: auth.Principal{Subject: "7"}, Sign: withCookie(site.login("ana"))},
//					{Principal: auth.Principal{Subject: "8", Staff: true}, Sign: withCookie(site.login("ben"))},
//				},
//				Wrong: map[string]func(*http.Request){"an ended session": withCookie(site.ended())},
//				Break: site.closeDatabase,
//			}
//		}, authtest.Config{})
//	}
//
// What the REST surface makes of the answers is its own affair, and tested there.
package authtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"

	"github.com/khodnevis/khodnevis/internal/suite"
)

// Host is an Authenticator and what its clients send.
type Host struct {
	Authenticator auth.Authenticator
	// Users are at least two, with credentials that are good.
	Users []User
	// Wrong puts credentials that must be refused on a request, by what is wrong with them; at
	// least one.
	Wrong map[string]func(r *http.Request)
	// Break takes away what the Authenticator asks, such as a database, until the check is over.
	// Nil: it asks nothing that could fail.
	Break func()
}

// User is somebody with good credentials.
type User struct {
	// Principal is what Authenticate must return.
	Principal auth.Principal
	// Sign puts the credentials on the header of a request. It may be called concurrently.
	Sign func(r *http.Request)
}

// Config is for authenticators that need time.
type Config struct {
	// Timeout bounds each check. Default 10 s.
	Timeout time.Duration
}

// Check is one thing that an authenticator promises.
type Check struct {
	Name     string
	Sentence string // as it stands in package auth
	// Run reports what is wrong with the authenticator of a fresh h, before ctx is done.
	Run func(ctx context.Context, h Host) error
}

// Checks is the suite in reading order. It is not to be changed.
var Checks = []Check{
	{"anonymous", "It returns ErrNoCredentials for a request without any (an anonymous one)", anonymous},
	{"good credentials", "Principal is who makes a request.", good},
	{"wrong credentials", "ErrInvalidCredentials for one with wrong or outdated ones", wrong},
	{"unavailable", "ErrUnavailable when it cannot tell", unavailable},
	{"one error", "An error is one of the three at most", oneError},
	{"error without a principal", "with an error the Principal is zero.", errorAlone},
	{"junk", "Whatever a client sends instead of credentials, junk of any length included, is none or wrong ones: " +
		"never a failure.", junk},
	{"subjects", "Subject is the user's identifier: 1 to 128 bytes of [A-Za-z0-9_.@|=+-], and not \".\" or \"..\".",
		subjects},
	{"one subject a user", "The Subject of a user is the same in every request, and no other user's.", oneSubject},
	{"body", "Authenticate reads the request's header only, never its body", body},
	{"request", "and leaves the request as it is.", request},
	{"end of the context", "It returns soon after ctx is done", contextEnds},
	{"good credentials out of time", "that time ran out does not make good credentials wrong or missing.", outOfTime},
	{"many requests", "Authenticate may be called concurrently.", manyRequests},
}

// Run runs every check as a parallel subtest. Open is called in the subtest and must return a fresh
// Host each time; what several of them share, such as a server, is closed by t.Cleanup of the test
// around Run and not by defer, because parallel subtests end after their parent's function.
func Run(t *testing.T, open func(t *testing.T) Host, cfg Config) {
	t.Helper()
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	for _, check := range Checks {
		suite.Run(t, check.Name, check.Sentence, cfg.Timeout, open, func(ctx context.Context, h Host) error {
			if h.Authenticator == nil || len(h.Users) < 2 || len(h.Wrong) == 0 {
				return errors.New("the suite needs an authenticator, two users and something wrong: see authtest.Host")
			}
			return check.Run(ctx, h)
		})
	}
}

// errLate is what ask returns when there is no answer.
var errLate = errors.New("authtest: no answer in time")

// ask authenticates r under its own context. It waits no longer than ctx lasts, and makes a panic
// an error.
func (h Host) ask(ctx context.Context, r *http.Request) (auth.Principal, error) {
	type answer struct {
		who auth.Principal
		err error
	}
	answers, asking := make(chan answer, 1), r.Context()
	go func() {
		defer func() {
			if v := recover(); v != nil {
				answers <- answer{err: fmt.Errorf("authtest: panic: %v\n%s", v, debug.Stack())}
			}
		}()
		who, err := h.Authenticator.Authenticate(asking, r)
		answers <- answer{who, err}
	}()
	select {
	case a := <-answers:
		return a.who, a.err
	case <-ctx.Done():
		return auth.Principal{}, errLate
	}
}

// as authenticates a request that sign was applied to.
func (h Host) as(ctx context.Context, sign func(*http.Request)) (auth.Principal, error) {
	return h.ask(ctx, signed(ctx, sign))
}

// signed returns a request with a context that sign, if it is not nil, was applied to.
func signed(ctx context.Context, sign func(*http.Request)) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://host.example/api/ratings/?page=2", nil)
	if err != nil {
		panic(err) // the URL is a constant
	}
	r.RequestURI = r.URL.RequestURI()
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "authtest")
	if sign != nil {
		sign(r)
	}
	return r
}
