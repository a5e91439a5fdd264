// Package jwtauth is an example of a host's authenticator: it takes the JSON Web Tokens of one
// issuer, as RFC 8725 wants them taken.
//
//	users, err := jwtauth.New(jwtauth.Config{Issuer: "https://id.example", Audience: "blog", Keys: keys})
//	...
//	app, err := khodnevis.New(khodnevis.Config{Authenticator: users})
//
// A token says who its bearer is until it expires, so keep its life short: nothing here can end it
// before that.
package jwtauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/khodnevis/khodnevis/auth"
)

const (
	// maxToken is the greatest length of a token, in bytes.
	maxToken = 8 << 10
	// leeway is how far the clocks of the issuer and of this host may be apart.
	leeway = 60 * time.Second
	// algorithm is the only one, whatever a token says: keys of one family can never be taken for
	// secrets of another.
	algorithm = "ES256"
)

// Config says whose tokens are good.
type Config struct {
	// Issuer and Audience are what iss must be and aud must hold.
	Issuer, Audience string
	// Keys are the issuer's public keys on P-256, by their kid. Keys come from here and from
	// nowhere else.
	Keys map[string]*ecdsa.PublicKey
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Verifier implements auth.Authenticator.
type Verifier struct {
	keys   map[string]*ecdsa.PublicKey
	parser *jwt.Parser
}

var _ auth.Authenticator = (*Verifier)(nil)

// New returns a Verifier.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Issuer == "" || cfg.Audience == "" || len(cfg.Keys) == 0 {
		return nil, errors.New("jwtauth: Config needs an issuer, an audience and keys")
	}
	for kid, key := range cfg.Keys {
		if key == nil || key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("jwtauth: the key %q is not on P-256", kid)
		}
	}
	return &Verifier{keys: cfg.Keys, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(cfg.Now), jwt.WithStrictDecoding(),
	)}, nil
}

// claims are what a token must say: sub and iat beside what the parser asks for. Moderator is this
// issuer's own.
type claims struct {
	jwt.RegisteredClaims
	Moderator bool `json:"moderator"`
}

// Validate implements jwt.ClaimsValidator.
func (c claims) Validate() error {
	if c.IssuedAt == nil {
		return errors.New("iat is missing")
	}
	if !auth.ValidSubject(c.Subject) {
		return errors.New("sub is no identifier")
	}
	return nil
}

// Authenticate implements auth.Authenticator. It asks nobody, so it is never unavailable.
func (v *Verifier) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return auth.Principal{}, auth.ErrNoCredentials
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
		return auth.Principal{}, auth.ErrInvalidCredentials
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, v.key); err != nil {
		return auth.Principal{}, fmt.Errorf("%w: %w", auth.ErrInvalidCredentials, err)
	}
	return auth.Principal{Subject: c.Subject, Staff: c.Moderator}, nil
}

// key returns the configured key that a token names. Of its header only alg, kid and typ may be
// there: not a key, nor where to get one.
func (v *Verifier) key(t *jwt.Token) (any, error) {
	for name := range t.Header {
		if name != "alg" && name != "kid" && name != "typ" {
			return nil, fmt.Errorf("the header has %q", name)
		}
	}
	kid, _ := t.Header["kid"].(string)
	key, ok := v.keys[kid]
	if !ok {
		return nil, errors.New("kid is none of ours")
	}
	return key, nil
}
