//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// never is the end of what may take effect at any time.
const never = time.Duration(1<<63 - 1)

// ends returns until when an operation may have taken effect.
func (o *operation) ends() time.Duration {
	if o.fate() == unknown {
		return never
	}
	return o.End
}

func compareKeys(a, b ratingKey) int {
	return strings.Compare(a.content+" "+a.rater, b.content+" "+b.rater)
}

// writes returns the writes of each rating.
func (e *evidence) writes() map[ratingKey][]*operation {
	writes := map[ratingKey][]*operation{}
	for _, o := range e.ops {
		if o.Kind == rate || o.Kind == withdraw {
			k := ratingKey{o.Content, o.User}
			writes[k] = append(writes[k], o)
		}
	}
	return writes
}

// mayBeDeleted reports whether somebody has tried to delete a content.
func (e *evidence) mayBeDeleted(content string) bool {
	return slices.ContainsFunc(
		e.byID[content],
		func(o *operation) bool { return o.Kind == deleteContent && o.fate() != refused },
	)
}

// checkTasks (N1): each write that was accepted is applied, superseded or rejected with a reason,
// as its task says.
func (e *evidence) checkTasks() (found []violation) {
	for _, o := range e.ops {
		if o.Kind != rate && o.Kind != withdraw || o.Task == "" {
			continue
		}
		last := e.final.tasks[o.Task]
		switch {
		case last == nil:
			found = add(found, "N1", ids(o), "the lab did not ask for the task of %s", o)
		case last.fate() == refused:
			found = add(found, "N1", ids(o, last), "the task of what was accepted is not known: %s; %s", o, last)
		case last.fate() != done || last.Got.State != "FAILURE":
		case last.Got.Reason != "does_not_exist" || !e.mayBeDeleted(o.Content):
			found = add(found, "N1", ids(o, last), "what was accepted was rejected as %q: %s", last.Got.Reason, o)
		}
	}
	return found
}

// checkRows (N1, N2, N3): there is one row of each rating that was accepted, and no other.
func (e *evidence) checkRows() (found []violation) {
	rows := map[ratingKey]int{}
	for _, content := range slices.Sorted(maps.Keys(e.final.contents)) {
		for _, r := range e.final.contents[content].ratings {
			k := ratingKey{r.Content, e.names[r.Rater]}
			if rows[k] != 0 {
				found = append(found, violation{Rule: "N3", Text: fmt.Sprintf("there are two rows of %v", k)})
			}
			rows[k] = r.Score
		}
	}
	writes := e.writes()
	for _, k := range slices.SortedFunc(maps.Keys(rows), compareKeys) {
		attempted := func(o *operation) bool { return o.Kind == rate && o.Score == rows[k] && o.fate() != refused }
		if !slices.ContainsFunc(writes[k], attempted) {
			found = add(
				found,
				"N2",
				ids(writes[k]...),
				"the row of %v has the score %d, which nobody gave, or which was refused",
				k,
				rows[k],
			)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(writes), compareKeys) {
		of := writes[k]
		content := e.final.contents[k.content]
		if rows[k] != 0 || content == nil || content.content.fate() != done {
			continue
		}
		withdrawn := slices.ContainsFunc(of, func(o *operation) bool { return o.Kind == withdraw && o.fate() != refused })
		accepted := slices.IndexFunc(of, func(o *operation) bool { return o.Kind == rate && o.fate() == done })
		if accepted >= 0 && !withdrawn {
			found = add(found, "N1", ids(of[accepted]), "what was accepted is lost: %s", of[accepted])
		}
	}
	return found
}

// checkWinners (N2): what a contested rating is in the end was attempted, and nobody was told of a
// later write.
func (e *evidence) checkWinners() (found []violation) {
	writes := e.writes()
	for _, k := range slices.SortedFunc(maps.Keys(e.keys), compareKeys) {
		last := e.final.own[k]
		of := slices.DeleteFunc(slices.Clone(writes[k]), func(o *operation) bool { return o.fate() == refused })
		score := 0
		switch {
		case last.fate() == done:
			score = last.Got.Score
		case last.Status != 404:
			found = add(found, "F1", ids(last), "a rating cannot be read: %s", last)
			continue
		}
		won := func(o *operation) bool { return o.value() == score && !overtaken(o, of) }
		if len(of) > 0 && !slices.ContainsFunc(of, won) {
			found = add(
				found,
				"N2",
				ids(append(of, last)...),
				"the rating of %v is %d in the end, although a later write was acknowledged",
				k,
				score,
			)
		}
	}
	return found
}

// value is what a write makes of a rating: its score, 0 if it is withdrawn.
func (o *operation) value() int {
	if o.Kind == withdraw {
		return 0
	}
	return o.Score
}

// overtaken reports whether a write was acknowledged that began after o had ended.
func overtaken(o *operation, of []*operation) bool {
	return slices.ContainsFunc(of, func(later *operation) bool { return later.fate() == done && later.Start > o.ends() })
}
