package jwtauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/authtest"
	jwtauth "github.com/khodnevis/khodnevis/examples/jwt"
)

// issuer signs tokens, good and bad ones.
type issuer struct {
	key *ecdsa.PrivateKey
	now time.Time
}

func newIssuer(t testing.TB) (*issuer, *jwtauth.Verifier) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	v, err := jwtauth.New(jwtauth.Config{Issuer: "https://id.example", Audience: "blog", Now: func() time.Time {
		return i.now
	},
		Keys: map[string]*ecdsa.PublicKey{"2026": &key.PublicKey}})
	if err != nil {
		t.Fatal(err)
	}
	return i, v
}

// claims are good ones for a user, but for what changes.
func (i *issuer) claims(sub string, changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"iss": "https://id.example", "aud": "blog", "sub": sub, "iat": i.now.Unix(),
		"exp": i.now.Add(5 * time.Minute).Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token with a header as it should be, but for what changes.
func (i *issuer) sign(t testing.TB, method jwt.SigningMethod, key any, c jwt.Claims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = "2026"
	maps.Copy(token.Header, header)
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (i *issuer) good(t testing.TB, sub string, changes jwt.MapClaims) string {
	return i.sign(t, jwt.SigningMethodES256, i.key, i.claims(sub, changes), nil)
}

// bad are tokens that must be refused, by what is wrong with them.
func (i *issuer) bad(t testing.TB) map[string]string {
	t.Helper()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	fine := i.claims("7", nil)
	good := i.good(t, "7", nil)
	all := map[string]string{
		"none":                            i.sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, fine, nil),
		"HS256 over the public key":       i.sign(t, jwt.SigningMethodHS256, public, fine, nil),
		"HS256 over the key's bytes":      i.sign(t, jwt.SigningMethodHS256, der, fine, nil),
		"another key":                     i.sign(t, jwt.SigningMethodES256, other, fine, nil),
		"an unknown kid":                  i.sign(t, jwt.SigningMethodES256, i.key, fine, map[string]any{"kid": "2025"}),
		"kid is a path":                   i.sign(t, jwt.SigningMethodES256, i.key, fine, map[string]any{"kid": "../x"}),
		"kid is a number":                 i.sign(t, jwt.SigningMethodES256, i.key, fine, map[string]any{"kid": 2026}),
		"kid is empty":                    i.sign(t, jwt.SigningMethodES256, i.key, fine, map[string]any{"kid": ""}),
		"no signature":                    good[:strings.LastIndex(good, ".")+1],
		"10,000 dots":                     strings.Repeat(".", 10_000),
		"8,000 dots":                      strings.Repeat(".", 8_000),
		"more than 8 KiB":                 i.good(t, "7", jwt.MapClaims{"x": strings.Repeat("x", 8<<10)}),
		"expired":                         i.good(t, "7", jwt.MapClaims{"exp": i.now.Add(-61 * time.Second).Unix()}),
		"issued in the future":            i.good(t, "7", jwt.MapClaims{"iat": i.now.Add(62 * time.Second).Unix()}),
		"not yet good":                    i.good(t, "7", jwt.MapClaims{"nbf": i.now.Add(62 * time.Second).Unix()}),
		"another issuer":                  i.good(t, "7", jwt.MapClaims{"iss": "https://evil.example"}),
		"another audience":                i.good(t, "7", jwt.MapClaims{"aud": []string{"shop", "mail"}}),
		"a subject that is no identifier": i.good(t, "a b", nil),
		"empty":                           "",
	}
	for _, name := range []string{"jku", "x5u", "jwk", "x5c", "crit"} {
		all["header "+name] = i.sign(t, jwt.SigningMethodES256, i.key, fine, map[string]any{name: "https://evil.example"})
	}
	for _, name := range []string{"iss", "aud", "sub", "iat", "exp"} {
		all["no "+name] = i.good(t, "7", jwt.MapClaims{name: nil})
	}
	return all
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// A22: the suite, with every token that RFC 8725 warns of among the wrong ones.
func TestVerifier(t *testing.T) {
	t.Parallel()
	authtest.Run(t, func(t *testing.T) authtest.Host {
		i, v := newIssuer(t)
		wrong := map[string]func(*http.Request){
			"another scheme": func(r *http.Request) { r.SetBasicAuth("7", "7") },
			"two tokens": func(r *http.Request) {
				bearer(i.good(t, "7", nil))(r)
				r.Header.Add("Authorization", "Bearer x")
			},
		}
		for name, token := range i.bad(t) {
			wrong[name] = bearer(token)
		}
		return authtest.Host{
			Authenticator: v,
			Users: []authtest.User{
				{Principal: auth.Principal{Subject: "7"}, Sign: bearer(i.good(t, "7", nil))},
				{Principal: auth.Principal{Subject: "8", Staff: true},
					Sign: bearer(i.good(t, "8", jwt.MapClaims{"moderator": true, "aud": []string{"shop", "blog"}}))},
				{Principal: auth.Principal{Subject: "9"}, Sign: bearer(i.good(t, "9", jwt.MapClaims{
					// clocks within the leeway
					"exp": i.now.Add(-59 * time.Second).Unix(), "iat": i.now.Add(59 * time.Second).Unix()}))},
			},
			Wrong: wrong,
		}
	}, authtest.Config{})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]jwtauth.Config{
		"nothing":       {},
		"no keys":       {Issuer: "i", Audience: "a"},
		"a nil key":     {Issuer: "i", Audience: "a", Keys: map[string]*ecdsa.PublicKey{"k": nil}},
		"another curve": {Issuer: "i", Audience: "a", Keys: map[string]*ecdsa.PublicKey{"k": &other.PublicKey}},
	} {
		if _, err := jwtauth.New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// Whatever the header says, it is no failure, and nobody but who signed is somebody.
func FuzzJWT(f *testing.F) {
	i, v := newIssuer(f)
	f.Add("Bearer " + i.good(f, "7", nil))
	for _, token := range i.bad(f) {
		f.Add("Bearer " + token)
	}
	for _, junk := range []string{"", "Bearer", "Bearer ", "Basic Og==", "Bearer ..", "Bearer e30.e30.",
		"Bearer \xff.\x00.=", "bearer  x"} {
		f.Add(junk)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := &http.Request{Header: http.Header{"Authorization": {value}}}
		who, err := v.Authenticate(t.Context(), r)
		if err != nil && !errors.Is(err, auth.ErrInvalidCredentials) || err != nil && who != (auth.Principal{}) {
			t.Errorf("%q is %+v, %v", value, who, err)
		}
		if err == nil && who != (auth.Principal{Subject: "7"}) {
			t.Errorf("%q is %+v", value, who)
		}
	})
}
