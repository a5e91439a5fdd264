//go:build linux

package main

import (
	"maps"
	"slices"
	"time"
)

// The bounds that the product promises for what it reads from a cache.
const (
	// freshFor is how old statistics, and the knowledge that a content exists, may be without an Age
	// (README, "Many processes").
	freshFor = 2 * time.Second
	// maxAge is how old a copy may be that is served while the store is away, and its Age says so
	// (SECURITY.md, section 4).
	maxAge = 5 * time.Minute
	// endsWithin is how long other nodes that share a cache may accept the tokens of a session that
	// was ended (SECURITY.md, A19), and a second more for a busy machine; without the cache it is
	// endsWithoutCache, and ten minutes without the store as well.
	endsWithin       = 2 * time.Second
	endsWithoutCache = 30 * time.Second
	// recovering is how long a cache may be bypassed after it is well again: its breaker asks once a
	// second.
	recovering = 3 * time.Second
	// slack is for clocks that are read a moment apart.
	slack = 100 * time.Millisecond
)

// asOf returns the moment that an answer must not be older than: an Age is cut to whole seconds.
func (o *operation) asOf(bound time.Duration) time.Duration {
	at := o.Start - bound - slack
	if o.Stale {
		at -= o.Age + time.Second
	}
	return at
}

// versionKnown is that a version of a content was there at a time at the latest.
type versionKnown struct {
	version int64
	at      time.Duration
	by      *operation
}

// knownVersions returns the versions of a content that somebody was told of, in the order of time,
// as of now and no stale copies.
func knownVersions(ops []*operation) (all []versionKnown) {
	for _, o := range ops {
		if o.fate() == done && !o.Stale && o.Got.Version > 0 &&
			(o.Kind == createContent || o.Kind == editContent || o.Kind == readContent) {
			all = append(all, versionKnown{o.Got.Version, o.End, o})
		}
	}
	slices.SortStableFunc(all, func(a, b versionKnown) int { return int(a.at - b.at) })
	return all
}

// newest returns the greatest version that was known before a moment.
func newest(known []versionKnown, before time.Duration) (v versionKnown) {
	for _, k := range known {
		if k.at >= before {
			break
		}
		if k.version > v.version {
			v = k
		}
	}
	return v
}

// checkVersions (N5): no read sees a version go back.
func (e *evidence) checkVersions() (found []violation) {
	for _, id := range slices.Sorted(maps.Keys(e.byID)) {
		versions := e.known[id]
		for _, o := range e.byID[id] {
			if o.Kind != readContent || o.fate() != done || o.Stale {
				continue
			}
			if before := newest(versions, o.Start); o.Got.Version < before.version {
				found = add(
					found,
					"N5",
					ids(before.by, o),
					"version %d was read after version %d: %s; %s",
					o.Got.Version,
					before.version,
					before.by,
					o,
				)
			}
		}
	}
	return found
}

// checkStaleContents: a stale copy says how old it is, and is no older.
func (e *evidence) checkStaleContents() (found []violation) {
	for _, id := range slices.Sorted(maps.Keys(e.byID)) {
		versions := e.known[id]
		for _, o := range e.byID[id] {
			if o.Kind != readContent || o.fate() != done || !o.Stale {
				continue
			}
			before := newest(versions, o.asOf(0))
			if o.Got.Version < before.version {
				found = add(
					found,
					"stale",
					ids(before.by, o),
					"a copy is older than its Age of %v: version %d, after version %d: %s; %s",
					o.Age,
					o.Got.Version,
					before.version,
					before.by,
					o,
				)
			}
		}
	}
	return found
}

// checkStats: statistics have what was stored longer ago than their bound, and nothing that nobody
// gave.
func (e *evidence) checkStats() (found []violation) {
	stored := e.stored()
	for _, id := range slices.Sorted(maps.Keys(e.byID)) {
		ops := e.byID[id]
		if slices.ContainsFunc(ops, func(o *operation) bool { return o.Kind == withdraw }) {
			continue // its numbers may fall
		}
		given := map[string]time.Duration{} // when each rater's first attempt began
		removed := never                    // when somebody began to delete the content
		for _, o := range ops {
			if o.Kind == deleteContent && o.fate() != refused {
				removed = min(removed, o.Start)
			}
			if _, ok := given[o.User]; o.Kind == rate && o.fate() != refused && !ok {
				given[o.User] = o.Start
			}
		}
		for _, o := range ops {
			if o.fate() != done || o.Got.Stats == nil || o.Kind != readStats && o.Kind != readContent {
				continue
			}
			least, most := int64(0), int64(0)
			for _, at := range stored[id] {
				if at < o.asOf(freshFor) && o.End < removed { // what goes with its content is gone at once
					least++
				}
			}
			for _, at := range given {
				if at < o.End {
					most++
				}
			}
			if n := o.Got.Stats.Count; n < least || n > most {
				found = add(
					found,
					"stale",
					ids(o),
					"ratings_count is %d; %d ratings were stored %v before, and %d were given: %s",
					n,
					least,
					freshFor,
					most,
					o,
				)
			}
			if o.Age > maxAge {
				found = add(found, "stale", ids(o), "an answer is %v old: %s", o.Age, o)
			}
		}
	}
	return found
}

// stored returns, for each content, when each rater's rating of it was known to be stored.
func (e *evidence) stored() map[string]map[string]time.Duration {
	task := map[string]*operation{}
	stored := map[string]map[string]time.Duration{}
	for _, o := range e.ops {
		if o.Kind == rate && o.Task != "" {
			task[o.Task] = o
		}
		about := o
		switch {
		case o.fate() != done:
			continue
		case o.Kind == readTask && o.Got.State == "SUCCESS":
			about = task[o.Task]
		case (o.Kind == rate || o.Kind == readRating) && o.Got.State == "stored":
		default:
			continue
		}
		if about == nil || about.Kind == withdraw {
			continue
		}
		if stored[about.Content] == nil {
			stored[about.Content] = map[string]time.Duration{}
		}
		if at, ok := stored[about.Content][about.User]; !ok || o.End < at {
			stored[about.Content][about.User] = o.End
		}
	}
	return stored
}

// checkDeleted: what was deleted is gone, its statistics too. While the store is away, a copy with
// an Age may be of before, and a rating may be accepted that is refused when it is to be stored.
func (e *evidence) checkDeleted() (found []violation) {
	for _, id := range slices.Sorted(maps.Keys(e.byID)) {
		ops := e.byID[id]
		at := slices.IndexFunc(ops, func(o *operation) bool { return o.Kind == deleteContent && o.fate() == done })
		if at < 0 {
			continue
		}
		deleted := ops[at]
		for _, o := range ops {
			if o.fate() != done || o.Kind == listRatings || o.Kind == createContent {
				continue
			}
			strict := o.Kind == readContent && !o.Stale || o.Kind == editContent || o.Kind == deleteContent && o != deleted
			quiet := o.Kind != rate || !e.troubled(o.Start-recovering, o.End, true)
			switch {
			case strict && o.Start > deleted.End:
				found = add(found, "N5", ids(deleted, o), "what was deleted is there: %s; %s", deleted, o)
			case (o.Kind == readStats || o.Kind == readContent || o.Kind == rate) && quiet && o.asOf(freshFor) > deleted.End:
				found = add(found, "stale", ids(deleted, o), "%v after it was deleted: %s; %s", o.Start-deleted.End, deleted, o)
			}
		}
	}
	return found
}

// checkLists: a list has what was there before it was asked for, as it was then or later, and
// nothing that was deleted.
func (e *evidence) checkLists() (found []violation) {
	stored := e.stored()
	for _, o := range e.ops {
		if o.fate() != done {
			continue
		}
		switch o.Kind {
		case listContents:
			found = append(found, e.checkContentList(o)...)
		case listRatings:
			if !o.Got.Whole || e.mayBeDeleted(o.Content) ||
				slices.ContainsFunc(e.byID[o.Content], func(w *operation) bool { return w.Kind == withdraw }) {
				continue
			}
			there := map[string]bool{}
			for _, r := range o.Got.Ratings {
				there[e.names[r.Rater]] = true
			}
			for rater, at := range stored[o.Content] {
				if at < o.Start && !there[rater] && o.Client != "auditor" { // an auditor's page may be one of several
					found = add(found, "N5", ids(o), "the rating of %s was stored, and is not in the list: %s", rater, o)
				}
			}
		}
	}
	return found
}

// checkContentList looks at the first page of all contents, the newest first.
func (e *evidence) checkContentList(o *operation) (found []violation) {
	there := map[string]listedContent{}
	for _, c := range o.Got.Contents {
		there[c.ID] = c
	}
	since := time.Duration(0) // what was made after this is on the page
	if n := len(o.Got.Contents); n > 0 && !o.Got.Whole {
		since = never
		if oldest := e.created[o.Got.Contents[n-1].ID]; oldest != nil {
			since = oldest.End
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.byID)) {
		ops := e.byID[id]
		c, listed := there[id]
		before := newest(e.known[id], o.Start)
		deleted := slices.IndexFunc(
			ops,
			func(d *operation) bool { return d.Kind == deleteContent && d.fate() == done && d.End < o.Start },
		)
		made := e.created[id]
		switch {
		case listed && deleted >= 0:
			found = add(found, "N5", ids(ops[deleted], o), "what was deleted is in a list: %s; %s", ops[deleted], o)
		case listed && c.Version < before.version:
			found = add(
				found,
				"N5",
				ids(before.by, o),
				"a list has version %d after version %d: %s; %s",
				c.Version,
				before.version,
				before.by,
				o,
			)
		case !listed && made != nil && made.End < o.Start && made.Start > since && !e.mayBeDeleted(id):
			found = add(found, "N5", ids(made, o), "what was there is missing in a list: %s; %s", made, o)
		}
	}
	return found
}
