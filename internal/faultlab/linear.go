//go:build linux

package main

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// linearTimeout bounds the search for an order of one history.
const linearTimeout = 20 * time.Second

// registered is the state of a content: nothing yet, there with a version and a title, or deleted.
type registered struct {
	version int64 // 0: not made yet; -1: deleted
	title   string
}

// contents are registers with compare-and-set. What may have taken effect at any time, or never, is
// an operation without an end: if it had no effect, its place is behind everything else.
var contents = porcupine.Model{
	Init: func() any { return registered{} },
	Step: func(state, input, output any) (bool, any) {
		return stepContent(state.(registered), input.(*operation))
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(input, _ any) string { return input.(*operation).String() },
}

func stepContent(s registered, o *operation) (bool, registered) {
	there := s.version > 0
	open := o.fate() == unknown
	missing := o.Status == http.StatusNotFound && s.version < 0
	switch o.Kind {
	case createContent:
		return s.version == 0, registered{1, o.Title}
	case readContent:
		return missing || o.fate() == done && s == registered{o.Got.Version, o.Got.Title}, s
	case deleteContent:
		if there && (open || o.fate() == done) {
			return true, registered{version: -1}
		}
		return open || missing, s
	}
	matches := there && (o.IfMatch == 0 || o.IfMatch == s.version)
	next := registered{s.version + 1, o.Title}
	switch {
	case open && matches:
		return true, next
	case open:
		return true, s
	case o.fate() == done:
		return matches && o.Got.Version == next.version && o.Got.Title == o.Title, next
	case o.Status == http.StatusPreconditionFailed:
		return there && !matches, s
	}
	return missing, s
}

// ratings are registers: the score that a rater sees, 0 if there is none.
var ratings = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, _ any) (bool, any) {
		score, o := state.(int), input.(*operation)
		switch {
		case o.Kind == readRating && o.fate() == done:
			return o.Got.Score == score, score
		case o.Status == http.StatusNotFound: // also of a withdrawal
			return score == 0, score
		}
		return true, o.value()
	},
	DescribeOperation: func(input, _ any) string { return input.(*operation).String() },
}

// checkLinear looks for an order of the operations on each content, and on each contested rating,
// in which each does what one alone would do.
func (e *evidence) checkLinear() (found []violation, undecided int) {
	judge := func(rule, what string, model porcupine.Model, ops []*operation) {
		history := make([]porcupine.Operation, len(ops))
		for i, o := range ops {
			end := int64(math.MaxInt64)
			if o.fate() != unknown {
				end = int64(o.End)
			}
			history[i] = porcupine.Operation{ClientId: i, Input: o, Call: int64(o.Start), Return: end}
		}
		switch porcupine.CheckOperationsTimeout(model, history, linearTimeout) {
		case porcupine.Illegal:
			found = append(
				found,
				violation{rule, "no order explains the operations on " + what, ids(shortest(model, history, ops)...)},
			)
		case porcupine.Unknown:
			undecided++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.byID)) {
		if e.created[id] != nil {
			judge("content", "content "+id, contents, e.contentHistory(id))
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(e.keys), compareKeys) {
		if e.keys[k].node != nil {
			judge("rating", fmt.Sprintf("the rating %v", k), ratings, e.ratingHistory(k))
		}
	}
	return found, undecided
}

// shortest cuts a history that has no order down to its shortest beginning that has none.
func shortest(model porcupine.Model, history []porcupine.Operation, ops []*operation) []*operation {
	ends := slices.SortedFunc(
		slices.Values(history),
		func(a, b porcupine.Operation) int { return int(min(max(a.Return-b.Return, -1), 1)) },
	)
	until := func(n int) (part []porcupine.Operation, of []*operation) {
		for i, h := range history {
			if h.Call <= ends[n].Return {
				if h.Return > ends[n].Return { // what has not ended yet is left open
					if o := ops[i]; o.Kind == readContent || o.Kind == readRating {
						continue
					}
				}
				part, of = append(part, h), append(of, ops[i])
			}
		}
		return part, of
	}
	for n := range ends {
		part, of := until(n)
		if porcupine.CheckOperationsTimeout(model, part, linearTimeout) == porcupine.Illegal {
			return of[max(0, len(of)-12):]
		}
	}
	return ops
}

// contentHistory returns what belongs into the history of a content: its writes, and the reads of
// no stale copies. Of writes whose outcome is open it leaves out those that change nothing about
// whether there is an order, which keeps the search short.
func (e *evidence) contentHistory(id string) (ops []*operation) {
	title := map[int64]string{} // of each version that somebody saw
	for _, k := range e.known[id] {
		title[k.version] = k.by.Got.Title
	}
	kept := map[int64]bool{} // the versions that an open compare-and-set is there for; -1: a deletion
	for _, o := range e.byID[id] {
		switch o.Kind {
		case createContent:
			if o != e.created[id] || o.fate() != done {
				continue
			}
		case readContent:
			if o.Stale || o.fate() == unknown || o.Unsent {
				continue
			}
		case editContent, deleteContent:
			if o.fate() == refused && o.Status != http.StatusPreconditionFailed && o.Status != http.StatusNotFound {
				continue
			}
			if o.fate() == unknown && redundant(o, title, kept) {
				continue
			}
		default:
			continue
		}
		ops = append(ops, o)
	}
	return ops
}

// redundant reports whether an open write can be left out: a compare-and-set whose next version is
// known to be another's had no effect; of those without a trace the first can stand for all, since
// it may take effect whenever another may; and so it is with deletions.
func redundant(o *operation, title map[int64]string, kept map[int64]bool) bool {
	replaces := o.IfMatch
	switch seen, known := title[o.IfMatch+1]; {
	case o.Kind == deleteContent:
		replaces = -1
	case o.IfMatch == 0 || known && seen == o.Title:
		return false
	case known:
		return true
	}
	if kept[replaces] {
		return true
	}
	kept[replaces] = true
	return false
}

// ratingHistory returns the writes of a rating and those reads that must see them: a cache that was
// made to forget since the last write that was acknowledged may show what is stored instead, and so
// may the end of such a time.
func (e *evidence) ratingHistory(k ratingKey) (ops []*operation) {
	var acknowledged []*operation
	for _, o := range e.byID[k.content] {
		if o.User != k.rater {
			continue
		}
		switch {
		case o.Kind == rate && o.fate() != refused, o.Kind == withdraw && o.fate() != refused:
			if o.fate() == done {
				acknowledged = append(acknowledged, o)
			}
			ops = append(ops, o)
		case o.Kind == readRating && (o.fate() == done || o.Status == http.StatusNotFound),
			o.Kind == withdraw && o.Status == http.StatusNotFound:
			if !e.troubled(since(acknowledged, o)-recovering, o.End, true) {
				ops = append(ops, o)
			}
		}
	}
	return ops
}

// since returns when the first of those writes began that may be the last one before a read.
func since(acknowledged []*operation, read *operation) time.Duration {
	var last time.Duration
	for _, w := range acknowledged {
		if w.End < read.Start {
			last = max(last, w.Start)
		}
	}
	from := read.Start
	for _, w := range acknowledged {
		if w.End >= last {
			from = min(from, w.Start)
		}
	}
	return from
}
