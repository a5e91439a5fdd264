package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating"
)

// contentDetail is a content.
type contentDetail struct {
	ID           string   `json:"id"`
	Title        string   `json:"title"`
	Description  *string  `json:"description,omitempty"` // nil in lists
	Author       string   `json:"author"`
	AverageScore *float64 `json:"average_score"`
	Score        *float64 `json:"score"`
	RatingsCount int64    `json:"ratings_count"`
	Version      int64    `json:"version"`
	CreatedAt    stamp    `json:"created_at"`
	UpdatedAt    stamp    `json:"updated_at"`
}

var (
	contentFields  = []string{"id", "title", "author", "average_score", "score", "ratings_count", "version", "created_at", "updated_at"}
	contentOutputs = []member{
		{name: "id", kind: anyKind, readOnly: true}, {name: "author", kind: anyKind, readOnly: true},
		{name: "average_score", kind: anyKind, readOnly: true}, {name: "score", kind: anyKind, readOnly: true},
		{name: "ratings_count", kind: anyKind, readOnly: true}, {name: "version", kind: anyKind, readOnly: true},
		{name: "created_at", kind: anyKind, readOnly: true}, {name: "updated_at", kind: anyKind, readOnly: true},
	}
	newContent    = contentBody(member{name: "title", required: true}, member{name: "description"})
	wholeContent  = contentBody(member{name: "title", required: true}, member{name: "description", required: true})
	partOfContent = contentBody(member{name: "title"}, member{name: "description"})
)

func contentBody(writable ...member) *body {
	return &body{limit: largeBody, members: append(writable, contentOutputs...)}
}

// itemOf is a content in a list.
func itemOf(c content.Content, s rating.Stats) contentDetail {
	average, rated := s.Average()
	return contentDetail{
		ID: c.ID, Title: c.Title, Author: c.Author, Version: c.Version, CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt),
		AverageScore: optional(average, rated), Score: optional(s.Score.Value, s.Score.Weight > 0), RatingsCount: s.Count,
	}
}

// detailOf is a content by itself.
func detailOf(c content.Content, s rating.Stats) contentDetail {
	d := itemOf(c, s)
	d.Description = &c.Description
	return d
}

// addContents adds the routes of this module's own contents.
func (a *API) addContents(t map[string]methods) {
	t["/contents/"] = methods{
		http.MethodGet:  {public, nil, (*call).listContents},
		http.MethodPost: {signedIn, newContent, (*call).createContent},
	}
	t["/contents/:id/"] = methods{
		http.MethodGet:    {public, nil, (*call).getContent},
		http.MethodPut:    {signedIn, wholeContent, (*call).updateContent},
		http.MethodPatch:  {signedIn, partOfContent, (*call).updateContent},
		http.MethodDelete: {signedIn, nil, (*call).deleteContent},
	}
}

func (c *call) contentActor() content.Actor {
	return content.Actor{User: c.who.Subject, Staff: c.who.Staff}
}

// stats returns the numbers of one content.
func (c *call) stats(contentID string) (rating.Stats, error) {
	all, err := c.cfg.Ratings.Stats(c.r.Context(), []string{contentID})
	return all[contentID], err
}

func (c *call) listContents() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	f := content.Filter{
		Author:      q.identifier("author"),
		CreatedFrom: q.time("created_at__gte"), CreatedBefore: q.time("created_at__lt"),
		UpdatedFrom: q.time("updated_at__gte"), UpdatedBefore: q.time("updated_at__lt"),
		ScoreMin: q.number("score__gte"), ScoreMax: q.number("score__lte"),
		RatingsMin: q.wholeNumber("ratings_count__gte"),
	}
	nothing := false // a search without a word finds nothing, rather than everything
	if s, given := q.text("search"); given {
		if !utf8.ValidString(s) {
			q.refuse("search", invalid.BadCharacter, "The text is not UTF-8.", nil)
		} else if utf8.RuneCountInString(s) > content.MaxSearch {
			q.refuse("search", invalid.MaxLength, fmt.Sprintf("Give at most %d characters.", content.MaxSearch), map[string]any{"max": content.MaxSearch})
		}
		f.Terms = content.Terms(s)
		nothing = len(f.Terms) == 0
	}
	ordering := q.choice("ordering", orderings()...)
	field, desc := strings.CutPrefix(ordering, "-")
	order := content.Order{Field: content.Field(field), Desc: desc}
	p := q.page("contents", ordering, contentFields...)
	if err := q.err(); err != nil {
		return err
	}
	var after *content.Position
	if err := p.place(func(b []byte) (ok bool) { after, ok = parseContentPlace(order, b); return ok }); err != nil {
		return err
	}
	var found []content.Listed
	if !nothing {
		if found, err = c.cfg.Contents.List(c.r.Context(), content.Query{Filter: f, Order: order, After: after, Limit: p.size + 1}); err != nil {
			return err
		}
	}
	var more []byte
	if len(found) > p.size {
		found = found[:p.size]
		more = contentPlace(order, found[p.size-1].Position)
	}
	ids := make([]string, len(found))
	for i, l := range found {
		ids[i] = l.ID
	}
	stats, err := c.cfg.Ratings.Stats(c.r.Context(), ids)
	if err != nil {
		return err
	}
	results := make([]any, len(found))
	for i, l := range found {
		if results[i], err = pick(itemOf(l.Content, stats[l.ID]), p.fields); err != nil {
			return err
		}
	}
	c.cacheable()
	return c.results(p, results, more, func() (int64, error) {
		if nothing {
			return 0, nil
		}
		return c.cfg.Contents.Count(c.r.Context(), f)
	})
}

// orderings are those of contents, the default first.
func orderings() []string {
	all := []string{"-" + string(content.ByCreated)}
	for _, f := range content.Fields() {
		all = append(all, string(f))
		if f != content.ByCreated {
			all = append(all, "-"+string(f))
		}
	}
	return all
}

func (c *call) createContent() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	title, _ := c.input.text("title")
	description, _ := c.input.text("description")
	for _, m := range contentOutputs {
		if _, sent := c.input.values[m.name]; sent {
			c.input.refuse(m.name, invalid.ReadOnly, "This field is set by the server.")
		}
	}
	draft := content.Draft{Title: title, Description: description}
	if err := c.input.check(draft.Validate()); err != nil {
		return err
	}
	return c.once(func() (int, string, any, error) {
		made, err := c.cfg.Contents.Create(c.r.Context(), c.who.Subject, draft)
		if err != nil {
			return 0, "", nil, err
		}
		c.w.Header().Set("ETag", tag{made.Version, 0}.String())
		return http.StatusCreated, c.url("contents", made.ID), detailOf(made, rating.Stats{}), nil
	})
}

func (c *call) getContent() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	fields := q.fields(append([]string{"description"}, contentFields...)...)
	if err := q.err(); err != nil {
		return err
	}
	found, err := c.cfg.Contents.Get(c.r.Context(), c.param)
	if err != nil {
		return err
	}
	stats, err := c.stats(found.ID)
	if err != nil {
		return err
	}
	c.cacheable()
	etag := tag{found.Version, stats.Revision}
	c.w.Header().Set("ETag", etag.String())
	if c.notModified(etag) {
		return c.empty(http.StatusNotModified)
	}
	picked, err := pick(detailOf(found, stats), fields)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, picked)
}

func (c *call) updateContent() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	patch := content.Patch{Title: c.input.patch("title"), Description: c.input.patch("description")}
	if err := c.input.check(patch.Validate()); err != nil {
		return err
	}
	var stats rating.Stats
	changed, err := c.cfg.Contents.Update(c.r.Context(), c.contentActor(), c.param, patch, func(old content.Content) (err error) {
		if err := match.check(old.Version); err != nil {
			return err
		}
		if stats, err = c.stats(old.ID); err != nil {
			return err
		}
		if match.before(tag{old.Version, stats.Revision}) {
			return c.input.unchanged(detailOf(old, stats), "average_score", "score", "ratings_count")
		}
		return c.input.unchanged(detailOf(old, stats))
	})
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "private, no-cache")
	c.w.Header().Set("ETag", tag{changed.Version, stats.Revision}.String())
	return c.json(http.StatusOK, detailOf(changed, stats))
}

func (c *call) deleteContent() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	var check func(content.Content) error
	if match != nil { // otherwise whatever there is may be deleted, at no version in particular
		check = func(old content.Content) error { return match.check(old.Version) }
	}
	if err := c.cfg.Contents.Delete(c.r.Context(), c.contentActor(), c.param, check); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
