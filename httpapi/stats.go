package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating"
)

// statsDetail is everything that is known of a content's ratings.
type statsDetail struct {
	Content      string           `json:"content"`
	RatingsCount int64            `json:"ratings_count"`
	Sum          int64            `json:"sum"`
	AverageScore *float64         `json:"average_score"`
	Score        *float64         `json:"score"`
	Histogram    map[string]int64 `json:"histogram"`
	Held         int64            `json:"held"`
	AsOf         stamp            `json:"as_of"`
}

func (c *call) getStats() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	explain := q.choice("explain", "0", "1") == "1"
	if err := q.err(); err != nil {
		return err
	}
	if explain && c.anonymous() {
		return problemNoCredentials
	}
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	if explain {
		return c.explainStats()
	}
	s, err := c.stats(c.param)
	if err != nil {
		return err
	}
	c.cacheable()
	return c.json(http.StatusOK, c.statsDetailOf(s))
}

func (c *call) statsDetailOf(s rating.Stats) statsDetail {
	average, rated := s.Average()
	scale := c.cfg.Ratings.Scale()
	d := statsDetail{Content: c.param, RatingsCount: s.Count, Sum: s.Sum, AverageScore: optional(average, rated), Score: optional(s.Score.Value, s.Score.Weight > 0),
		Histogram: map[string]int64{}, Held: s.Held(), AsOf: stamp(s.AsOf)}
	for score := scale.Min; score <= scale.Max; score++ {
		d.Histogram[strconv.Itoa(score)] = s.Histogram[score]
	}
	return d
}

// explainedStats is statsDetail with how the score comes about, for staff.
type explainedStats struct {
	statsDetail
	Explanation explanation `json:"explanation"`
}

// explanation has the numbers of a fold of now; those beside it are what is published.
type explanation struct {
	Score    *float64       `json:"score"`
	Rank     float64        `json:"rank"`
	Weight   float64        `json:"weight"`
	OpenedAt stamp          `json:"opened_at"`
	Buckets  []bucketDetail `json:"buckets"`
	Windows  []windowDetail `json:"windows"`
}

// bucketDetail is an hour of a content's first day, or a day since.
type bucketDetail struct {
	From         stamp          `json:"from"`
	Until        stamp          `json:"until"`
	RatingsCount int64          `json:"ratings_count"`
	Sum          int64          `json:"sum"`
	AverageScore float64        `json:"average_score"`
	Before       float64        `json:"before"`
	Limit        float64        `json:"limit"`
	Counted      float64        `json:"counted"`
	Held         float64        `json:"held"`
	Verdict      rating.Verdict `json:"verdict"`
	Why          string         `json:"why"`
}

// windowDetail is a window. Covers are the borders of the buckets that it takes in.
type windowDetail struct {
	ID          string        `json:"id"`
	Content     string        `json:"content"`
	Ruling      rating.Ruling `json:"ruling"`
	From        stamp         `json:"from"`
	Until       stamp         `json:"until"`
	CoversFrom  stamp         `json:"covers_from"`
	CoversUntil stamp         `json:"covers_until"`
	Note        string        `json:"note"`
	Author      string        `json:"author"`
	CreatedAt   stamp         `json:"created_at"`
}

func windowDetailOf(w rating.Window, opened time.Time) windowDetail {
	from, _ := rating.BucketSpan(opened, w.First)
	_, until := rating.BucketSpan(opened, w.Last)
	return windowDetail{ID: w.ID, Content: w.Content, Ruling: w.Ruling, From: stamp(w.From), Until: stamp(w.Until), CoversFrom: stamp(from), CoversUntil: stamp(until),
		Note: w.Note, Author: w.By, CreatedAt: stamp(w.CreatedAt)}
}

func (c *call) explainStats() error {
	e, err := c.cfg.Ratings.Explain(c.r.Context(), c.ratingActor(), c.param)
	if err != nil {
		return err
	}
	d := explanation{Score: optional(e.Score.Value, e.Score.Weight > 0), Rank: e.Score.Rank, Weight: e.Score.Weight, OpenedAt: stamp(e.Opened),
		Buckets: make([]bucketDetail, len(e.Parts)), Windows: make([]windowDetail, len(e.Windows))}
	for i, p := range e.Parts {
		from, until := rating.BucketSpan(e.Opened, p.Index)
		d.Buckets[i] = bucketDetail{From: stamp(from), Until: stamp(until), RatingsCount: p.N, Sum: p.Sum, AverageScore: p.Mean(), Before: p.Before, Limit: p.Limit,
			Counted: p.Counted, Held: float64(p.N) - p.Counted, Verdict: p.Verdict, Why: p.Why()}
	}
	for i, w := range e.Windows {
		d.Windows[i] = windowDetailOf(w, e.Opened)
	}
	return c.json(http.StatusOK, explainedStats{c.statsDetailOf(e.Stats), d})
}

func (c *call) recalculate() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	task, err := c.cfg.Ratings.Recalculate(c.r.Context(), c.ratingActor(), c.param, c.id)
	if err != nil {
		return err
	}
	return c.acceptedAsync(task, rating.Rating{})
}

var newWindow = &body{limit: smallBody, members: []member{
	{name: "ruling", required: true}, {name: "from", required: true}, {name: "until", required: true}, {name: "note"},
}}

func (c *call) listWindows() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	e, err := c.cfg.Ratings.Explain(c.r.Context(), c.ratingActor(), c.param)
	if err != nil {
		return err
	}
	results := make([]any, len(e.Windows))
	for i, w := range e.Windows {
		results[i] = windowDetailOf(w, e.Opened)
	}
	return c.json(http.StatusOK, envelope{Results: results})
}

func (c *call) createWindow() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	ruling, _ := c.input.text("ruling")
	note, _ := c.input.text("note")
	draft := rating.WindowDraft{Content: c.param, Ruling: rating.Ruling(ruling), From: c.input.time("from"), Until: c.input.time("until"), Note: note}
	if err := c.input.check(draft.Validate()); err != nil {
		return err
	}
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	w, err := c.cfg.Ratings.AddWindow(c.r.Context(), c.ratingActor(), draft)
	if err != nil {
		return err
	}
	e, err := c.cfg.Ratings.Explain(c.r.Context(), c.ratingActor(), c.param)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, windowDetailOf(w, e.Opened))
}

// deleteWindows removes the window that the parameter id names, or without it all of them.
func (c *call) deleteWindows() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	windowID := q.identifier("id")
	if err := q.err(); err != nil {
		return err
	}
	if err := c.cfg.Ratings.Exists(c.r.Context(), c.param); err != nil {
		return err
	}
	if err := c.cfg.Ratings.RemoveWindow(c.r.Context(), c.ratingActor(), c.param, windowID); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// time returns a member that is one, or the zero time, which the rules refuse.
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
