//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// rateContent sends a rating. The content and the rater are its key.
func (w *world) rateContent(
	c *client,
	n *node,
	content string,
	rater *account,
	score int,
	method string,
	header map[string]string,
) *operation {
	r := request{
		method: method,
		path:   "/contents/" + content + "/rating/",
		token:  rater.token,
		body:   map[string]any{"score": score},
		header: header,
	}
	if method == http.MethodPost {
		r.path, r.body = "/ratings/", map[string]any{"content": content, "score": score}
	}
	o := &operation{Kind: rate, Content: content, User: rater.name, Score: score}
	return w.noteTask(c.do(n, o, r, readRatingBody), rater)
}

// noteTask moves the task that a receipt names into the operation.
func (w *world) noteTask(o *operation, rater *account) *operation {
	if o.Status == http.StatusAccepted {
		o.Task = o.Got.ID
		w.keep(o, rater)
	}
	return o
}

func (w *world) readOwn(c *client, n *node, content string, rater *account) *operation {
	return c.do(n, &operation{Kind: readRating, Content: content, User: rater.name},
		request{method: http.MethodGet, path: "/contents/" + content + "/rating/", token: rater.token}, readRatingBody)
}

func (w *world) readTask(c *client, n *node, t givenTask) *operation {
	return c.do(
		n,
		&operation{Kind: readTask, Task: t.id, User: t.rater.name},
		request{method: http.MethodGet, path: "/tasks/" + t.id + "/", token: t.rater.token},
		readTaskBody,
	)
}

// rateOnce rates what nobody has rated: each 202 must become a row. Then it reads it, or its task.
func (w *world) rateOnce(c *client, r *rand.Rand) {
	i, rater := w.pair()
	n := w.node(r)
	if i == nil { // more contents are wanted
		w.create(c, n, w.authors[r.IntN(authorCount)], true)
		return
	}
	var header map[string]string
	if r.IntN(8) == 0 {
		header = map[string]string{"Prefer": "wait=2"}
	}
	o := w.rateContent(c, n, i.id, rater, 1+r.IntN(5), http.MethodPost, header)
	switch r.IntN(6) {
	case 0:
		w.readOwn(c, n, i.id, rater)
	case 1:
		if o.Task != "" {
			w.readTask(c, w.node(r), givenTask{o.Task, rater})
		}
	case 2:
		if gone := w.changing(r, false); gone != nil { // one that may be deleted before the rating is stored
			w.rateContent(c, n, gone.id, rater, 1+r.IntN(5), http.MethodPost, nil)
		}
	}
	pause(r, 60*time.Millisecond)
}

// contest writes and reads a rating that others write at the same time.
func (w *world) contest(c *client, r *rand.Rand) {
	k := w.keys[r.IntN(len(w.keys))]
	n := k.node
	if n == nil {
		n = w.node(r)
	}
	switch p := r.IntN(100); {
	case p < 45:
		w.rateContent(c, n, k.content, k.rater, 1+r.IntN(5), http.MethodPost, nil)
	case p < 52:
		w.rateContent(c, n, k.content, k.rater, 1+r.IntN(5), http.MethodPut, nil)
	case p < 60:
		o := &operation{Kind: withdraw, Content: k.content, User: k.rater.name}
		w.noteTask(
			c.do(n, o, request{method: http.MethodDelete, path: "/contents/" + k.content + "/rating/", token: k.rater.token,
				header: map[string]string{"Prefer": "respond-async"}}, readRatingBody),
			k.rater,
		)
	default:
		w.readOwn(c, n, k.content, k.rater)
	}
	pause(r, 50*time.Millisecond)
}

// edit changes a content, mostly on condition that it is as it was last seen, and now and then
// deletes it.
func (w *world) edit(c *client, r *rand.Rand) {
	defer pause(r, 80*time.Millisecond)
	n, i := w.node(r), w.changing(r, false)
	p := r.IntN(100)
	if i == nil || p < 5 {
		w.create(c, n, w.authors[r.IntN(authorCount)], p%2 == 0)
		return
	}
	if p < 30 {
		w.readContent(c, n, i)
		return
	}
	o := &operation{Kind: editContent, Content: i.id, User: i.author.name}
	q := request{
		method: http.MethodPatch,
		path:   "/contents/" + i.id + "/",
		token:  i.author.token,
		header: map[string]string{},
	}
	if p < 92 {
		o.IfMatch = w.version(i)
		q.header["If-Match"] = `"c` + strconv.FormatInt(o.IfMatch, 10) + `.s0"`
	}
	if p > 97 {
		o.Kind, o.IfMatch, q.method = deleteContent, 0, http.MethodDelete
		delete(q.header, "If-Match")
		c.do(n, o, q, nil)
		w.know(i, 0, o.fate() != refused || o.Status == http.StatusNotFound)
		return
	}
	o.Title = fmt.Sprintf("%s at %d", c.name, time.Since(w.history.began))
	q.body = map[string]string{"title": o.Title}
	if c.do(n, o, q, readContentBody); o.fate() == done {
		w.know(i, o.Got.Version, false)
	}
}

func (w *world) readContent(c *client, n *node, i *item) {
	o := c.do(
		n,
		&operation{Kind: readContent, Content: i.id},
		request{method: http.MethodGet, path: "/contents/" + i.id + "/"},
		readContentBody,
	)
	if o.fate() == done && !o.Stale {
		w.know(i, o.Got.Version, false)
	}
	w.know(i, 0, o.Status == http.StatusNotFound)
}

func (w *world) readStats(c *client, n *node, content string) *operation {
	return c.do(
		n,
		&operation{Kind: readStats, Content: content},
		request{method: http.MethodGet, path: "/contents/" + content + "/stats/"},
		readStatsBody,
	)
}

// read is everybody else: contents, statistics, lists and tasks.
func (w *world) read(c *client, r *rand.Rand) {
	n := w.node(r)
	switch r.IntN(8) {
	case 0, 1:
		if i := w.changing(r, false); i != nil {
			w.readContent(c, n, i)
		}
	case 2:
		if i := w.pick(r, func(i *item) bool { return i.stable }); i != nil {
			w.readStats(c, n, i.id)
		}
	case 3:
		if i := w.changing(r, true); i != nil { // the statistics of what is deleted are gone
			w.readStats(c, n, i.id)
			w.readContent(c, n, i)
		}
	case 4:
		var next string
		c.do(
			n,
			&operation{Kind: listContents},
			request{method: http.MethodGet, path: "/contents/?page_size=100"},
			readPage(&next),
		)
	case 5:
		if i := w.pick(r, func(i *item) bool { return i.stable }); i != nil {
			var next string
			c.do(
				n,
				&operation{Kind: listRatings, Content: i.id},
				request{method: http.MethodGet, path: "/ratings/?page_size=100&content=" + i.id},
				readPage(&next),
			)
		}
	default:
		if t, ok := w.oldTask(r); ok {
			w.readTask(c, n, t)
		}
	}
	pause(r, 60*time.Millisecond)
}
