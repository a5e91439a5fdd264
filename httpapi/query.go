package httpapi

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/internal/invalid"
)

// query reads the parameters of a request, once each, and gathers what is wrong with them.
type query struct {
	values  url.Values
	allowed []string
	lenient bool
	bad     []fieldProblem
}

// query splits the query string strictly: what net/http would drop without a word is an error.
func (c *call) query() (*query, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if _, nameless := values[""]; err != nil || nameless {
		return nil, &problem{status: 400, code: "malformed_query", title: "Malformed query",
			detail: "The query string has a bad escape, a semicolon (write it as %3B), or a parameter without a name."}
	}
	q := &query{values: values, lenient: c.prefer.lenient}
	if q.lenient {
		c.w.Header().Set("Preference-Applied", "handling=lenient")
	}
	return q, nil
}

// noQuery refuses parameters where there are none.
func (c *call) noQuery() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return q.err()
}

func (q *query) refuse(name, code, detail string, params map[string]any) {
	q.bad = append(q.bad, fieldProblem{Parameter: shorten(name), Code: code, Detail: detail, Params: params})
}

// text returns a parameter and whether it was given.
func (q *query) text(name string) (string, bool) {
	q.allowed = append(q.allowed, name)
	values := q.values[name]
	switch len(values) {
	case 0:
		return "", false
	case 1:
		return values[0], true
	}
	q.refuse(name, invalid.Repeated, "This parameter may be given once.", nil)
	return "", false
}

func parameter[T any](q *query, name, want string, parse func(string) (T, bool)) (v T, given bool) {
	s, ok := q.text(name)
	if !ok {
		return v, false
	}
	if v, ok = parse(s); !ok {
		q.refuse(name, invalid.Type, want, nil)
		return v, false
	}
	return v, true
}

func (q *query) time(name string) time.Time {
	t, _ := parameter(q, name, "Give a time such as 2026-01-31T12:00:00Z (RFC 3339).", func(s string) (time.Time, bool) {
		t, err := time.Parse(time.RFC3339Nano, s)
		t = t.UTC().Truncate(time.Microsecond)
		return t, err == nil && t.Year() >= 1 && t.Year() <= 9999 && !t.IsZero() // the zero time means no filter at all
	})
	return t
}

// identifier returns a parameter that is one, or an empty string.
func (q *query) identifier(name string) string {
	s, _ := parameter(q, name, "Give an identifier.", func(s string) (string, bool) { return s, id.Valid(s) })
	return s
}

func (q *query) number(name string) *float64 {
	n, ok := parameter(q, name, "Give a number.", func(s string) (float64, bool) {
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	})
	if !ok {
		return nil
	}
	return &n
}

func (q *query) integer(name string) *int {
	n, ok := parameter(q, name, "Give a whole number.", func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && s == strconv.Itoa(n)
	})
	if !ok {
		return nil
	}
	return &n
}

// choice returns a parameter that must be one of choices, the first of which is the default.
func (q *query) choice(name string, choices ...string) string {
	s, ok := q.text(name)
	if !ok {
		return choices[0]
	}
	if !slices.Contains(choices, s) {
		q.refuse(name, invalid.Choice, fmt.Sprintf("Choose one of: %s.", strings.Join(choices, ", ")), map[string]any{"choices": choices})
		return choices[0]
	}
	return s
}

// fields returns which members of the results are asked for, nil for all.
func (q *query) fields(known ...string) []string {
	s, ok := q.text("fields")
	if !ok {
		return nil
	}
	picked := strings.Split(s, ",")
	for i, f := range picked {
		if slices.Contains(picked[:i], f) {
			q.refuse("fields", invalid.Repeated, "Each field may be given once.", nil)
			return nil
		}
		if !slices.Contains(known, f) {
			q.refuse("fields", invalid.Choice, fmt.Sprintf("There is no field %q. Choose among: %s.", shorten(f), strings.Join(known, ", ")), map[string]any{"choices": known})
			return nil
		}
	}
	return picked
}

// err returns what is wrong with the parameters, those included that nobody asked for.
func (q *query) err() error {
	var unknown []string
	for name := range q.values {
		if !slices.Contains(q.allowed, name) && !q.lenient {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	slices.Sort(q.allowed)
	detail := "There is no such parameter; there are none here."
	if len(q.allowed) > 0 {
		detail = fmt.Sprintf("There is no such parameter. Allowed are: %s.", strings.Join(q.allowed, ", "))
	}
	for _, name := range unknown[:min(len(unknown), 20)] {
		q.refuse(name, "unknown_parameter", detail, map[string]any{"allowed": append([]string{}, q.allowed...)})
	}
	if len(q.bad) > 0 {
		return problemInvalid(q.bad)
	}
	return nil
}
