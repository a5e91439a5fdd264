package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating"
)

// badHost is a host's authenticator that fails in a way for each name.
type badHost struct{}

func (badHost) Authenticate(ctx context.Context, r *http.Request) (auth.Principal, error) {
	switch name := r.Header.Get("X-User"); name {
	case "":
		return auth.Principal{}, auth.ErrNoCredentials
	case "wrong":
		return auth.Principal{}, fmt.Errorf("ldap: %w", auth.ErrInvalidCredentials)
	case "wrong, with a name":
		return auth.Principal{Subject: "ada", Staff: true}, auth.ErrInvalidCredentials
	case "down":
		return auth.Principal{}, fmt.Errorf("ldap at 10.0.0.1: %w", auth.ErrUnavailable)
	case "down and wrong":
		return auth.Principal{}, errors.Join(auth.ErrInvalidCredentials, auth.ErrUnavailable)
	case "down and nobody":
		return auth.Principal{}, errors.Join(auth.ErrNoCredentials, auth.ErrUnavailable)
	case "busy":
		return auth.Principal{}, fmt.Errorf("ldap: %w", &auth.BusyError{RetryAfter: 30 * time.Second})
	case "late":
		return auth.Principal{}, context.DeadlineExceeded
	case "broken":
		return auth.Principal{}, errors.New("ldap: sql")
	case "not found":
		return auth.Principal{}, auth.ErrNotFound
	case "conflict":
		return auth.Principal{}, content.ErrConflict
	case "refused":
		return auth.Principal{}, content.Draft{}.Validate()
	case "not accepted":
		return auth.Principal{}, &rating.ValidationError{}
	case "panics":
		panic("ldap")
	case "hangs":
		<-ctx.Done() // and then some
		time.Sleep(time.Hour)
		return auth.Principal{Subject: "ada"}, nil
	case "no identifier":
		return auth.Principal{Subject: "a b"}, nil
	case "long":
		return auth.Principal{Subject: strings.Repeat("a", 129)}, nil
	case "blank":
		return auth.Principal{}, nil
	default:
		return auth.Principal{Subject: name}, nil
	}
}

// TestHostAuthenticator checks what every answer of a host's authenticator becomes, and that there
// are no user routes. (A21)
func TestHostAuthenticator(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: func(c *khodnevis.Config) {
		f.into(c)
		c.Authenticator = badHost{}
	}})
	sent := 0
	for name, want := range map[string]int{
		"fine": 201, "": 401, "wrong": 401, "wrong, with a name": 401,
		"down": 503, "down and wrong": 503, "down and nobody": 503, "busy": 503, "late": 503,
		"broken": 500, "not found": 500, "conflict": 500, "refused": 500, "not accepted": 500, "panics": 500,
		"no identifier": 500, "long": 500, "blank": 500,
	} {
		for _, r := range []request{{method: "POST", path: "contents/", body: `{"title":"t"}`}, {path: "contents/"}} {
			if r.method == "" && (want == 201 || name == "") {
				want = 200
			}
			sent++
			id := fmt.Sprintf("host-%d-", sent)
			r.header, r.faulty = map[string]string{"X-User": name, "X-Request-Id": id}, true
			a := s.do(t, r)
			if a.status != want {
				t.Errorf("%q: %s, want %d", name, a, want)
			}
			if later := a.header.Get("Retry-After"); number.MatchString(later) != (want == 503) {
				t.Errorf("%q: Retry-After is %q", name, later)
			}
			if later := a.header.Get("Retry-After"); name == "busy" && later != "30" {
				t.Errorf("one that says when to come back: Retry-After %q", later)
			}
			if logged := strings.Contains(f.log.String(), id); logged != (want >= 500 && name != "busy") {
				t.Errorf("%q: logged is %v", name, logged)
			}
		}
	}
	for _, want := range []string{`"a b\`, "authenticate_test.go"} { // which subject it was, and where it panicked
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
	for _, path := range []string{"users/", "users/login/", "users/me/", "users/me/sessions/", "users/token/refresh/"} {
		if a := s.get(t, nobody, path); a.status != 404 {
			t.Errorf("%s: %s", path, a)
		}
	}
}

// TestHostAuthenticatorHangs: a request waits until its deadline; those that hang keep others
// neither out of their own answer nor from being refused in time. (A21)
func TestHostAuthenticatorHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &testutil.Log{}
		app, err := khodnevis.New(khodnevis.Config{Authenticator: badHost{},
			Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		get := func(name string) (*httptest.ResponseRecorder, time.Duration) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/contents/", nil)
			r.Header.Set("X-User", name)
			w, began := httptest.NewRecorder(), time.Now()
			app.Handler().ServeHTTP(w, r)
			return w, time.Since(began) // by the clock of synctest
		}
		deadline := httpapi.DefaultLimits().RequestTimeout
		for range 3 {
			if w, took := get("hangs"); w.Code != 503 || w.Header().Get("Retry-After") == "" || took != deadline {
				t.Errorf("%d after %v, want 503 after %v", w.Code, took, deadline)
			}
			if w, took := get("ada"); w.Code != 200 || took != 0 {
				t.Errorf("beside it: %d after %v", w.Code, took)
			}
		}
		if !strings.Contains(log.String(), "no answer in time") {
			t.Errorf("the log does not say why: %s", log)
		}
		time.Sleep(2 * time.Hour) // nothing is left running
	})
}

// aborting is a host's authenticator that drops the connection.
type aborting struct{}

func (aborting) Authenticate(context.Context, *http.Request) (auth.Principal, error) {
	panic(http.ErrAbortHandler)
}

// TestHostAuthenticatorDropsTheConnection: net/http's way to do so works from there, too.
func TestHostAuthenticatorDropsTheConnection(t *testing.T) {
	t.Parallel()
	app, err := khodnevis.New(khodnevis.Config{Authenticator: aborting{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
	}()
	app.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"/api/contents/", nil))
}

// cookieUsers is a host's authenticator that tells how its users sign in.
type cookieUsers struct {
	strangeUsers
	scheme auth.Scheme
}

func (c cookieUsers) Scheme() auth.Scheme { return c.scheme }

func TestSchemeOfAHost(t *testing.T) {
	t.Parallel()
	for place, scheme := range map[string]auth.Scheme{
		"cookie": {Challenge: `Session realm="blog"`, Cookie: "blog_session"},
		"header": {Challenge: `Session realm="blog"`, Header: "X-Blog-User"},
	} {
		s := serve(t, setup{config: func(c *khodnevis.Config) { c.Authenticator = cookieUsers{scheme: scheme} }})
		a := s.do(t, request{method: "POST", path: "contents/", body: `{"title":"t"}`})
		if a.status != 401 || a.header.Get("WWW-Authenticate") != scheme.Challenge || !strings.Contains(a.text(t, "detail"),
			place+" "+scheme.Cookie+scheme.Header) || strings.Contains(string(a.body), "Bearer") {
			t.Errorf("%s: %s\n%v", place, a, a.header)
		}
		schema := s.get(t, nobody, "schema/")
		if got := schema.at(t, "components.securitySchemes"); !reflect.DeepEqual(got,
			map[string]any{"host": map[string]any{"type": "apiKey", "in": place, "name": scheme.Cookie + scheme.Header}}) {
			t.Errorf("%s: the schema has %v", place, got)
		}
		if bytes.Contains(schema.body, []byte("earer")) {
			t.Errorf("%s: the schema tells of bearer tokens", place)
		}
	}
	for name, bad := range map[string]auth.Scheme{
		"nothing": {}, "no challenge": {Cookie: "c"}, "no place": {Challenge: "Session"},
		"two places":   {Challenge: "Session", Cookie: "c", Header: "H"},
		"a line break": {Challenge: "Session\r\nX: y", Cookie: "c"},
	} {
		if _, err := khodnevis.New(khodnevis.Config{Authenticator: cookieUsers{scheme: bad}}); err == nil ||
			!strings.Contains(err.Error(), "Scheme") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
