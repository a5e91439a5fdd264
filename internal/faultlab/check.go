//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// violation is a promise that was not kept.
type violation struct {
	Rule       string `json:"rule"` // N1 to N7, or the requirement in SECURITY.md
	Text       string `json:"text"`
	Operations []int  `json:"operations,omitempty"` // the identifiers of those that show it, in the history
}

func (v violation) Error() string { return v.Rule + ": " + v.Text }

func violated(rule, text string) error { return violation{Rule: rule, Text: text} }

func ids(ops ...*operation) (ids []int) {
	for _, o := range ops {
		if o != nil {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// add appends a violation that operations show.
func add(found []violation, rule string, operations []int, format string, args ...any) []violation {
	return append(found, violation{rule, fmt.Sprintf(format, args...), operations})
}

// evidence is all that the checks look at.
type evidence struct {
	ops     []*operation // in the order of their starts
	periods []*period    // when something was broken
	final   *final
	names   map[string]string // of raters, by their identifiers
	keys    map[ratingKey]*key
	byID    map[string][]*operation // by content
	known   map[string][]versionKnown
	created map[string]*operation
}

func newEvidence(w *world, m *nemesis, f *final) *evidence {
	e := &evidence{
		ops:     w.history.all(),
		periods: m.all(),
		final:   f,
		names:   map[string]string{},
		keys:    map[ratingKey]*key{},
	}
	for _, a := range w.raters {
		e.names[a.id] = a.name
	}
	for _, k := range w.keys {
		e.keys[ratingKey{k.content, k.rater.name}] = k
	}
	e.index()
	return e
}

// index sorts the operations by content. A create belongs to the content that it made.
func (e *evidence) index() {
	e.byID, e.known, e.created = map[string][]*operation{}, map[string][]versionKnown{}, map[string]*operation{}
	for _, o := range e.ops {
		id := o.Content
		if o.Kind == createContent && o.Got != nil {
			id = o.Got.ID
			e.created[id] = o
		}
		if id != "" {
			e.byID[id] = append(e.byID[id], o)
		}
	}
	for id, ops := range e.byID {
		e.known[id] = knownVersions(ops)
	}
}

// troubled reports whether something was broken between two moments. forgets asks only for what
// makes caches forget.
func (e *evidence) troubled(from, to time.Duration, forgets bool) bool {
	return slices.ContainsFunc(e.periods, func(p *period) bool {
		return (p.forgets || !forgets) && p.start <= to && (p.end == 0 || p.end >= from)
	})
}

// check returns everything that is wrong, and how many histories were too long to decide.
func (e *evidence) check() (found []violation, undecided int) {
	found = append(found, e.final.broken...)
	for _, check := range []func() []violation{
		e.checkAnswers, e.checkTasks, e.checkRows, e.checkWinners, e.checkVersions, e.checkStaleContents,
		e.checkStats, e.checkDeleted, e.checkLists, e.checkSessions,
	} {
		found = append(found, check()...)
	}
	linear, undecided := e.checkLinear()
	return append(found, linear...), undecided
}

// checkAnswers: no request ends as a fault of the server's own, and a 503 says when to come again.
func (e *evidence) checkAnswers() (found []violation) {
	for _, o := range e.ops {
		switch {
		case o.Status >= 500 && o.Status != 503:
			found = add(found, "F1", ids(o), "status %d: %s", o.Status, o)
		case o.Status == 503 && !o.RetryAfter:
			found = add(found, "F1", ids(o), "503 without Retry-After: %s", o)
		case o.Status >= 200 && o.Status < 300 && o.Error != "":
			found = add(found, "F1", ids(o), "the answer cannot be read: %s", o)
		case o.Status == 401 && o.Session == "":
			found = add(found, "A20", ids(o), "a token that is valid was refused: %s", o)
		}
	}
	return found
}

// checkSessions: a session that lasts is never refused; one that was ended is, at once on the node
// that ended it, and soon on others.
func (e *evidence) checkSessions() (found []violation) {
	ended := map[string]*operation{}
	maybe := map[string]bool{}
	for _, o := range e.ops {
		if o.Session == "" {
			continue
		}
		end := ended[o.Session]
		switch {
		case o.Kind == logout && o.fate() == done:
			ended[o.Session] = o
		case o.Kind == logout && o.fate() == unknown:
			maybe[o.Session] = true
		case o.Status == 401 && end == nil && !maybe[o.Session]:
			found = add(found, "A20", ids(o), "a session that was not ended was refused: %s", o)
		case o.Kind == readMe && o.fate() == done && end != nil && o.Start > end.End+e.endsIn(end, o):
			found = add(found, "A19", ids(end, o), "a session was still good after it was ended: %s; %s", end, o)
		}
	}
	return found
}

// endsIn returns how long after the end of a session its tokens may be accepted in a request.
func (e *evidence) endsIn(end, o *operation) time.Duration {
	switch {
	case o.Node == end.Node:
		return 0
	case e.troubled(end.Start-recovering, o.End, true):
		return endsWithoutCache
	}
	return endsWithin
}
