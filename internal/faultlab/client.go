//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// clientTimeout is how long a client waits before it gives up and does not know what became of its
// request.
const clientTimeout = 8 * time.Second

// retryPause is how long a client leaves a node alone that could not serve it.
const retryPause = 100 * time.Millisecond

// client is one connection to each node, and records what it does.
type client struct {
	name    string
	history *history
	http    *http.Client
}

func newClient(name string, h *history) *client {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 1, DisableCompression: true,
	}
	return &client{name: name, history: h, http: &http.Client{Transport: transport, Timeout: clientTimeout}}
}

// request is what an operation sends.
type request struct {
	method, path string
	token        string
	body         any
	header       map[string]string
}

// problem is the part of an error that is looked at.
type problem struct {
	Code    string `json:"code"`
	Outcome string `json:"outcome"`
	Errors  []struct {
		Code string `json:"code"`
	} `json:"errors"`
}

// do sends a request to a node and records it. read takes what it needs from the body of a 2xx.
func (c *client) do(n *node, o *operation, r request, read func(body []byte, got *seen) error) *operation {
	o.Client, o.Node = c.name, n.name
	c.history.begin(o)
	status, header, body, err := c.send(n, r)
	c.history.end(o, func() {
		var dial *net.OpError
		if err != nil {
			o.Error, o.Unsent = err.Error(), errors.As(err, &dial) && dial.Op == "dial"
			return
		}
		o.Status = status
		o.RetryAfter = header.Get("Retry-After") != ""
		if age := header.Get("Age"); age != "" {
			whole, _ := strconv.Atoi(age)
			o.Stale, o.Age = true, time.Duration(whole)*time.Second
		}
		if status >= 300 {
			var p problem
			if json.Unmarshal(body, &p) == nil {
				o.Code, o.Outcome = p.Code, p.Outcome
				if len(p.Errors) > 0 {
					o.Code += "/" + p.Errors[0].Code
				}
			}
			return
		}
		o.Got = &seen{}
		readTag(header.Get("ETag"), o.Got)
		if read == nil || len(body) == 0 {
			return
		}
		if err := read(body, o.Got); err != nil {
			o.Error = fmt.Sprintf("unreadable: %v: %.200s", err, body)
		}
	})
	if o.Unsent || status == http.StatusServiceUnavailable {
		time.Sleep(retryPause)
	}
	return o
}

func (c *client) send(n *node, r request) (status int, header http.Header, body []byte, err error) {
	var payload []byte
	if r.body != nil {
		if payload, err = json.Marshal(r.body); err != nil {
			return 0, nil, nil, err
		}
	}
	req, err := http.NewRequestWithContext(context.Background(), r.method, n.url("/api"+r.path), bytes.NewReader(payload))
	if err != nil {
		return 0, nil, nil, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	response, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header, body, err
}

// readTag reads the ETag of a content, "c<version>.s<revision>".
func readTag(tag string, got *seen) {
	version, revision, ok := strings.Cut(strings.Trim(tag, `"`), ".")
	v, err1 := strconv.ParseInt(strings.TrimPrefix(version, "c"), 10, 64)
	r, err2 := strconv.ParseInt(strings.TrimPrefix(revision, "s"), 10, 64)
	if ok && err1 == nil && err2 == nil {
		got.Version, got.Revision = v, r
	}
}

// readContentBody reads a content.
func readContentBody(body []byte, got *seen) error {
	var c struct {
		ID      string   `json:"id"`
		Title   string   `json:"title"`
		Version int64    `json:"version"`
		Count   int64    `json:"ratings_count"`
		Average *float64 `json:"average_score"`
	}
	err := json.Unmarshal(body, &c)
	got.ID, got.Title, got.Stats = c.ID, c.Title, &stats{Count: c.Count, Average: c.Average}
	if err == nil && got.Version != c.Version {
		err = fmt.Errorf("the version is %d, in the ETag %d", c.Version, got.Version)
	}
	return err
}

// readRatingBody reads a rating, or the receipt of one.
func readRatingBody(body []byte, got *seen) error {
	var r struct {
		Task   string `json:"task"`
		State  string `json:"state"`
		Score  int    `json:"score"`
		Rating struct {
			Score int `json:"score"`
		} `json:"rating"`
	}
	err := json.Unmarshal(body, &r)
	got.ID, got.State, got.Score = r.Task, r.State, r.Score+r.Rating.Score
	return err
}

func readStatsBody(body []byte, got *seen) error {
	got.Stats = &stats{}
	return json.Unmarshal(body, got.Stats)
}

func readTaskBody(body []byte, got *seen) error {
	var t struct {
		State  string `json:"state"`
		Result struct {
			Outcome string `json:"outcome"`
		} `json:"result"`
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	err := json.Unmarshal(body, &t)
	got.State, got.Result, got.Reason = t.State, t.Result.Outcome, t.Error.Code
	return err
}

// readPage returns a reader of one page of a list, and where it puts the path of the next.
func readPage(next *string) func([]byte, *seen) error {
	return func(body []byte, got *seen) error {
		var page struct {
			Next    *string           `json:"next"`
			Results []json.RawMessage `json:"results"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return err
		}
		*next = ""
		if page.Next != nil {
			*next = strings.TrimPrefix(*page.Next, "/api")
		}
		got.Whole = page.Next == nil
		for _, raw := range page.Results {
			var r listedRating
			var c listedContent
			if err := errors.Join(json.Unmarshal(raw, &c), unmarshalRating(raw, &r)); err != nil {
				return err
			}
			if r.Rater != "" {
				got.Ratings = append(got.Ratings, r)
			} else {
				got.Contents = append(got.Contents, c)
			}
		}
		return nil
	}
}

// unmarshalRating reads raw if it is a rating; the score of a content is no integer.
func unmarshalRating(raw []byte, r *listedRating) error {
	var about struct {
		Rater string `json:"rater"`
	}
	if err := json.Unmarshal(raw, &about); err != nil || about.Rater == "" {
		return err
	}
	return json.Unmarshal(raw, r)
}
