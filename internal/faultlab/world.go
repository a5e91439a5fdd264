//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// account is a user of the workload. Its session does not end.
type account struct {
	name, password, id, token string
}

// item is a content of the workload, and what its editors know of it.
type item struct {
	id      string
	author  *account
	stable  bool // never edited nor deleted: its ratings are those of the clients
	version int64
	deleted bool
}

// key is a rating that several clients write at once.
type key struct {
	content string
	rater   *account
	node    *node // where it is written and read; nil: anywhere
}

// world is what the clients share.
type world struct {
	stack   *stack
	history *history
	// timeout is how long the last ratings may take to be stored.
	timeout time.Duration
	authors []*account
	raters  []*account // each rates every stable content once

	mu     sync.Mutex
	items  []*item
	keys   []*key
	next   int // how many of the pairs of a stable content and a rater are rated
	titles int
	tasks  []givenTask
}

// givenTask is a task that a client was given.
type givenTask struct {
	id    string
	rater *account
}

// Sizes of the workload.
const (
	authorCount    = 3
	raterCount     = 16
	contestedItems = 5
	contestedEach  = 8 // raters of each of them: 40 contested keys
	stableItems    = 25
	changingItems  = 8
)

// newWorld registers users and makes contents while nothing is broken.
func newWorld(s *stack, h *history) (*world, error) {
	w := &world{stack: s, history: h, timeout: drained}
	c := newClient("setup", h)
	for i := range authorCount + raterCount {
		a := &account{name: fmt.Sprintf("lab%02d", i), password: "a lab of faults"}
		if err := a.join(c, s.apis[i%len(s.apis)]); err != nil {
			return nil, err
		}
		if i < authorCount {
			w.authors = append(w.authors, a)
		} else {
			w.raters = append(w.raters, a)
		}
	}
	for i := range contestedItems + stableItems + changingItems {
		made := w.create(c, s.apis[i%len(s.apis)], w.authors[i%authorCount], i < contestedItems+stableItems)
		if made == nil {
			return nil, fmt.Errorf("no content can be made: %s", h.all()[len(h.all())-1])
		}
		if i >= contestedItems {
			continue
		}
		for j := range contestedEach {
			k := &key{content: made.id, rater: w.raters[j]}
			if j%2 == 0 { // written and read on one node
				k.node = s.apis[(i+j/2)%len(s.apis)]
			}
			w.keys = append(w.keys, k)
		}
	}
	return w, nil
}

// join registers a user and signs in, again if the machine is too busy for it. A name that is taken
// was so by an answer that came too late.
func (a *account) join(c *client, n *node) error {
	const attempts = 30
	for _, do := range []func(*client, *node) *operation{a.register, a.login} {
		for attempt := 1; ; attempt++ {
			o := do(c, n)
			if o.fate() == done || attempt > 1 && o.Kind == register && o.Status == http.StatusBadRequest {
				break
			}
			if o.Status > 0 && o.Status != http.StatusServiceUnavailable || attempt == attempts {
				return fmt.Errorf("no user can join: %s", o)
			}
		}
	}
	return nil
}

// create makes a content and returns it, nil if it is not known to be there. An answer that got
// lost is asked for again by its Idempotency-Key.
func (w *world) create(c *client, n *node, author *account, stable bool) *item {
	w.mu.Lock()
	w.titles++
	title := fmt.Sprintf("content %d", w.titles)
	w.mu.Unlock()
	for range 3 {
		o := c.do(n, &operation{Kind: createContent, User: author.name, Title: title}, request{
			method: http.MethodPost, path: "/contents/", token: author.token,
			body:   map[string]string{"title": title, "description": "d"},
			header: map[string]string{"Idempotency-Key": strings.ReplaceAll(title, " ", "-")},
		}, readContentBody)
		if o.fate() == done {
			made := &item{id: o.Got.ID, author: author, stable: stable, version: o.Got.Version}
			w.mu.Lock()
			w.items = append(w.items, made)
			w.mu.Unlock()
			return made
		}
		if o.fate() == refused && o.Status != http.StatusConflict {
			return nil
		}
		n = w.stack.apis[(slices.Index(w.stack.apis, n)+1)%len(w.stack.apis)]
	}
	return nil
}

// pair returns a stable content and a rater who has not rated it, until there are none.
func (w *world) pair() (*item, *account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var stable []*item
	for _, i := range w.items {
		if i.stable && !slices.ContainsFunc(w.keys, func(k *key) bool { return k.content == i.id }) {
			stable = append(stable, i)
		}
	}
	at := w.next
	if at/raterCount >= len(stable) {
		return nil, nil
	}
	w.next++
	return stable[at/raterCount], w.raters[at%raterCount]
}

// changing returns a content that is edited and deleted; gone asks for one that is deleted.
func (w *world) changing(r *rand.Rand, gone bool) *item {
	return w.pick(r, func(i *item) bool { return !i.stable && i.deleted == gone })
}

func (w *world) pick(r *rand.Rand, want func(*item) bool) *item {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*item
	for _, i := range w.items {
		if want(i) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[r.IntN(len(found))]
}

// know remembers the greatest version that was seen of a content, and that it is deleted.
func (w *world) know(i *item, version int64, deleted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i.version = max(i.version, version)
	i.deleted = i.deleted || deleted
}

func (w *world) version(i *item) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return i.version
}

func (w *world) node(r *rand.Rand) *node { return w.stack.apis[r.IntN(len(w.stack.apis))] }

// keep remembers the task of an operation.
func (w *world) keep(o *operation, rater *account) {
	if o.Task == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks = append(w.tasks, givenTask{o.Task, rater})
}

// oldTask returns one of the latest tasks.
func (w *world) oldTask(r *rand.Rand) (givenTask, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tasks) == 0 {
		return givenTask{}, false
	}
	return w.tasks[len(w.tasks)-1-r.IntN(min(len(w.tasks), 100))], true
}

// load runs all clients until the run has lasted for length.
func (w *world) load(seed uint64, length time.Duration) {
	var clients sync.WaitGroup
	number := uint64(0)
	start := func(n int, name string, step func(*client, *rand.Rand)) {
		for i := range n {
			number++
			c, r := newClient(fmt.Sprintf("%s%d", name, i+1), w.history), rand.New(rand.NewPCG(seed, 1000+number))
			clients.Go(func() {
				for w.history.now() < length {
					step(c, r)
				}
			})
		}
	}
	start(5, "rater", w.rateOnce)
	start(4, "rival", w.contest)
	start(2, "editor", w.edit)
	start(3, "reader", w.read)
	start(2, "visitor", w.visit)
	clients.Wait()
}

// pause is the time a client thinks.
func pause(r *rand.Rand, most time.Duration) { time.Sleep(time.Duration(r.Int64N(int64(most)))) }
