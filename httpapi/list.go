package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/khodnevis/khodnevis/internal/invalid"
)

// Bounds of page_size.
const (
	defaultPage = 20
	maxPage     = 100
)

// page is what all lists have in common.
type page struct {
	size    int
	count   bool
	cursor  string
	bound   uint64 // what the cursor must be bound to
	fields  []string
	request *query
}

// envelope is the answer to a list, as Django REST Framework shapes it.
type envelope struct {
	Count    *int64  `json:"count"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []any   `json:"results"`
}

// page reads what all lists have in common. order is the list's, known names the members of its results.
func (q *query) page(list, order string, known ...string) page {
	p := page{size: defaultPage, request: q, fields: q.fields(known...), count: q.choice("count", "none", "exact") == "exact"}
	if n := q.integer("page_size"); n != nil {
		p.size = *n
		if *n < 1 {
			detail, params := invalid.AtLeast(1)
			q.refuse("page_size", invalid.MinValue, detail, params)
		} else if *n > maxPage {
			detail, params := invalid.AtMost(maxPage)
			q.refuse("page_size", invalid.MaxValue, detail, params)
		}
	}
	p.cursor, _ = q.text("cursor")
	p.bound = binding(list, order, q.values)
	return p
}

// place hands the place of the cursor, if there is one, to parse. A cursor that was not made here, or for another list, is
// an error of its own.
func (p page) place(parse func([]byte) bool) error {
	if _, given := p.request.values["cursor"]; !given {
		return nil
	}
	place, code := openCursor(p.cursor, p.bound)
	if code == "" && !parse(place) {
		code = "invalid_cursor"
	}
	if code == "" {
		return nil
	}
	detail := "This is no cursor of ours. Take it from next, unchanged."
	if code == "cursor_mismatch" {
		detail = "This cursor belongs to a list with another order or other filters."
	}
	return &problem{status: 400, code: code, title: "Invalid cursor", detail: detail,
		errors: []fieldProblem{{Parameter: "cursor", Code: code, Detail: detail}}}
}

// results answers with a page. more is the place that the next page begins after, nil when there is none.
func (c *call) results(p page, results []any, more []byte, count func() (int64, error)) error {
	e := envelope{Results: results}
	if p.count {
		n, err := count()
		if err != nil {
			return err
		}
		e.Count = &n
	}
	if more != nil {
		values := url.Values{}
		for name, v := range p.request.values {
			values[name] = v
		}
		values.Set("cursor", sealCursor(p.bound, more))
		next := c.selfPath() + "?" + values.Encode()
		e.Next = &next
		c.w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next))
	}
	return c.json(http.StatusOK, e)
}

// selfPath is the canonical link to the resource that was asked for.
func (c *call) selfPath() string {
	path, _ := c.resourcePath()
	parts, _ := segments(path[1 : len(path)-1])
	return c.url(parts...)
}

// escape makes a path segment of an identifier.
func escape(s string) string { return url.PathEscape(s) }

// wholeNumber bounds a filter that counts.
func (q *query) wholeNumber(name string) int64 {
	n, _ := parameter(q, name, "Give a whole number, 0 or greater.", func(s string) (int64, bool) {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil && n >= 0 && s == strconv.FormatInt(n, 10)
	})
	return n
}
