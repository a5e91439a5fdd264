// Package requestid reads the identifier of a request and carries it in the context to the logs.
package requestid

import (
	"context"
	"net/http"

	"github.com/khodnevis/khodnevis/internal/id"
)

// Header is the header that it stands in.
const Header = "X-Request-Id"

// Of returns the identifier that the client gave the request if it is sane, up to 64 letters,
// digits and ._- , and a new one otherwise.
func Of(r *http.Request) string {
	if s := r.Header.Get(Header); sane(s) {
		return s
	}
	return id.New()
}

func sane(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

type key struct{}

// With returns a context that carries id.
func With(ctx context.Context, id string) context.Context { return context.WithValue(ctx, key{}, id) }

// From returns the identifier that ctx carries, or "".
func From(ctx context.Context) string {
	id, _ := ctx.Value(key{}).(string)
	return id
}
