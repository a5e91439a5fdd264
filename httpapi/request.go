package httpapi

import (
	"context"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/requestid"
)

// WithRequestID returns a context with the identifier of a request, for a host that calls the
// services itself: the logs and the messages in the queue have it.
func WithRequestID(ctx context.Context, id string) context.Context { return requestid.With(ctx, id) }

// RequestID returns the identifier of the request that ctx belongs to, as hooks and an
// Authenticator may want it, or "". A request of the API has that of its header X-Request-Id.
func RequestID(ctx context.Context) string { return requestid.From(ctx) }

// acceptable reports whether the client takes JSON (RFC 9110, section 12.5.1). Without the header,
// or with an empty one, it takes everything.
func acceptable(h http.Header) bool {
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.Trim(accept, ", \t") == "" {
		return true
	}
	// The most specific range decides, so that "application/json;q=0, */*" refuses.
	best, ok := -1, false
	for part := range strings.SplitSeq(accept, ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		rank, known := map[string]int{"*/*": 0, "application/*": 1, "application/json": 2,
			"application/problem+json": 1}[name]
		if !known || rank < best {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		accepts := params["q"] == "" || err == nil && q > 0
		if rank > best {
			best, ok = rank, accepts
		} else {
			ok = ok || accepts
		}
	}
	return ok
}

// preferences are those of the Prefer header (RFC 7240), which says to ignore unknown ones.
type preferences struct {
	async   bool
	wait    time.Duration
	waiting bool // wait was given
	lenient bool
}

// maxWait bounds Prefer: wait.
const maxWait = 10 * time.Second

func parsePrefer(h http.Header) preferences {
	var p preferences
	handled := false
	for part := range strings.SplitSeq(strings.Join(h.Values("Prefer"), ","), ",") {
		name, value, _ := strings.Cut(part, "=")
		value, _, _ = strings.Cut(value, ";")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		switch name {
		case "respond-async":
			p.async = true
		case "wait":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil && !p.waiting { // the first one counts
				p.wait, p.waiting = min(time.Duration(n)*time.Second, maxWait), true
			}
		case "handling":
			p.lenient = strings.EqualFold(value, "lenient") && !handled
			handled = true
		}
	}
	return p
}

// waitTime returns how long the call may wait for a task: as the client prefers, or by default
// otherwise. wait takes precedence over respond-async (RFC 7240, section 4.3).
func (c *call) waitTime(otherwise time.Duration) time.Duration {
	switch {
	case c.prefer.waiting:
		return c.prefer.wait
	case c.prefer.async:
		return 0
	}
	return otherwise
}
