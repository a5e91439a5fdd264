package httpapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/khodnevis/khodnevis/auth"
)

// scheme is how clients authenticate, as problems and the schema describe it.
type scheme struct {
	missing, wrong *problem
	challenge      string // what the schema says of the header
	name           string // in the schema
	schema         object
}

var bearer = scheme{
	missing: unauthorized("not_authenticated",
		"Credentials are missing: send Authorization: Bearer with an access token.", `Bearer realm="khodnevis"`),
	wrong: unauthorized("invalid_token", "The token is invalid, expired or revoked.",
		`Bearer realm="khodnevis", error="invalid_token"`),
	challenge: "`Bearer`, with `error=\"invalid_token\"` if a token was sent. RFC 6750.",
	name:      "bearer",
	schema:    object{{"type", "http"}, {"scheme", "bearer"}, {"description", "An access token."}},
}

// scheme returns that of the authenticator.
func (c Config) scheme() scheme {
	host, ok := c.Authenticator.(auth.Schemer)
	if !ok {
		return bearer
	}
	told := host.Scheme()
	place, name := "cookie", told.Cookie
	if told.Header != "" {
		place, name = "header", told.Header
	}
	return scheme{
		missing: unauthorized("not_authenticated", fmt.Sprintf("Credentials are missing: send the %s %s.", place, name),
			told.Challenge),
		wrong:     unauthorized("invalid_token", "The credentials are invalid, expired or revoked.", told.Challenge),
		challenge: "How to authenticate. RFC 9110.",
		name:      "host",
		schema:    object{{"type", "apiKey"}, {"in", place}, {"name", name}},
	}
}

// validateScheme reports what is wrong with the scheme of a host.
func (c Config) validateScheme() error {
	host, ok := c.Authenticator.(auth.Schemer)
	if !ok {
		return nil
	}
	told := host.Scheme()
	odd := func(s string) bool { return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) }
	if told.Challenge == "" || odd(told.Challenge) || (told.Cookie == "") == (told.Header == "") ||
		odd(told.Cookie+told.Header) {
		return errors.New("httpapi: the Scheme of Config.Authenticator must have a Challenge and the name of either a " +
			"cookie or a header, all of printable ASCII")
	}
	return nil
}
