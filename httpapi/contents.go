package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// contentDetail is a content.
type contentDetail struct {
	ID           string   `json:"id" doc:"The identifier."`
	Title        string   `json:"title" doc:"The title, one line."`
	Description  *string  `json:"description,omitempty" doc:"The description. Not in lists."` // nil in lists
	Author       string   `json:"author" doc:"The identifier of the user who created it."`
	AverageScore *float64 `json:"average_score" doc:"The exact mean of the ratings. Null without ratings."`
	Score        *float64 `json:"score" doc:"The published score. Null without ratings that take part."`
	RatingsCount int64    `json:"ratings_count" doc:"The number of ratings."`
	Version      int64    `json:"version" doc:"1 at creation, and one more with each change."`
	CreatedAt    stamp    `json:"created_at" doc:"When it was created."`
	UpdatedAt    stamp    `json:"updated_at" doc:"When its author or staff changed it last."`
}

var (
	contentType = schemaType{name: "Content", of: contentDetail{}, require: "description", next: "getContent", by: "id"}
	contentRead = schemaType{name: "ContentFields", of: contentDetail{}, require: "description", partial: true}
	contentItem = schemaType{name: "ContentItem", of: contentDetail{}, omit: "description", partial: true}
	contentList = schemaType{name: "ContentItem", of: contentDetail{}, omit: "description", partial: true, list: true}
)

// The texts of a content, as content.Draft checks them.
var (
	titleSchema = object{{"minLength", 1}, {"maxLength", content.MaxTitle}, {"pattern", linePattern},
		{"description", "One line, not blank."}, {"examples", []string{"The Cow (1969)"}}}
	descriptionSchema = object{{"maxLength", content.MaxDescription}, {"pattern", linesPattern},
		{"description", "May have line breaks and tabs."},
		{"examples", []string{"A man loves his cow more than anything."}}}
)

func contentBody(name string, creates bool, required ...string) *body {
	b := &body{name: name, limit: largeBody, creates: creates,
		members: []member{{name: "title", schema: titleSchema}, {name: "description", schema: descriptionSchema}}}
	for i, m := range b.members {
		b.members[i].required = slices.Contains(required, m.name)
	}
	b.members = append(b.members, contentType.readOnly("title", "description")...)
	return b
}

// itemOf returns a content in a list.
func itemOf(c content.Content, s rating.Stats) contentDetail {
	average, rated := s.Average()
	return contentDetail{
		ID: c.ID, Title: c.Title, Author: c.Author, Version: c.Version, CreatedAt: stamp(c.CreatedAt),
		UpdatedAt:    stamp(c.UpdatedAt),
		AverageScore: optional(average, rated), Score: published(s), RatingsCount: s.Count,
	}
}

// detailOf returns a content with its description.
func detailOf(c content.Content, s rating.Stats) contentDetail {
	d := itemOf(c, s)
	d.Description = &c.Description
	return d
}

// addContents adds the routes of this module's own contents.
func (a *API) addContents(t map[string]methods) {
	written := []header{etagHeader}
	change := route{policy: signedIn, header: []header{ifMatchHeader}, problems: []int{403, 409},
		run:       (*call).updateContent,
		responses: []response{ok("The content after the change.", contentType, written...)}}
	put, patch := change, change
	put.name, put.summary, put.body = "replaceContent", "Replace a content",
		contentBody("ContentReplacement", false, "title", "description")
	put.description = "For its author and staff. The content may be sent back as it was read; a read-only member " +
		"with another value is refused."
	patch.name, patch.summary, patch.body = "changeContent", "Change a content", contentBody("ContentChange", false)
	patch.description = "For its author and staff. Members that are not sent stay as they are."
	t["/contents/"] = methods{
		http.MethodGet: {
			name: "listContents", summary: "List contents", policy: public, query: contentQuery(),
			responses: []response{ok("A page of contents, without their descriptions.", contentList, linkHeader)},
			run:       (*call).listContents,
		},
		http.MethodPost: {
			name: "createContent", summary: "Create a content", description: "The caller becomes its author.",
			policy: signedIn, header: []header{idempotencyHeader}, body: contentBody("NewContent", true, "title"),
			responses: []response{{http.StatusCreated, "The content was created.", &contentType,
				[]header{locationHeader, etagHeader, replayedHeader}}},
			run: (*call).createContent,
		},
	}
	t["/contents/:id/"] = methods{
		http.MethodGet: {
			name: "getContent", summary: "Read a content", policy: public,
			query: []parameter{fieldsParameter(contentRead)}, header: []header{ifNoneMatchHeader},
			responses: []response{ok("The content.", contentRead, append(slices.Clone(written), ageHeader)...), notModified},
			run:       (*call).getContent,
		},
		http.MethodPut:   put,
		http.MethodPatch: patch,
		http.MethodDelete: {
			name: "deleteContent", summary: "Delete a content",
			description: "For its author and staff. The ratings of the content are deleted too.",
			policy:      signedIn, header: []header{ifMatchHeader}, problems: []int{403, 409},
			responses: []response{noContent("The content is deleted.")},
			run:       (*call).deleteContent,
		},
	}
}

// contentQuery returns the parameters of the list of contents.
func contentQuery() []parameter {
	author := idParameter("author", "Only contents of this user. `me` is the caller.")
	author.me = true
	return listParameters(contentItem, true,
		author,
		textParameter("search", fmt.Sprintf("Only contents whose title or description has all of these words and symbols, "+
			"at most %d different ones. A word of %d to %d letters also finds the words that begin with it. Case, accents, "+
			"harakat, joiners, compatibility forms, Arabic and Persian forms of a letter and the script of digits make no "+
			"difference. Symbols are those of mathematics and currencies, emoji and #&@%%^; other punctuation separates "+
			"words. An empty search is no filter.", content.MaxTerms, content.MinPrefix, content.MaxPrefix),
			content.MaxSearch),
		timeParameter("created_at__gte", "Only contents created at this time or later."),
		timeParameter("created_at__lt", "Only contents created before this time."),
		timeParameter("updated_at__gte", "Only contents changed at this time or later."),
		timeParameter("updated_at__lt", "Only contents changed before this time."),
		numberParameter("score__gte", "Only contents with at least this score."),
		numberParameter("score__lte", "Only contents with at most this score."),
		integerParameter("ratings_count__gte", "Only contents with at least this many ratings.", 0, math.MaxInt32),
		choiceParameter("ordering", "The order of the list, `-` for descending. Default `"+orderings()[0]+"`. "+
			"Titles are compared as people read: by letters, then accents, then case, and Persian letters in their order. "+
			fmt.Sprintf("Their first %d bytes of a collation key count. Scores are compared by rank.", content.TitleKey),
			orderings()...),
	)
}

// stats returns the statistics of one content.
func (c *call) stats(contentID string) (rating.Stats, error) {
	all, err := c.cfg.Ratings.Stats(c.r.Context(), []string{contentID})
	return all[contentID], err
}

// recentStats returns the statistics of a content, which may be stale while the store does not
// respond, and their age.
func (c *call) recentStats(contentID string) (rating.Stats, time.Duration, error) {
	all, age, err := c.cfg.Ratings.StatsOrStale(c.r.Context(), []string{contentID})
	return all[contentID], age, err
}

// aged sets the Age of a stale response.
func (c *call) aged(age time.Duration) {
	if age > 0 {
		c.w.Header().Set("Age", strconv.Itoa(int(age/time.Second)))
	}
}

func (c *call) listContents() error {
	q := c.query
	f := content.Filter{
		Author:      q.text("author"),
		CreatedFrom: q.time("created_at__gte"), CreatedBefore: q.time("created_at__lt"),
		UpdatedFrom: q.time("updated_at__gte"), UpdatedBefore: q.time("updated_at__lt"),
		ScoreMin: q.number("score__gte"), ScoreMax: q.number("score__lte"),
	}
	if n := q.integer("ratings_count__gte"); n != nil {
		f.RatingsMin = int64(*n)
	}
	s := q.text("search")
	f.Terms = content.Terms(s)
	if n := len(f.Terms); n > content.MaxTerms {
		return problemManyWords
	}
	nothing := len(f.Terms) == 0 && strings.TrimSpace(s) != "" // a search of punctuation finds nothing, not everything
	ordering := q.choice("ordering", orderings()[0])
	field, desc := strings.CutPrefix(ordering, "-")
	order := content.Order{Field: content.Field(field), Desc: desc}
	p := q.page("contents", ordering+f.Author) // the binding has me in place of the author
	var err error
	var after *content.Cursor
	if err := p.place(func(b []byte) (ok bool) { after, ok = parseContentPlace(order, b); return ok }); err != nil {
		return err
	}
	var found []content.Listed
	var stats map[string]rating.Stats
	if !nothing {
		found, stats, err = c.listWithStats(content.Query{Filter: f, Order: order, After: after, Limit: p.size + 1})
		if err != nil {
			return p.tooBroad(err)
		}
	}
	c.cacheable()
	return respondPage(c, p, found,
		func(l content.Listed) []byte { return contentPlace(order, l.Cursor) },
		func(l content.Listed) any { return itemOf(l.Content, stats[l.ID]) },
		func() (int64, bool, error) {
			if nothing {
				return 0, false, nil
			}
			return c.cfg.Contents.Count(c.r.Context(), f)
		})
}

// listWithStats returns contents and their numbers. If q filters or orders by numbers, those that are
// returned agree with it: both are read again, a few times, if numbers were published in between.
func (c *call) listWithStats(q content.Query) (found []content.Listed, stats map[string]rating.Stats, err error) {
	f := q.Filter
	read := c.cfg.Ratings.StatsFromStore
	if f.ScoreMin == nil && f.ScoreMax == nil && f.RatingsMin == 0 && q.Order.Field != content.ByScore &&
		q.Order.Field != content.ByRatings {
		read = c.cfg.Ratings.Stats
	}
	for range attempts {
		if found, err = c.cfg.Contents.List(c.r.Context(), q); err != nil {
			return nil, nil, err
		}
		ids := make([]string, len(found))
		for i, l := range found {
			ids[i] = l.ID
		}
		if stats, err = read(c.r.Context(), ids); err != nil {
			return nil, nil, err
		}
		if !slices.ContainsFunc(found, func(l content.Listed) bool { return contradicts(q, l, stats[l.ID]) }) {
			break
		}
	}
	return found, stats, nil
}

// contradicts reports whether a content in a list has other numbers than it was listed by.
func contradicts(q content.Query, l content.Listed, s rating.Stats) bool {
	f, score := q.Filter, published(s)
	return f.ScoreMin != nil && (score == nil || *score < *f.ScoreMin) ||
		f.ScoreMax != nil && (score == nil || *score > *f.ScoreMax) ||
		s.Count < f.RatingsMin ||
		q.Order.Field == content.ByScore && l.Cursor.Number != s.Score.Rank ||
		q.Order.Field == content.ByRatings && l.Cursor.Number != float64(s.Count)
}

// orderings returns the orders of contents, the default first.
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
	title, _ := c.input.text("title")
	description, _ := c.input.text("description")
	draft := content.Draft{Title: title, Description: description}
	if err := c.input.check(draft.Validate()); err != nil {
		return err
	}
	return c.createIdempotent(func(o *content.IdempotencyKey) (m made, err error) {
		var kept content.Content
		var stats rating.Stats
		if o == nil {
			kept, err = c.cfg.Contents.Create(c.r.Context(), c.who.Subject, draft)
		} else {
			kept, m.again, err = c.cfg.Contents.CreateIdempotent(c.r.Context(), c.who.Subject, draft, *o)
		}
		if err == nil && m.again {
			stats, err = c.stats(kept.ID)
		}
		if err != nil {
			return made{}, err
		}
		m.location, m.etag = c.url("contents", kept.ID), tag{kept.Version, stats.Revision}.String()
		m.value = detailOf(kept, stats)
		return m, nil
	})
}

func (c *call) getContent() error {
	found, age, err := c.cfg.Contents.GetOrStale(c.r.Context(), c.param)
	if err != nil {
		return err
	}
	stats, statsAge, err := c.recentStats(found.ID)
	if err != nil {
		return err
	}
	c.aged(max(age, statsAge))
	c.cacheable()
	etag := tag{found.Version, stats.Revision}.String()
	c.w.Header().Set("ETag", etag)
	if c.notModified(etag) {
		return c.empty(http.StatusNotModified)
	}
	picked, err := pick(detailOf(found, stats), c.query.fields())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, picked)
}

func (c *call) updateContent() error {
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	patch := content.Patch{Title: c.input.patch("title"), Description: c.input.patch("description")}
	if err := c.input.check(patch.Validate()); err != nil {
		return err
	}
	var changed content.Content
	var stats rating.Stats
	for range attempts {
		// the statistics before the change, since an after-hook may take the rest of the request's time
		var old content.Content
		if old, stats, err = c.contentToChange(match); err != nil {
			return err
		}
		changed, err = c.cfg.Contents.UpdateFrom(c.r.Context(), c.who.Actor(), old, patch)
		if !errors.Is(err, content.ErrConflict) {
			break
		}
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "private, no-cache")
	c.w.Header().Set("ETag", tag{changed.Version, stats.Revision}.String())
	return c.json(http.StatusOK, detailOf(changed, stats))
}

// attempts bounds how often a change of a version that was changed meanwhile is tried again.
const attempts = 100

// contentToChange returns the content to change and its statistics. The caller may change it, the
// precondition holds, and its read-only members are those that were sent.
func (c *call) contentToChange(match *precondition) (old content.Content, stats rating.Stats, err error) {
	if old, err = c.cfg.Contents.Get(c.r.Context(), c.param); err != nil {
		return old, stats, err
	}
	if !old.ChangeableBy(c.who.Actor()) {
		return old, stats, content.ErrForbidden
	}
	if err := match.check(old.Version); err != nil {
		return old, stats, err
	}
	if stats, err = c.stats(c.param); err != nil {
		return old, stats, err
	}
	if match.before(tag{old.Version, stats.Revision}) {
		return old, stats, c.input.unchanged(detailOf(old, stats), "average_score", "score", "ratings_count")
	}
	return old, stats, c.input.unchanged(detailOf(old, stats))
}

func (c *call) deleteContent() error {
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	err = c.cfg.Contents.Delete(c.r.Context(), c.who.Actor(), c.param, match.versions()...)
	if match.names() && errors.Is(err, content.ErrConflict) {
		return match.failed()
	}
	return c.done(err)
}
