package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// statsDetail is the statistics of a content's ratings.
type statsDetail struct {
	Content      string       `json:"content" doc:"The identifier of the content."`
	RatingsCount int64        `json:"ratings_count" doc:"The number of ratings."`
	Sum          int64        `json:"sum" doc:"The sum of the scores."`
	AverageScore *float64     `json:"average_score" doc:"The exact mean of the scores. Null without ratings."`
	Score        *float64     `json:"score" doc:"The published score. Null without ratings that take part."`
	Rank         *float64     `json:"rank" doc:"What ordering=score orders by. Null if never rated."`
	Histogram    histogram    `json:"histogram" doc:"The number of ratings with each score."`
	Held         int64        `json:"held" doc:"How many ratings do not count in the score, because of a burst."`
	AsOf         stamp        `json:"as_of" null:"yes" doc:"The moment of all these numbers. Null if never rated."`
	Explanation  *explanation `json:"explanation,omitempty" doc:"How the score is computed. For staff, with explain=1."`
}

// histogram has a count for every score on the scale.
type histogram map[string]int64

var (
	statsType  = schemaType{name: "Stats", of: statsDetail{}}
	windowType = schemaType{name: "Window", of: windowDetail{}}
	windowList = schemaType{name: "Window", of: windowDetail{}, list: true}
)

// addStats adds the routes of statistics and score windows.
func (a *API) addStats(t map[string]methods) {
	moment := object{{"format", "date-time"}}
	newWindow := &body{name: "NewWindow", limit: smallBody, members: []member{
		{name: "ruling", required: true, schema: object{{"enum", rulings},
			{"description", "excluded: the ratings of the window do not count in the score. cleared: they count in full."}}},
		{name: "from", required: true, schema: moment.with("description", "The beginning, between 2000 and 2200.")},
		{name: "until", required: true, schema: moment.with("description", "The end, exclusive, by 2200.")},
		{name: "note", schema: object{{"maxLength", rating.MaxNote}, {"pattern", linesPattern},
			{"description", "The reason, for people."}}},
	}}
	t["/contents/:id/stats/"] = methods{http.MethodGet: {
		name: "getStats", summary: "Read the statistics of a content's ratings", policy: public, problems: []int{403},
		query: []parameter{choiceParameter("explain", "`1` explains the score by hours and days. For staff.", "0",
			"1")},
		responses: []response{ok("The statistics.", statsType, ageHeader)}, run: (*call).getStats,
	}}
	t["/contents/:id/stats/recalculate/"] = methods{http.MethodPost: {
		name: "recalculateStats", summary: "Recount the ratings of a content", description: "For staff.", policy: signedIn,
		header: []header{preferWait}, problems: []int{403},
		responses: []response{accepted("The recount is accepted. Its task says when it is done.")},
		run:       queued((*call).recalculate),
	}}
	t["/contents/:id/windows/"] = methods{
		http.MethodGet: {
			name: "listWindows", summary: "List the score windows of a content", description: "For staff.", policy: signedIn,
			problems:  []int{403},
			responses: []response{ok("All on one page.", windowList)}, run: (*call).listWindows,
		},
		http.MethodPost: {
			name: "createWindow", summary: "Create a score window",
			description: "For staff. A window covers whole buckets: hours of a content's first day, days from then on. It " +
				"changes the published score and nothing else.",
			policy: signedIn, body: newWindow, problems: []int{403},
			responses: []response{{http.StatusCreated, "The window was created.", &windowType,
				nil}}, run: (*call).createWindow,
		},
		http.MethodDelete: {
			name: "deleteWindows", summary: "Delete one score window of a content, or all", description: "For staff.",
			policy: signedIn, problems: []int{403},
			query:     []parameter{idParameter("id", "Only this window.")},
			responses: []response{noContent("The windows are deleted.")}, run: (*call).deleteWindows,
		},
	}
}

func (c *call) getStats() error {
	explain := c.query.text("explain") == "1"
	if explain && c.anonymous() {
		return c.scheme.missing
	}
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	if explain {
		return c.explainStats()
	}
	s, age, err := c.recentStats(c.param)
	if err != nil {
		return err
	}
	c.aged(age)
	c.cacheable()
	return c.json(http.StatusOK, c.statsDetailOf(s))
}

func (c *call) statsDetailOf(s rating.Stats) statsDetail {
	average, rated := s.Average()
	scale := c.cfg.Ratings.Scale()
	d := statsDetail{Content: c.param, RatingsCount: s.Count, Sum: s.Sum, AverageScore: optional(average, rated),
		Score: published(s), Rank: optional(s.Score.Rank, s.Score.Computed),
		Histogram: histogram{}, Held: s.Held(), AsOf: stamp(s.AsOf)}
	for score := scale.Min; score <= scale.Max; score++ {
		d.Histogram[strconv.Itoa(score)] = s.Histogram[score]
	}
	return d
}

// explanation is a score computed now; the statistics beside it are the published ones.
type explanation struct {
	Score    *float64       `json:"score" doc:"The score computed now. The published one may be a little older."`
	Rank     float64        `json:"rank" doc:"The rank, which contents are ordered by."`
	Counted  float64        `json:"counted" doc:"The number of ratings that count; may be a fraction."`
	Weight   float64        `json:"weight" doc:"One more rating moves the score by about its distance divided by this."`
	OpenedAt stamp          `json:"opened_at" null:"yes" doc:"When the first hour begins."`
	Buckets  []bucketDetail `json:"buckets" doc:"The hours of the first day, and the days since then, that have ratings."`
	Windows  []windowDetail `json:"windows" doc:"The windows that staff created."`
}

// bucketDetail is an hour of a content's first day, or a day since.
type bucketDetail struct {
	From         stamp         `json:"from" doc:"The beginning."`
	Until        stamp         `json:"until" doc:"The end, exclusive."`
	RatingsCount int64         `json:"ratings_count" doc:"The number of ratings."`
	Sum          int64         `json:"sum" doc:"The sum of the scores."`
	AverageScore float64       `json:"average_score" doc:"The mean of the scores."`
	Pull         float64       `json:"pull" doc:"How it pulls the score: the sum of the distances of its ratings from it."`
	Alone        float64       `json:"alone" doc:"How much it may pull by itself."`
	Limit        float64       `json:"limit" doc:"How much it may pull with what other buckets of its season bear out."`
	Counted      float64       `json:"counted" doc:"The number of its ratings that count; may be a fraction."`
	Held         float64       `json:"held" doc:"The number of its ratings that do not count."`
	Verdict      score.Verdict `json:"verdict" doc:"What was decided about it."`
	Why          string        `json:"why" doc:"The reason, for people."`
}

// windowDetail is a score window. Covers are the bounds of the buckets that it covers.
type windowDetail struct {
	ID          string       `json:"id" doc:"The identifier."`
	Content     string       `json:"content" doc:"The identifier of the content."`
	Ruling      score.Ruling `json:"ruling" doc:"The ruling."`
	From        stamp        `json:"from" doc:"The beginning, as it was sent."`
	Until       stamp        `json:"until" doc:"The end, exclusive, as it was sent."`
	CoversFrom  stamp        `json:"covers_from" doc:"When the first bucket that it covers begins."`
	CoversUntil stamp        `json:"covers_until" doc:"When the last bucket that it covers ends."`
	Note        string       `json:"note" doc:"The reason, for people."`
	Author      string       `json:"author" doc:"The identifier of the staff member who created it."`
	CreatedAt   stamp        `json:"created_at" doc:"When it was created."`
}

func windowDetailOf(w rating.Window, opened time.Time) windowDetail {
	from, _ := score.BucketSpan(opened, w.First)
	_, until := score.BucketSpan(opened, w.Last)
	return windowDetail{ID: w.ID, Content: w.Content, Ruling: w.Ruling, From: stamp(w.From), Until: stamp(w.Until),
		CoversFrom: stamp(from), CoversUntil: stamp(until),
		Note: w.Note, Author: w.By, CreatedAt: stamp(w.CreatedAt)}
}

func (c *call) explainStats() error {
	e, err := c.cfg.Ratings.Explain(c.r.Context(), c.who.Actor(), c.param)
	if err != nil {
		return err
	}
	d := explanation{Score: optional(e.Value, e.Score.Counted > 0), Rank: e.Rank, Counted: e.Score.Counted,
		Weight: e.Weight, OpenedAt: stamp(e.Start),
		Buckets: make([]bucketDetail, len(e.Parts)), Windows: make([]windowDetail, len(e.Windows))}
	for i, p := range e.Parts {
		from, until := score.BucketSpan(e.Start, p.Index)
		d.Buckets[i] = bucketDetail{From: stamp(from), Until: stamp(until), RatingsCount: p.Ratings, Sum: p.Sum,
			AverageScore: p.Mean(), Pull: p.Pull, Alone: p.Alone, Limit: p.Limit,
			Counted: p.Counted, Held: float64(p.Ratings) - p.Counted, Verdict: p.Verdict, Why: e.Why(p)}
	}
	for i, w := range e.Windows {
		d.Windows[i] = windowDetailOf(w, e.Start)
	}
	detail := c.statsDetailOf(e.Stats)
	detail.Explanation = &d
	return c.json(http.StatusOK, detail)
}

func (c *call) recalculate() error {
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	task, err := c.cfg.Ratings.Recalculate(c.r.Context(), c.who.Actor(), c.param)
	if err != nil {
		return err
	}
	if d := c.waitTime(0); d > 0 {
		if waited, err := c.waitFor(task.ID, d, c.cfg.Ratings.WaitAccepted); err == nil {
			task = waited
		}
	}
	return c.acceptedAsync(task, rating.Rating{})
}

func (c *call) listWindows() error {
	e, err := c.cfg.Ratings.Explain(c.r.Context(), c.who.Actor(), c.param)
	if err != nil {
		return err
	}
	results := make(results, len(e.Windows))
	for i, w := range e.Windows {
		results[i] = windowDetailOf(w, e.Start)
	}
	return c.json(http.StatusOK, envelope{Results: results})
}

func (c *call) createWindow() error {
	ruling, _ := c.input.text("ruling")
	note, _ := c.input.text("note")
	draft := rating.Window{Content: c.param, Ruling: score.Ruling(ruling), From: c.input.time("from"),
		Until: c.input.time("until"), Note: note}
	if err := c.input.check(draft.Validate()); err != nil {
		return err
	}
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	w, err := c.cfg.Ratings.AddWindow(c.r.Context(), c.who.Actor(), draft)
	if err != nil {
		return err
	}
	e, err := c.cfg.Ratings.Explain(c.r.Context(), c.who.Actor(), c.param)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, windowDetailOf(w, e.Start))
}

// deleteWindows removes the window that the parameter id names, or all windows without it.
func (c *call) deleteWindows() error {
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	return c.done(c.cfg.Ratings.RemoveWindow(c.r.Context(), c.who.Actor(), c.param, c.query.text("id")))
}

// time returns a member that is a time, or the zero time, which the services refuse.
func (in *input) time(name string) time.Time {
	s, sent := in.text(name)
	if !sent {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		in.refuse(name, invalid.Type, "Give a time such as 2026-01-31T12:00:00Z (RFC 3339).")
	}
	return t
}
