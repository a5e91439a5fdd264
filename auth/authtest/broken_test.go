package authtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/authtest"
)

// authenticator is one for keys in a header, right as it stands.
type authenticator struct {
	users  map[string]auth.Principal // by key
	broken atomic.Bool
	// wrap, if not nil, is what is wrong with it.
	wrap func(ctx context.Context, r *http.Request) (auth.Principal, error)
}

func right() *authenticator {
	return &authenticator{users: map[string]auth.Principal{"ana's": {Subject: "7"}, "ben's": {Subject: "8", Staff: true}}}
}

func (a *authenticator) Authenticate(ctx context.Context, r *http.Request) (auth.Principal, error) {
	if a.wrap != nil {
		return a.wrap(ctx, r)
	}
	return a.find(ctx, r)
}

func (a *authenticator) find(ctx context.Context, r *http.Request) (auth.Principal, error) {
	key := r.Header.Get("X-Key")
	if key == "" {
		return auth.Principal{}, auth.ErrNoCredentials
	}
	if err := ctx.Err(); err != nil {
		return auth.Principal{}, err
	}
	if a.broken.Load() {
		return auth.Principal{}, fmt.Errorf("keys: %w", auth.ErrUnavailable)
	}
	who, ok := a.users[key]
	if !ok {
		return auth.Principal{}, fmt.Errorf("keys: %w", auth.ErrInvalidCredentials)
	}
	return who, nil
}

func (a *authenticator) host() authtest.Host {
	sign := func(key string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Key", key) }
	}
	return authtest.Host{
		Authenticator: a,
		Users: []authtest.User{{Principal: a.users["ana's"], Sign: sign("ana's")},
			{Principal: a.users["ben's"], Sign: sign("ben's")}},
		Wrong: map[string]func(*http.Request){"an unknown key": sign("eve's")},
		Break: func() { a.broken.Store(true) },
	}
}

// mutant is a way to be wrong, the check that must see it, and what that check says.
type mutant struct {
	name  string
	check string
	says  string
	wrong func(a *authenticator)
}

// answering changes what a right authenticator answers.
func answering(f func(r *http.Request, who auth.Principal, err error) (auth.Principal, error)) func(*authenticator) {
	return func(a *authenticator) {
		a.wrap = func(ctx context.Context, r *http.Request) (auth.Principal, error) {
			who, err := a.find(ctx, r)
			return f(r, who, err)
		}
	}
}

// instead changes one error into another.
func instead(of, err error) func(*authenticator) {
	return answering(func(_ *http.Request, who auth.Principal, was error) (auth.Principal, error) {
		if errors.Is(was, of) {
			return who, err
		}
		return who, was
	})
}

// before does something to each request first.
func before(f func(r *http.Request)) func(*authenticator) {
	return func(a *authenticator) {
		a.wrap = func(ctx context.Context, r *http.Request) (auth.Principal, error) {
			f(r)
			return a.find(ctx, r)
		}
	}
}

var mutants = []mutant{
	{"calls the anonymous wrong", "anonymous", "invalid credentials",
		instead(auth.ErrNoCredentials, auth.ErrInvalidCredentials)},
	{"has an account for everybody", "anonymous", "everybody",
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			if errors.Is(err, auth.ErrNoCredentials) {
				return auth.Principal{Subject: "everybody"}, nil
			}
			return who, err
		})},
	{"forgets who is staff", "good credentials", "user 1",
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			who.Staff = false
			return who, err
		})},
	{"refuses everybody", "good credentials", "user 0",
		answering(func(_ *http.Request, _ auth.Principal, err error) (auth.Principal, error) {
			return auth.Principal{}, errors.Join(err, auth.ErrInvalidCredentials)
		})},
	{"takes the wrong for nobody", "wrong credentials", "no credentials",
		instead(auth.ErrInvalidCredentials, auth.ErrNoCredentials)},
	{"makes the wrong a failure", "wrong credentials", "sql",
		instead(auth.ErrInvalidCredentials, errors.New("sql: no rows in result set"))},
	{"remembers whom it refused as good", "wrong credentials", "Subject:7", func(a *authenticator) {
		var seen sync.Map
		answering(func(r *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			if _, again := seen.LoadOrStore(r.Header.Get("X-Key"), true); again && errors.Is(err, auth.ErrInvalidCredentials) {
				return auth.Principal{Subject: "7"}, nil
			}
			return who, err
		})(a)
	}},
	{"logs everybody out while unavailable", "unavailable", "user 0",
		instead(auth.ErrUnavailable, auth.ErrInvalidCredentials)},
	{"lets everybody in while unavailable", "unavailable", "an unknown key", func(a *authenticator) {
		answering(func(r *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			if !errors.Is(err, auth.ErrUnavailable) {
				return who, err
			}
			if who, ok := a.users[r.Header.Get("X-Key")]; ok {
				return who, nil
			}
			return auth.Principal{Subject: "everybody"}, nil
		})(a)
	}},
	{"makes unavailability a failure", "unavailable", "connection refused",
		instead(auth.ErrUnavailable, errors.New("connection refused"))},
	{"asks about the anonymous, too", "unavailable", "nothing to ask", func(a *authenticator) {
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			if a.broken.Load() {
				return auth.Principal{}, auth.ErrUnavailable
			}
			return who, err
		})(a)
	}},
	{"is wrong and unavailable at once", "one error", "2 of them",
		instead(auth.ErrUnavailable, errors.Join(auth.ErrUnavailable, auth.ErrInvalidCredentials))},
	{"is wrong and missing at once", "one error", "2 of them",
		instead(auth.ErrInvalidCredentials, errors.Join(auth.ErrNoCredentials, auth.ErrInvalidCredentials))},
	{"says whom it refuses", "error without a principal", "Subject:7",
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			if err != nil {
				who.Subject = "7"
			}
			return who, err
		})},
	{"trips over what is long", "junk", "bytes",
		answering(func(r *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			if len(r.Header.Get("X-Key")) > 4096 {
				return auth.Principal{}, errors.New("value too long for type character varying(4096)")
			}
			return who, err
		})},
	{"panics over what has no dot", "junk", "panic", before(func(r *http.Request) {
		if key := r.Header.Get("X-Key"); key != "" && !strings.HasSuffix(key, "'s") {
			_ = strings.Split(key, ".")[1]
		}
	})},
	{"looks at the beginning only", "junk", "good and junk", before(func(r *http.Request) {
		if key := r.Header.Get("X-Key"); len(key) > 5 {
			r.Header.Set("X-Key", key[:5])
		}
	})},
	{"has subjects with blanks", "subjects", `"user 7"`,
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			who.Subject = "user " + who.Subject
			return who, err
		})},
	{"has no subjects", "subjects", `""`,
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			who.Subject = ""
			return who, err
		})},
	{"has a new subject each time", "one subject a user", "then", func(a *authenticator) {
		var n atomic.Int64
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			who.Subject = fmt.Sprint(who.Subject, "-", n.Add(1))
			return who, err
		})(a)
	}},
	{"has one subject for all", "one subject a user", "both",
		answering(func(_ *http.Request, who auth.Principal, err error) (auth.Principal, error) {
			who.Subject = "user"
			return who, err
		})},
	{"reads the body", "body", "read", before(func(r *http.Request) { _, _ = io.ReadAll(r.Body) })},
	{"looks for a form", "body", "x-www-form-urlencoded", before(func(r *http.Request) { _ = r.FormValue("key") })},
	{"takes the key off the header", "request", "X-Key", func(a *authenticator) {
		a.wrap = func(ctx context.Context, r *http.Request) (auth.Principal, error) {
			defer r.Header.Del("X-Key")
			return a.find(ctx, r)
		}
	}},
	{"adds the user to the header", "request", "X-User", before(func(r *http.Request) { r.Header.Set("X-User", "7") })},
	{"parses the query into the request", "request", "page", before(func(r *http.Request) { _ = r.ParseForm() })},
	{"waits for ever while unavailable", "end of the context", "broken: true", func(a *authenticator) {
		a.wrap = func(ctx context.Context, r *http.Request) (auth.Principal, error) {
			for a.broken.Load() {
				time.Sleep(10 * time.Millisecond)
			}
			return a.find(ctx, r)
		}
	}},
	{"calls it wrong when time runs out", "good credentials out of time", "invalid",
		instead(context.Canceled, auth.ErrInvalidCredentials)},
	{"calls it nothing when time runs out", "good credentials out of time", "no credentials",
		instead(context.Canceled, auth.ErrNoCredentials)},
	{"mixes up requests", "many requests", "among many", func(a *authenticator) {
		var mu sync.Mutex
		var last string
		a.wrap = func(ctx context.Context, r *http.Request) (auth.Principal, error) {
			mu.Lock()
			last = r.Header.Get("X-Key")
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			mixed := r.Clone(ctx)
			mixed.Header.Set("X-Key", last)
			return a.find(ctx, mixed)
		}
	}},
}

func TestBrokenAuthenticatorsAreCaught(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			i := slices.IndexFunc(authtest.Checks, func(c authtest.Check) bool { return c.Name == m.check })
			if i < 0 {
				t.Fatalf("there is no check %q", m.check)
			}
			a := right()
			t.Cleanup(func() { a.broken.Store(false) }) // whoever waits for that may go
			m.wrong(a)
			err := authtest.Checks[i].Run(ctx, a.host())
			if err == nil {
				t.Fatalf("check %q is content", m.check)
			}
			if !strings.Contains(err.Error(), m.says) {
				t.Errorf("check %q says %q, want something about %q", m.check, err, m.says)
			}
		})
	}
}

func TestEveryCheckCatchesSomething(t *testing.T) {
	t.Parallel()
	for _, c := range authtest.Checks {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.check == c.Name }) {
			t.Errorf("nothing shows that check %q can fail", c.Name)
		}
	}
}
