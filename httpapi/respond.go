package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// stamp is a time on the wire: RFC 3339 in UTC with microseconds.
type stamp time.Time

const stampLayout = "2006-01-02T15:04:05.000000Z"

// MarshalJSON implements json.Marshaler. The zero time is null.
func (s stamp) MarshalJSON() ([]byte, error) {
	if time.Time(s).IsZero() {
		return []byte("null"), nil
	}
	return []byte(time.Time(s).UTC().Format(`"` + stampLayout + `"`)), nil
}

// optional returns v for JSON, or null.
func optional(v float64, exists bool) *float64 {
	if !exists {
		return nil
	}
	return &v
}

// published returns the published score, or null.
func published(s rating.Stats) *float64 { return optional(s.Score.Value, s.Score.Counted > 0) }

// json responds with v.
func (c *call) json(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("httpapi: encode %T: %w", v, err)
	}
	c.write(status, "application/json", body)
	return nil
}

// write responds with body. For HEAD it leaves the body out, and keeps its length.
func (c *call) write(status int, mediaType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		c.send(body)
	}
}

// empty responds without a body.
func (c *call) empty(status int) error {
	c.w.WriteHeader(status)
	return nil
}

// done responds without a body, unless err is one.
func (c *call) done(err error) error {
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// cacheable lets caches keep a response, and revalidate it with every request.
func (c *call) cacheable() {
	if c.anonymous() {
		c.w.Header().Set("Cache-Control", "public, max-age=0, must-revalidate")
	} else {
		c.w.Header().Set("Cache-Control", "private, no-cache")
	}
}

// pick returns the named members of v.
func pick(v any, fields []string) (any, error) {
	if fields == nil {
		return v, nil
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("httpapi: encode %T: %w", v, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("httpapi: %T is not an object: %w", v, err)
	}
	picked := make(map[string]json.RawMessage, len(fields))
	for _, f := range fields {
		picked[f] = all[f]
	}
	return picked, nil
}

// url returns the path of a resource, with the prefix.
func (c *call) url(parts ...string) string {
	u := c.cfg.Prefix
	for _, p := range parts {
		u += escape(p) + "/"
	}
	return u
}
