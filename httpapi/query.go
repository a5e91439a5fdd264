package httpapi

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// query has the parameters of a request, read as its route describes them.
type query struct {
	raw  url.Values
	read map[string]any // by name; nil: not given. It has every parameter of the route
	bad  []fieldProblem
}

// readQuery reads the query string strictly: it refuses what net/http would drop silently, and
// parameters that the route does not have.
func (c *call) readQuery() error {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if _, nameless := values[""]; err != nil || nameless {
		return &problem{status: 400, code: "malformed_query", title: "Malformed query",
			detail: "The query string has a bad escape, a semicolon (write it as %3B), or a parameter without a name."}
	}
	q := &query{raw: values, read: map[string]any{}}
	c.query = q
	for _, p := range c.route.query {
		v, err := q.value(p)
		if err != nil {
			q.bad = append(q.bad, *err)
		}
		if p.me && v == "me" {
			if c.anonymous() {
				return c.scheme.missing
			}
			v = c.who.Subject
		}
		q.read[p.name] = v
	}
	if unknown := q.unknown(); len(unknown) > 0 && c.prefer.lenient {
		c.w.Header().Set("Preference-Applied", "handling=lenient")
	} else {
		q.refuse(unknown)
	}
	if len(q.bad) > 0 {
		return problemInvalid(q.bad)
	}
	return nil
}

// value reads one parameter, nil if it was not given.
func (q *query) value(p parameter) (any, *fieldProblem) {
	values := q.raw[p.name]
	switch len(values) {
	case 0:
		return nil, nil
	case 1:
		v, bad := p.read(values[0])
		if bad != nil {
			bad.Parameter = p.name
			return nil, bad
		}
		return v, nil
	}
	return nil, &fieldProblem{Parameter: p.name, Code: invalid.Repeated, Detail: "This parameter may be given once."}
}

// unknown returns the names that the route does not have.
func (q *query) unknown() []string {
	var unknown []string
	for name := range q.raw {
		if _, taken := q.read[name]; !taken {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func (q *query) refuse(unknown []string) {
	allowed := make([]string, 0, len(q.read))
	for name := range q.read {
		allowed = append(allowed, name)
	}
	slices.Sort(allowed)
	detail := "Unknown parameter. This resource takes none."
	if len(allowed) > 0 {
		detail = fmt.Sprintf("Unknown parameter. Allowed are: %s.", strings.Join(allowed, ", "))
	}
	for _, name := range unknown[:min(len(unknown), 20)] {
		q.bad = append(q.bad, fieldProblem{Parameter: shorten(name), Code: codeUnknownParameter, Detail: detail,
			Params: map[string]any{"allowed": allowed}})
	}
}

// given returns a parameter and whether it was given. A name that the route does not have is a bug
// of this package.
func given[T any](q *query, name string) (v T, ok bool) {
	read, taken := q.read[name]
	if !taken {
		panic(fmt.Sprintf("httpapi: the route does not take the parameter %q", name))
	}
	v, ok = read.(T)
	return v, ok
}

// text returns a parameter, or an empty string.
func (q *query) text(name string) string {
	s, _ := given[string](q, name)
	return s
}

// choice returns a parameter, or otherwise if it was not given.
func (q *query) choice(name, otherwise string) string {
	if s, ok := given[string](q, name); ok {
		return s
	}
	return otherwise
}

// time returns a parameter, or the zero time.
func (q *query) time(name string) time.Time {
	t, _ := given[time.Time](q, name)
	return t
}

// number returns a parameter, or nil.
func (q *query) number(name string) *float64 {
	if n, ok := given[float64](q, name); ok {
		return &n
	}
	return nil
}

// integer returns a parameter, or nil.
func (q *query) integer(name string) *int {
	if n, ok := given[int](q, name); ok {
		return &n
	}
	return nil
}

// fields returns the members of the results to return, nil for all.
func (q *query) fields() []string {
	names, _ := given[[]string](q, "fields")
	return names
}
