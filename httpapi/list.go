package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/khodnevis/khodnevis/content"
)

// Bounds of page_size.
const (
	defaultPage = 20
	maxPage     = 100
)

// results are those on one page.
type results []any

// MarshalJSON implements json.Marshaler. It escapes texts for HTML even where the envelope does not.
func (r results) MarshalJSON() ([]byte, error) { return json.Marshal([]any(r)) }

// link is a path with its query, the prefix included.
type link string

// page has what all lists have in common.
type page struct {
	size    int
	count   bool
	cursor  string
	bound   uint64 // the binding that the cursor must have
	fields  []string
	request *query
}

// envelope is a page on the wire, as Django REST Framework shapes it.
type envelope struct {
	Count        *int64  `json:"count" doc:"With count=exact, the number of all results, at most 10000."`
	CountMinimum bool    `json:"count_is_minimum,omitempty" doc:"True if there are more results than count."`
	Next         *link   `json:"next" doc:"The next page. Null on the last one."`
	Previous     *link   `json:"previous" doc:"Always null: pages are read forward only."`
	Results      results `json:"results" doc:"The results on this page."`
}

// listParameters returns the parameters of a list: its own and those of all lists. counted lists
// can return the number of results.
func listParameters(results schemaType, counted bool, own ...parameter) []parameter {
	all := append(slices.Clone(own), integerParameter("page_size",
		fmt.Sprintf("The number of results on a page. Default %d.", defaultPage), 1, maxPage),
		cursorParameter, fieldsParameter(results))
	if counted {
		all = append(all, choiceParameter("count", "`exact` counts all results, up to 10000.", "none", "exact"))
	}
	return all
}

// page reads what all lists have in common. order is the order of this one.
func (q *query) page(list, order string) page {
	p := page{size: defaultPage, request: q, fields: q.fields(), cursor: q.text("cursor"),
		bound: binding(list, order, q.raw)}
	if n := q.integer("page_size"); n != nil {
		p.size = *n
	}
	if _, counted := q.read["count"]; counted {
		p.count = q.text("count") == "exact"
	}
	return p
}

// place passes the place in the cursor, if there is one, to parse. It refuses a cursor that this
// package did not make, or made for another list.
func (p page) place(parse func([]byte) bool) error {
	if _, given := p.request.raw["cursor"]; !given {
		return nil
	}
	place, code := openCursor(p.cursor, p.bound)
	if code == "" && !parse(place) {
		code = codeInvalidCursor
	}
	if code == "" {
		return nil
	}
	detail := "The cursor is not valid. Use the one in next, unchanged."
	if code == codeCursorMismatch {
		detail = "The cursor belongs to a list with another order or other filters."
	}
	return &problem{status: 400, code: code, title: "Invalid cursor", detail: detail,
		errors: []fieldProblem{{Parameter: "cursor", Code: fieldCode(code), Detail: detail}}}
}

// respondPage responds with a page. found has one more than the page if there is a next one, which
// begins at place of the last one on this page.
func respondPage[T any](c *call, p page, found []T, place func(T) []byte, detail func(T) any,
	count func() (n int64, more bool, err error)) error {
	var next []byte
	if len(found) > p.size {
		found = found[:p.size]
		next = place(found[p.size-1])
	}
	e := envelope{Results: make(results, len(found))}
	for i, v := range found {
		var err error
		if e.Results[i], err = pick(detail(v), p.fields); err != nil {
			return err
		}
	}
	if p.count {
		n, more, err := count()
		if err != nil {
			return p.tooBroad(err)
		}
		e.Count, e.CountMinimum = &n, more
	}
	if next != nil {
		values := maps.Clone(p.request.raw)
		values.Set("cursor", sealCursor(p.bound, next))
		path := c.selfPath() + "?" + values.Encode()
		e.Next = (*link)(&path)
		c.w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, path))
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // so that next may be copied as it is written; it has no < and no >
	if err := encoder.Encode(e); err != nil {
		return fmt.Errorf("httpapi: encode a page: %w", err)
	}
	c.write(http.StatusOK, "application/json", bytes.TrimSuffix(body.Bytes(), []byte("\n")))
	return nil
}

// tooBroad turns content.ErrTooBroad into a problem that names the parameters to change: the
// filters and the order, and count if counting is what costs too much. Other errors it returns as
// they are.
func (p page) tooBroad(err error) error {
	if !errors.Is(err, content.ErrTooBroad) { // the same value as rating.ErrTooBroad
		return err
	}
	const detail = "This query would read too many rows. Use another order, or narrower filters."
	wrong := &problem{status: 400, code: codeQueryTooBroad, title: "Query too broad", detail: detail}
	for _, name := range slices.Sorted(maps.Keys(p.request.raw)) {
		switch name {
		case "cursor", "page_size", "fields":
		default:
			if _, taken := p.request.read[name]; taken && (name != "count" || p.count) {
				wrong.errors = append(wrong.errors, fieldProblem{Parameter: name, Code: codeQueryTooBroad,
					Detail: "This parameter makes the query too broad."})
			}
		}
	}
	return wrong
}

// selfPath returns the canonical path of the requested resource.
func (c *call) selfPath() string {
	return c.url(strings.Split(strings.Trim(c.path, "/"), "/")...)
}

// escape makes a path segment of an identifier.
func escape(s string) string { return url.PathEscape(s) }
