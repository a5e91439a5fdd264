//go:build linux

package main

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Bounds of what follows the last fault.
const (
	// recovery is how long a node may take until it serves again (SECURITY.md, F1).
	recovery = 10 * time.Second
	// drained is how long what was accepted may take to be stored (SECURITY.md, section 4).
	drained = 60 * time.Second
)

// final is what the system holds in the end, as it says over HTTP.
type final struct {
	healed   time.Duration
	tasks    map[string]*operation // the last answer for each task
	contents map[string]*finalContent
	own      map[ratingKey]*operation // of the contested keys
	broken   []violation              // what did not come to rest
}

type finalContent struct {
	content, stats *operation
	ratings        []listedRating
}

// ratingKey is a content and the name of a rater.
type ratingKey struct{ content, rater string }

// settle waits until everything serves and what was accepted is stored, and reads all of it.
func (w *world) settle() *final {
	f := &final{
		healed:   w.history.now(),
		tasks:    map[string]*operation{},
		contents: map[string]*finalContent{},
		own:      map[ratingKey]*operation{},
	}
	f.broken = append(f.broken, w.progress(f.healed)...)
	f.broken = append(f.broken, w.drain(f)...)
	c := newClient("auditor", w.history)
	for _, i := range w.items {
		one := &finalContent{}
		f.contents[i.id] = one
		f.broken = append(f.broken, w.audit(c, i.id, f.healed, one)...)
	}
	for _, k := range w.keys {
		n := k.node
		if n == nil {
			n = w.stack.apis[0]
		}
		f.own[ratingKey{k.content, k.rater.name}] = w.untilAnswered(
			func() *operation { return w.readOwn(c, n, k.content, k.rater) },
		)
	}
	return f
}

// progress demands that each node takes a content and a rating soon after everything is healed.
func (w *world) progress(healed time.Duration) (broken []violation) {
	var mu sync.Mutex
	_ = all(w.stack.apis, func(n *node) error {
		c := newClient("prober", w.history)
		var last *operation
		for w.history.now() < healed+recovery {
			i := w.create(c, n, w.authors[0], false)
			if i == nil {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			if last = w.rateContent(c, n, i.id, w.raters[0], 5, http.MethodPost, nil); last.fate() == done {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		broken = append(
			broken,
			violation{
				Rule:       "F1",
				Text:       fmt.Sprintf("%s takes no writes within %v after the last fault", n.name, recovery),
				Operations: ids(last),
			},
		)
		return nil
	})
	return broken
}

// drain asks for every task until it is done.
func (w *world) drain(f *final) (broken []violation) {
	waiting := map[string]*account{}
	for _, t := range w.tasks {
		waiting[t.id] = t.rater
	}
	const askers = 4
	for {
		names := slices.Collect(maps.Keys(waiting))
		var mu sync.Mutex
		var group sync.WaitGroup
		for part := range slices.Chunk(names, len(names)/askers+1) {
			c := newClient("drain", w.history)
			r := rand.New(rand.NewPCG(uint64(len(part)), 0))
			group.Go(func() {
				for _, id := range part {
					o := w.readTask(c, w.node(r), givenTask{id, waiting[id]})
					mu.Lock()
					f.tasks[id] = o
					mu.Unlock()
				}
			})
		}
		group.Wait()
		for _, id := range names {
			if o := f.tasks[id]; o.fate() == refused ||
				o.fate() == done && (o.Got.State == "SUCCESS" || o.Got.State == "FAILURE") {
				delete(waiting, id)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		if w.history.now() > f.healed+w.timeout {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	for id := range waiting {
		broken = append(
			broken,
			violation{
				Rule: "N1",
				Text: fmt.Sprintf(
					"task %s is not done within %v after the last fault: %s",
					id,
					w.timeout,
					describe(f.tasks[id]),
				),
				Operations: ids(f.tasks[id]),
			},
		)
	}
	return broken
}

func describe(o *operation) string {
	if o.Got != nil && o.Got.State != "" {
		return o.Got.State
	}
	return o.String()
}

// audit reads a content, its statistics and its ratings, until the statistics are those of the
// ratings or too old.
func (w *world) audit(c *client, id string, healed time.Duration, one *finalContent) []violation {
	n := w.stack.apis[0]
	one.content = w.untilAnswered(func() *operation {
		return c.do(
			n,
			&operation{Kind: readContent, Content: id},
			request{method: http.MethodGet, path: "/contents/" + id + "/"},
			readContentBody,
		)
	})
	for {
		ratings, failed := w.allRatings(c, n, id)
		one.ratings = ratings
		one.stats = w.untilAnswered(func() *operation { return w.readStats(c, n, id) })
		if one.content.Status == http.StatusNotFound && one.stats.Status == http.StatusNotFound {
			return nil
		}
		problem := failed
		if problem == "" && one.stats.fate() == done {
			problem = recount(ratings, one.stats.Got.Stats)
		}
		if problem == "" {
			return nil
		}
		if w.history.now() > healed+w.timeout+freshFor {
			return []violation{{Rule: "N4", Text: fmt.Sprintf("content %s: %s", id, problem), Operations: ids(one.stats)}}
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// allRatings walks the list of a content's ratings.
func (w *world) allRatings(c *client, n *node, id string) (ratings []listedRating, failed string) {
	next := "/ratings/?page_size=100&content=" + id
	for next != "" {
		path := next
		o := w.untilAnswered(func() *operation {
			return c.do(
				n,
				&operation{Kind: listRatings, Content: id},
				request{method: http.MethodGet, path: path},
				readPage(&next),
			)
		})
		if o.fate() != done {
			return ratings, "the list of its ratings cannot be read: " + o.String()
		}
		ratings = append(ratings, o.Got.Ratings...)
	}
	return ratings, ""
}

// untilAnswered repeats a read that nothing should get in the way of any more.
func (w *world) untilAnswered(ask func() *operation) *operation {
	for attempt := 0; ; attempt++ {
		if o := ask(); o.fate() != unknown && !o.Unsent || attempt == 20 {
			return o
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// recount compares statistics with ratings and returns the first difference.
func recount(ratings []listedRating, s *stats) string {
	var count, sum int64
	histogram := map[string]int64{"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}
	for _, r := range ratings {
		count++
		sum += int64(r.Score)
		histogram[fmt.Sprint(r.Score)]++
	}
	switch {
	case s.Count != count:
		return fmt.Sprintf("ratings_count is %d, there are %d ratings", s.Count, count)
	case s.Sum != sum:
		return fmt.Sprintf("sum is %d, the ratings' is %d", s.Sum, sum)
	case !maps.Equal(s.Histogram, histogram):
		return fmt.Sprintf("histogram is %v, the ratings' is %v", s.Histogram, histogram)
	case (s.Average == nil) != (count == 0):
		return fmt.Sprintf("the average is there or not, with %d ratings", count)
	case s.Average != nil && math.Abs(*s.Average-float64(sum)/float64(count)) > 1e-9:
		return fmt.Sprintf("the average is %v, of %d ratings with the sum %d", *s.Average, count, sum)
	}
	return ""
}
