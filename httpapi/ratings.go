package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/internal/errs"
	"github.com/khodnevis/khodnevis/internal/invalid"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/rating/task"
)

// ratingDetail is a rating.
type ratingDetail struct {
	ID        string      `json:"id" doc:"The identifiers of content and rater, with a colon between."`
	Content   string      `json:"content" doc:"The identifier of the content."`
	Rater     string      `json:"rater" doc:"The identifier of the user."`
	Score     scoreValue  `json:"score" doc:"The score."`
	State     ratingState `json:"state" doc:"stored, or pending: accepted, and visible to its rater only."`
	CreatedAt stamp       `json:"created_at" doc:"When this user first rated this content."`
	UpdatedAt stamp       `json:"updated_at" doc:"When this score was submitted."`
}

// scoreValue is a score on the scale.
type scoreValue int

// ratingState says whether a rating is stored.
type ratingState string

const (
	stateStored  ratingState = "stored"
	statePending ratingState = "pending" // accepted; its rater sees it (read your writes)
)

var (
	ratingType  = schemaType{name: "Rating", of: ratingDetail{}, next: "getRating", by: "id"}
	ratingRead  = schemaType{name: "RatingFields", of: ratingDetail{}, partial: true}
	ratingList  = schemaType{name: "RatingFields", of: ratingDetail{}, partial: true, list: true}
	receiptType = schemaType{name: "Receipt", of: receiptBody{}, next: "getTask", by: "task"}
)

// addRatings adds the routes of ratings.
func (a *API) addRatings(t map[string]methods, see policy) {
	scale := a.cfg.Ratings.Scale()
	value := member{name: "score", kind: integerKind, required: true, schema: object{{"minimum", scale.Min},
		{"maximum", scale.Max}, {"description", "The score."}}}
	some := value
	some.required = false
	fixed := ratingType.readOnly("score")
	whole := &body{name: "RatingReplacement", limit: smallBody, members: append([]member{value}, fixed...)}
	part := &body{name: "RatingChange", limit: smallBody, members: append([]member{some}, fixed...)}
	contentMember := member{name: "content", required: true, schema: append(slices.Clone(idSchema[1:]),
		entry{"description", "The identifier of the content."})}
	fresh := &body{name: "NewRating", limit: smallBody, creates: true, members: append([]member{contentMember, value},
		ratingType.readOnly("score", "content")...)}
	stored := ok("The rating as it is stored.", ratingType, appliedHeader)
	made := response{http.StatusCreated, "The rating is stored. It is the caller's first rating of this content.",
		&ratingType, []header{locationHeader, appliedHeader}}
	later := accepted("The rating is accepted and will be stored. Its task says when.")
	gone := []response{{http.StatusNoContent, "The rating is withdrawn.", nil, []header{appliedHeader}},
		accepted("It is accepted that the rating is withdrawn: its task says when.")}
	wait := []header{preferWait}
	const inTurn = "Writes of a rating are done in the order they were accepted in. The answer waits up to 5 seconds " +
		"for this one, unless the client prefers otherwise."
	hidden := []int{}
	if a.cfg.PrivateRatings {
		hidden = append(hidden, 404)
	}
	t["/contents/:id/rating/"] = methods{
		http.MethodGet: {
			name: "getOwnRating", summary: "Read the caller's own rating of a content", policy: signedIn,
			responses: []response{ok("The rating.", ratingType)}, run: (*call).getOwnRating,
		},
		http.MethodPut: {
			name: "rateContent", summary: "Rate a content", description: inTurn, policy: signedIn, header: wait, body: whole,
			responses: []response{stored, made, later}, run: queued((*call).putOwnRating),
		},
		http.MethodDelete: {
			name: "withdrawOwnRating", summary: "Withdraw the caller's own rating of a content", description: inTurn,
			policy: signedIn, header: wait,
			responses: gone, run: queued((*call).deleteOwnRating),
		},
	}
	t["/ratings/"] = methods{
		http.MethodGet: {
			name: "listRatings", summary: "List ratings", description: "Pending ratings are not listed.", policy: see,
			query: ratingQuery(), problems: hidden,
			responses: []response{ok("A page of ratings.", ratingList, linkHeader)}, run: (*call).listRatings,
		},
		http.MethodPost: {
			name: "createRating", summary: "Rate a content, without waiting",
			description: "The response is sent once the rating is durable. Rating a content again changes the caller's " +
				"rating of it.",
			policy: signedIn, header: wait, body: fresh,
			responses: []response{later, stored, made}, run: queued((*call).createRating),
		},
	}
	change := route{policy: signedIn, description: "For its rater. " + inTurn, header: wait, problems: []int{403},
		responses: []response{stored, made, later}, run: queued((*call).changeRating)}
	put, patch := change, change
	put.name, put.summary, put.body = "replaceRating", "Replace a rating", whole
	patch.name, patch.summary, patch.body = "changeRating", "Change a rating", part
	t["/ratings/:id/"] = methods{
		http.MethodGet: {
			name: "getRating", summary: "Read a rating", policy: see, query: []parameter{fieldsParameter(ratingRead)},
			responses: []response{ok("The rating.", ratingRead)}, run: (*call).getRating,
		},
		http.MethodPut:   put,
		http.MethodPatch: patch,
		http.MethodDelete: {
			name: "deleteRating", summary: "Withdraw a rating", description: "For its rater and staff. " +
				inTurn, policy: signedIn, header: wait, problems: []int{403},
			responses: gone, run: queued((*call).deleteRating),
		},
	}
}

// ratingQuery returns the parameters of the list of ratings.
func ratingQuery() []parameter {
	rater := idParameter("rater", "Only ratings by this user. `me` is the caller.")
	rater.me = true
	return listParameters(ratingRead, true,
		idParameter("content", "Only ratings of this content."),
		rater,
		integerParameter("score", "Only ratings with this score.", -score.MaxScore, score.MaxScore),
		integerParameter("score__gte", "Only ratings with at least this score.", -score.MaxScore, score.MaxScore),
		integerParameter("score__lte", "Only ratings with at most this score.", -score.MaxScore, score.MaxScore),
		timeParameter("updated_at__gte", "Only ratings submitted at this time or later."),
		timeParameter("updated_at__lt", "Only ratings submitted before this time."),
		choiceParameter("ordering", "The order of the list, `-` for descending. Default `id` for the ratings of one "+
			"content, which costs the least, and `-updated_at` otherwise.",
			"-updated_at", "updated_at", "id"),
	)
}

func (c *call) ratingDetail(r rating.Rating, pending bool) ratingDetail {
	state := stateStored
	if pending {
		state = statePending
	}
	return ratingDetail{ID: r.Key.String(), Content: r.Content, Rater: r.Rater, Score: scoreValue(r.Score), State: state,
		CreatedAt: stamp(r.CreatedAt), UpdatedAt: stamp(r.UpdatedAt)}
}

// ratingKey returns the key in the path.
func (c *call) ratingKey() (rating.Key, error) {
	key, ok := rating.ParseKey(c.param)
	if !ok {
		return rating.Key{}, problemNotFound
	}
	return key, nil
}

// queued is for writes through the queue: if a dependency is unavailable before the queue was
// asked, the problem says that the write was not accepted.
func queued(run func(*call) error) func(*call) error {
	return func(c *call) error {
		err := run(c)
		var asked *rating.UnavailableError
		if (errors.Is(err, errs.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) && !errors.As(err, &asked) {
			return &rating.UnavailableError{Cause: err}
		}
		return err
	}
}

func (c *call) listRatings() error {
	f, err := c.ratingFilter()
	if err != nil {
		return err
	}
	ordering := c.query.choice("ordering", "-updated_at")
	if f.Content != "" { // which an index has, however many ratings the content has
		ordering = c.query.choice("ordering", "id")
	}
	order := map[string]rating.Order{"id": rating.ByKey, "-updated_at": rating.NewestFirst,
		"updated_at": rating.OldestFirst}[ordering]
	p := c.query.page("ratings", ordering+"\n"+f.Rater)
	var after *rating.Cursor
	if err := p.place(func(b []byte) (ok bool) { after, ok = parseRatingPlace(order, b); return ok }); err != nil {
		return err
	}
	found, err := c.cfg.Ratings.List(c.r.Context(), rating.Query{Filter: f, Order: order, After: after, Limit: p.size +
		1})
	if err != nil {
		return p.tooBroad(err)
	}
	c.cacheable()
	return respondPage(c, p, found,
		func(r rating.Rating) []byte { return ratingPlace(order, r) },
		func(r rating.Rating) any { return c.ratingDetail(r, false) },
		func() (int64, bool, error) { return c.cfg.Ratings.Count(c.r.Context(), f) })
}

func (c *call) ratingFilter() (rating.Filter, error) {
	q := c.query
	f := rating.Filter{Content: q.text("content"), Rater: q.text("rater"), ScoreMin: q.integer("score__gte"),
		ScoreMax:    q.integer("score__lte"),
		UpdatedFrom: q.time("updated_at__gte"), UpdatedBefore: q.time("updated_at__lt")}
	if exact := q.integer("score"); exact != nil {
		f.ScoreMin, f.ScoreMax = atLeast(f.ScoreMin, *exact), atMost(f.ScoreMax, *exact)
	}
	if c.cfg.PrivateRatings && !c.who.Staff {
		if f.Rater != "" && f.Rater != c.who.Subject {
			return f, problemNotFound
		}
		f.Rater = c.who.Subject
	}
	return f, nil
}

func atLeast(bound *int, n int) *int {
	if bound != nil && *bound > n {
		return bound
	}
	return &n
}

func atMost(bound *int, n int) *int {
	if bound != nil && *bound < n {
		return bound
	}
	return &n
}

func (c *call) createRating() error {
	if err := c.refusePreconditions(); err != nil {
		return err
	}
	contentID, _ := c.input.text("content")
	score, sent := c.input.integer("score")
	if sent {
		if err := c.input.check(c.cfg.Ratings.CheckScore(score)); err != nil {
			return err
		}
	}
	if err := c.input.check(nil); err != nil {
		return err
	}
	if err := c.countContent(contentID); err != nil {
		return err
	}
	receipt, err := c.cfg.Ratings.Submit(c.r.Context(), c.who.Actor(),
		rating.Submission{Content: contentID, Score: score})
	if err != nil {
		return err
	}
	return c.accepted(receipt, 0)
}

// receiptBody is the response to a write that waits in the queue.
type receiptBody struct {
	Task      string          `json:"task" doc:"The identifier of the task."`
	State     task.State      `json:"state" doc:"The state of the task."`
	StatusURL link            `json:"status_url" doc:"The path of the task."`
	Rating    *acceptedRating `json:"rating,omitempty" doc:"The rating that will be stored, if any."`
}

// acceptedRating is a rating before it is stored. Its times depend on what is stored already.
type acceptedRating struct {
	ID      string      `json:"id" doc:"The identifier. It never changes."`
	URL     link        `json:"url" doc:"The path of the rating. Its rater can read it at once."`
	Content string      `json:"content" doc:"The identifier of the content."`
	Rater   string      `json:"rater" doc:"The identifier of the user."`
	Score   scoreValue  `json:"score" doc:"The score."`
	State   ratingState `json:"state" doc:"pending."`
}

// accepted waits for a receipt's task as long as the client prefers, and responds with its outcome.
func (c *call) accepted(receipt rating.Receipt, otherwise time.Duration) error {
	task := receipt.Task
	if d := c.waitTime(otherwise); d > 0 {
		// if the wait fails, the rating is accepted all the same
		if waited, err := c.waitFor(task.ID, d, c.cfg.Ratings.WaitAccepted); err == nil {
			task = waited
		}
		if task.State.Done() {
			c.waited()
			return c.settled(receipt.Rating, task)
		}
	}
	return c.acceptedAsync(task, receipt.Rating)
}

func (c *call) acceptedAsync(t task.Task, r rating.Rating) error {
	h := c.w.Header()
	where := c.url("tasks", t.ID)
	h.Set("Location", where)
	if h.Set("Preference-Applied", "respond-async"); t.State.Done() {
		c.waited()
	}
	body := receiptBody{Task: t.ID, State: t.State, StatusURL: link(where)}
	if !r.Withdrawn && r.Key != (rating.Key{}) {
		body.Rating = &acceptedRating{r.Key.String(), link(c.url("ratings", r.Key.String())), r.Content, r.Rater,
			scoreValue(r.Score), statePending}
	}
	return c.json(http.StatusAccepted, body)
}

// settled responds with the outcome of a task that is done.
func (c *call) settled(r rating.Rating, t task.Task) error {
	if t.State == task.Failure {
		return c.refused(t)
	}
	if rating.Result(t.Result.Outcome) == rating.Withdrawn || r.Withdrawn {
		return c.empty(http.StatusNoContent)
	}
	stored, pending, err := c.cfg.Ratings.Get(c.r.Context(), c.who.Actor(), r.Key)
	if err != nil { // withdrawn since, or the store is unavailable: it was accepted in any case
		return c.acceptedAsync(t, r)
	}
	status := http.StatusOK
	if rating.Result(t.Result.Outcome) == rating.Created {
		status = http.StatusCreated
		c.w.Header().Set("Location", c.url("ratings", r.Key.String()))
	}
	return c.json(status, c.ratingDetail(stored, pending))
}

// refused is the problem of a task that failed.
func (c *call) refused(t task.Task) error {
	if t.Error.Code == task.CodeNoContent {
		if c.param != "" { // the path names the content
			return problemNotFound
		}
		return problemInvalid([]fieldProblem{{Pointer: "#/content", Field: "content", Code: invalid.NotExist,
			Detail: "There is no such content."}})
	}
	return &problem{status: 400, code: "rejected", title: "Rejected",
		detail: "The rating was accepted but cannot be stored: " + t.Error.Code + "."}
}

func (c *call) getRating() error {
	key, err := c.ratingKey()
	if err != nil {
		return err
	}
	return c.respondRating(key, c.query.fields())
}

func (c *call) respondRating(key rating.Key, fields []string) error {
	r, pending, err := c.visible(key)
	if err != nil {
		return err
	}
	picked, err := pick(c.ratingDetail(r, pending), fields)
	if err != nil {
		return err
	}
	c.cacheable()
	return c.json(http.StatusOK, picked)
}

// visible returns a rating that the caller may see.
func (c *call) visible(key rating.Key) (rating.Rating, bool, error) {
	if c.cfg.PrivateRatings && key.Rater != c.who.Subject && !c.who.Staff {
		return rating.Rating{}, false, problemNotFound
	}
	return c.cfg.Ratings.Get(c.r.Context(), c.who.Actor(), key)
}

// writeTimeout is how long a change of a rating waits to be stored, unless the client prefers
// otherwise.
const writeTimeout = 5 * time.Second

// sentScore returns the score in the body of a change, and whether one was sent. It refuses an
// invalid body.
func (c *call) sentScore() (score int, sent bool, err error) {
	if err := c.refusePreconditions(); err != nil {
		return 0, false, err
	}
	if score, sent = c.input.integer("score"); sent {
		err = c.cfg.Ratings.CheckScore(score)
	}
	return score, sent, c.input.check(err)
}

func (c *call) changeRating() error {
	score, sent, err := c.sentScore()
	if err != nil {
		return err
	}
	key, err := c.ratingKey()
	if err != nil {
		return err
	}
	old, pending, err := c.visible(key)
	if err != nil {
		return err
	}
	if key.Rater != c.who.Subject {
		return problemForbidden
	}
	if err := c.sameRating(old, pending); err != nil {
		return err
	}
	if !sent { // a PATCH of nothing
		return c.json(http.StatusOK, c.ratingDetail(old, pending))
	}
	return c.rate(key.Content, score)
}

// rate submits the caller's rating of the content in the path; a content that does not exist is a
// 404.
func (c *call) rate(contentID string, score int) error {
	if err := c.countContent(contentID); err != nil {
		return err
	}
	receipt, err := c.cfg.Ratings.Submit(c.r.Context(), c.who.Actor(),
		rating.Submission{Content: contentID, Score: score})
	var bad *rating.ValidationError
	switch {
	case errors.As(err, &bad) && bad.Fields[0].Name == "content":
		return problemNotFound
	case err != nil:
		return err
	}
	return c.accepted(receipt, writeTimeout)
}

func (c *call) deleteRating() error {
	key, err := c.ratingKey()
	if err != nil {
		return err
	}
	return c.withdraw(key)
}

func (c *call) withdraw(key rating.Key) error {
	if err := c.refusePreconditions(); err != nil {
		return err
	}
	if _, _, err := c.visible(key); err != nil {
		return err
	}
	if err := c.countContent(key.Content); err != nil {
		return err
	}
	receipt, err := c.cfg.Ratings.Withdraw(c.r.Context(), c.who.Actor(), key)
	if err != nil {
		return err
	}
	return c.accepted(receipt, writeTimeout)
}
