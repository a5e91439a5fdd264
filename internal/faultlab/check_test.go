//go:build linux

package main

import (
	"slices"
	"testing"
	"time"
)

// story is a history that a test makes up: one content and one rater, a second for each operation
// unless it says otherwise.
type story struct {
	ops     []*operation
	periods []*period
	final   *final
	at      time.Duration
}

func newStory() *story {
	s := &story{
		final: &final{
			tasks:    map[string]*operation{},
			contents: map[string]*finalContent{"c": {content: &operation{Status: 200}}},
			own:      map[ratingKey]*operation{},
		},
	}
	s.add(&operation{Kind: createContent, Status: 201, Title: "t1", Got: &seen{ID: "c", Version: 1, Title: "t1"}})
	return s
}

// add appends an operation that takes half a second, and returns it.
func (s *story) add(o *operation) *operation {
	o.ID = len(s.ops) + 1
	if o.Node == "" {
		o.Node = "n"
	}
	if o.Kind != createContent && o.Kind != listContents && o.Session == "" {
		o.Content, o.User = "c", "ana"
	}
	if o.Start == 0 {
		s.at += time.Second
		o.Start, o.End = s.at, s.at+time.Second/2
	}
	s.ops = append(s.ops, o)
	return o
}

func (s *story) read(version int64, title string) *operation {
	return s.add(&operation{Kind: readContent, Status: 200, Got: &seen{Version: version, Title: title}})
}

func (s *story) edit(match int64, title string, status int) *operation {
	o := &operation{Kind: editContent, IfMatch: match, Title: title, Status: status, RetryAfter: true}
	if status == 200 {
		o.Got = &seen{Version: match + 1, Title: title}
	}
	return s.add(o)
}

func (s *story) rate(score, status int) *operation {
	o := &operation{Kind: rate, Score: score, Status: status, RetryAfter: true}
	if status < 300 {
		o.Got = &seen{}
	}
	if status == 202 {
		o.Task = string(rune('A' + len(s.ops)))
		s.final.tasks[o.Task] = &operation{Kind: readTask, Status: 200, Got: &seen{State: "SUCCESS"}}
	}
	return s.add(o)
}

func (s *story) own(score int) *operation {
	if score == 0 {
		return s.add(&operation{Kind: readRating, Status: 404})
	}
	return s.add(&operation{Kind: readRating, Status: 200, Got: &seen{Score: score}})
}

func (s *story) readStats(count int64) *operation {
	return s.add(&operation{Kind: readStats, Status: 200, Got: &seen{Stats: &stats{Count: count}}})
}

// row is what the list of ratings has in the end.
func (s *story) row(score int) {
	s.final.contents["c"].ratings = append(s.final.contents["c"].ratings, listedRating{"c", "ana-id", score})
}

// check returns the rules that are violated, each once.
func (s *story) check() []string {
	e := &evidence{
		ops:     s.ops,
		periods: s.periods,
		final:   s.final,
		names:   map[string]string{"ana-id": "ana"},
		keys:    map[ratingKey]*key{},
	}
	if len(s.final.own) > 0 {
		e.keys[ratingKey{"c", "ana"}] = &key{node: &node{}}
	}
	e.index()
	found, _ := e.check()
	var rules []string
	for _, v := range found {
		rules = append(rules, v.Rule)
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// ends sets what the contested rating is in the end.
func (s *story) ends(score int) {
	s.final.own[ratingKey{"c", "ana"}] = s.own(score)
	if score > 0 {
		s.row(score)
	}
}

// Each history breaks one rule, or none.
func TestChecks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tell func(*story)
		want []string
	}{
		"a quiet run": {func(s *story) {
			s.read(1, "t1")
			s.edit(1, "t2", 200)
			s.read(2, "t2")
			s.edit(1, "t3", 412)
			s.rate(4, 202)
			s.ends(4)
		}, nil},
		"N1: an accepted rating has no row": {func(s *story) { s.rate(4, 202) }, []string{"N1"}},
		"N1: an accepted rating is rejected": {func(s *story) {
			s.final.tasks[s.rate(4, 202).Task].Got = &seen{State: "FAILURE", Reason: "malformed"}
			s.row(4)
		}, []string{"N1"}},
		"N1: the task of an accepted rating is unknown": {func(s *story) {
			s.final.tasks[s.rate(4, 202).Task] = &operation{Kind: readTask, Status: 404}
			s.row(4)
		}, []string{"N1"}},
		"an open rating may have a row": {func(s *story) { s.rate(4, 503); s.row(4) }, nil},
		"an open rating may have none":  {func(s *story) { s.rate(4, 503) }, nil},
		"N2: a row that was refused":    {func(s *story) { s.rate(4, 400); s.row(4) }, []string{"N2"}},
		"N2: a row that was not accepted": {func(s *story) {
			s.rate(4, 503).Outcome = "not_accepted"
			s.row(4)
		}, []string{"N2"}},
		"N2: a row that nobody wrote": {func(s *story) { s.rate(4, 202); s.row(3) }, []string{"N2"}},
		"N2: an older write wins": {func(s *story) {
			s.rate(4, 202)
			s.rate(5, 202)
			s.ends(4)
		}, []string{"N2", "rating"}},
		"an open write may win later": {func(s *story) {
			s.rate(4, 503)
			s.rate(5, 202)
			s.own(5)
			s.ends(4)
		}, nil},
		"N3: two rows of one rating": {func(s *story) { s.rate(4, 202); s.row(4); s.row(4) }, []string{"N3"}},
		"N5: a version goes back": {func(s *story) {
			s.edit(1, "t2", 200)
			s.read(1, "t1")
		}, []string{"N5", "content"}},
		"a stale copy says its age": {func(s *story) {
			s.edit(1, "t2", 200)
			stale(s.read(1, "t1"), 2*time.Second)
		}, nil},
		"stale: a copy is older than it says": {func(s *story) {
			s.edit(1, "t2", 200)
			s.at += 9 * time.Second
			stale(s.read(1, "t1"), 2*time.Second)
		}, []string{"stale"}},
		"stale: a copy is too old": {func(s *story) {
			s.readStats(0)
			stale(s.readStats(0), 6*time.Minute)
		}, []string{"stale"}},
		"content: two edits of one version": {func(s *story) {
			s.edit(1, "t2", 200)
			s.edit(1, "t3", 200)
		}, []string{"content"}},
		"content: a refused edit has taken effect": {func(s *story) {
			s.edit(1, "t2", 412)
			s.read(2, "t2")
		}, []string{"content"}},
		"an open edit may take effect later": {func(s *story) {
			s.edit(1, "t2", 503)
			s.read(1, "t1")
			s.read(2, "t2")
			s.edit(1, "t3", 412)
		}, nil},
		"an open edit may never take effect": {func(s *story) {
			s.edit(1, "t2", 503)
			s.edit(1, "t3", 200)
			s.read(2, "t3")
		}, nil},
		"rating: a rater reads what was before": {func(s *story) {
			s.rate(4, 202)
			s.rate(5, 202)
			s.own(4)
			s.ends(5)
		}, []string{"rating"}},
		"a cache may forget what is pending": {func(s *story) {
			s.rate(4, 202)
			s.rate(5, 202)
			s.periods = append(s.periods, &period{start: s.at, end: s.at + time.Second, forgets: true})
			s.own(4)
			s.rate(5, 202)
			s.ends(5)
		}, nil},
		"stale: statistics without what was stored": {func(s *story) {
			stored(s)
			s.at += freshFor
			s.readStats(0)
		}, []string{"stale"}},
		"statistics may be a little late": {func(s *story) { stored(s); s.readStats(0) }, nil},
		"statistics may be late with an Age": {func(s *story) {
			stored(s)
			s.at += freshFor
			stale(s.readStats(0), 2*time.Second)
		}, nil},
		"stale: statistics are older than their Age": {func(s *story) {
			stored(s)
			s.at += 10 * time.Second
			stale(s.readStats(0), 2*time.Second)
		}, []string{"stale"}},
		"ratings go with their content, which others may know a little later": {func(s *story) {
			stored(s)
			s.at += freshFor
			s.remove()
			s.readStats(0)
		}, nil},
		"stale: statistics of what nobody gave": {func(s *story) { s.readStats(1) }, []string{"stale"}},
		"N5: what was deleted is read":          {func(s *story) { s.remove(); s.read(1, "t1") }, []string{"N5", "content"}},
		"stale: the statistics of what was deleted": {func(s *story) {
			s.remove()
			s.at += freshFor
			s.readStats(0)
		}, []string{"stale"}},
		"N5: a list without what was there": {func(s *story) {
			s.add(&operation{Kind: listContents, Status: 200, Got: &seen{Whole: true}})
		}, []string{"N5"}},
		"N5: a list with an old version": {func(s *story) {
			s.edit(1, "t2", 200)
			page := &seen{Whole: true, Contents: []listedContent{{ID: "c", Version: 1}}}
			s.add(&operation{Kind: listContents, Status: 200, Got: page})
		}, []string{"N5"}},
		"F1: a fault of the server":     {func(s *story) { s.rate(4, 500) }, []string{"F1"}},
		"F1: 503 without Retry-After":   {func(s *story) { s.rate(4, 503).RetryAfter = false }, []string{"F1"}},
		"A20: a valid token is refused": {func(s *story) { s.own(0).Status = 401 }, []string{"A20"}},
		"A19: an ended session is good": {func(s *story) {
			s.add(&operation{Kind: logout, Session: "s", Status: 204})
			s.add(&operation{Kind: readMe, Session: "s", Status: 200})
		}, []string{"A19"}},
		"another node may accept it a little longer": {func(s *story) {
			s.add(&operation{Kind: logout, Session: "s", Status: 204})
			s.add(&operation{Kind: readMe, Session: "s", Status: 200, Node: "other"})
		}, nil},
		"A19: another node accepts it for longer": {func(s *story) {
			s.add(&operation{Kind: logout, Session: "s", Status: 204})
			s.at += endsWithin
			s.add(&operation{Kind: readMe, Session: "s", Status: 200, Node: "other"})
		}, []string{"A19"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory()
			test.tell(s)
			if got := s.check(); !slices.Equal(got, test.want) {
				t.Errorf("violated are %v, want %v", got, test.want)
			}
		})
	}
}

func stale(o *operation, age time.Duration) { o.Stale, o.Age = true, age }

// stored is a rating whose task has succeeded.
func stored(s *story) {
	o := s.rate(4, 202)
	s.row(4)
	s.add(&operation{Kind: readTask, Task: o.Task, Status: 200, Got: &seen{State: "SUCCESS"}})
}

// remove deletes the content.
func (s *story) remove() {
	s.add(&operation{Kind: deleteContent, Status: 204, Got: &seen{}})
	s.final.contents["c"].content = &operation{Status: 404}
}

func TestRecount(t *testing.T) {
	t.Parallel()
	ratings := []listedRating{{"c", "ana", 4}, {"c", "bob", 5}}
	whole := func() *stats {
		average := 4.5
		return &stats{
			Count:     2,
			Sum:       9,
			Average:   &average,
			Histogram: map[string]int64{"1": 0, "2": 0, "3": 0, "4": 1, "5": 1},
		}
	}
	if problem := recount(ratings, whole()); problem != "" {
		t.Error(problem)
	}
	for name, spoil := range map[string]func(*stats){
		"count":     func(s *stats) { s.Count++ },
		"sum":       func(s *stats) { s.Sum-- },
		"average":   func(s *stats) { *s.Average += 0.1 },
		"none":      func(s *stats) { s.Average = nil },
		"histogram": func(s *stats) { s.Histogram["5"], s.Histogram["3"] = 0, 1 },
	} {
		s := whole()
		if spoil(s); recount(ratings, s) == "" {
			t.Errorf("%s: nothing is wrong with %+v", name, s)
		}
	}
}
