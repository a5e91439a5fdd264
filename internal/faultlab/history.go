//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// kind is what an operation does.
type kind string

const (
	createContent kind = "create content"
	readContent   kind = "read content"
	editContent   kind = "edit content"
	deleteContent kind = "delete content"
	listContents  kind = "list contents"
	readStats     kind = "read stats"
	rate          kind = "rate"
	withdraw      kind = "withdraw"
	readRating    kind = "read own rating"
	listRatings   kind = "list ratings"
	readTask      kind = "read task"
	register      kind = "register"
	login         kind = "login"
	refresh       kind = "refresh"
	logout        kind = "logout"
	readMe        kind = "read me"
)

// operation is one request and what came of it. Times are since the beginning of the run.
type operation struct {
	ID      int           `json:"id"`
	Client  string        `json:"client"`
	Node    string        `json:"node"`
	Kind    kind          `json:"kind"`
	Content string        `json:"content,omitempty"`
	User    string        `json:"user,omitempty"` // who is signed in
	Title   string        `json:"title,omitempty"`
	Score   int           `json:"score,omitempty"`
	IfMatch int64         `json:"if_match,omitempty"` // 0: none was sent
	Task    string        `json:"task,omitempty"`     // asked for, or given with a 202
	Session string        `json:"session,omitempty"`
	Start   time.Duration `json:"start"`

	End        time.Duration `json:"end,omitempty"`
	Status     int           `json:"status,omitempty"` // 0: no answer
	Unsent     bool          `json:"unsent,omitempty"` // there was no connection to send it over
	Error      string        `json:"error,omitempty"`
	Code       string        `json:"code,omitempty"`    // of the problem
	Outcome    string        `json:"outcome,omitempty"` // of a rating that was not taken: not_accepted or unknown
	RetryAfter bool          `json:"retry_after,omitempty"`
	Stale      bool          `json:"stale,omitempty"` // the answer has an Age
	Age        time.Duration `json:"age,omitempty"`
	Got        *seen         `json:"got,omitempty"`
}

// seen is what an answer shows.
type seen struct {
	ID       string          `json:"id,omitempty"`
	Version  int64           `json:"version,omitempty"`
	Revision int64           `json:"revision,omitempty"` // of the stats
	Title    string          `json:"title,omitempty"`
	Score    int             `json:"score,omitempty"`
	State    string          `json:"state,omitempty"` // of a rating or a task
	Result   string          `json:"result,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Stats    *stats          `json:"stats,omitempty"`
	Contents []listedContent `json:"contents,omitempty"`
	Ratings  []listedRating  `json:"ratings,omitempty"`
	Whole    bool            `json:"whole,omitempty"` // the list has no further page
}

type stats struct {
	Count     int64            `json:"ratings_count"`
	Sum       int64            `json:"sum"`
	Average   *float64         `json:"average_score"`
	Histogram map[string]int64 `json:"histogram"`
}

type listedContent struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	Version int64     `json:"version"`
	Created time.Time `json:"created_at"`
}

type listedRating struct {
	Content string `json:"content"`
	Rater   string `json:"rater"`
	Score   int    `json:"score"`
}

// fate is what is known of the effect of an operation.
type fate int

const (
	done    fate = iota // it has taken effect, between its start and its end
	refused             // it has no effect, and never will
	unknown             // it may take effect once, at any time after its start
)

// fate follows SECURITY.md: a 4xx has no effect, nor has a rating that was not accepted; every
// other failure leaves it open.
func (o *operation) fate() fate {
	switch {
	case o.Status >= 200 && o.Status < 400:
		return done
	case o.Status >= 400 && o.Status < 500, o.Unsent, o.Outcome == "not_accepted":
		return refused
	}
	return unknown
}

// acknowledged reports whether the operation is a write that the client may rely on.
func (o *operation) acknowledged() bool {
	switch o.Kind {
	case createContent, editContent, deleteContent, rate, withdraw, register, logout:
		return o.fate() == done
	}
	return false
}

func (o *operation) String() string {
	text := fmt.Sprintf(
		"#%d %s %s %s@%s %.3f-%.3f s: %d",
		o.ID,
		o.Kind,
		o.Content,
		o.User,
		o.Node,
		o.Start.Seconds(),
		o.End.Seconds(),
		o.Status,
	)
	if o.Code != "" || o.Error != "" {
		text += " " + o.Code + o.Error
	}
	return text
}

// history is every operation, also in a file that is only appended to: a line when it begins, a
// line when it has ended.
type history struct {
	began time.Time
	mu    sync.Mutex
	file  *os.File
	ops   []*operation
	err   error
}

func newHistory(path string) (*history, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	return &history{began: time.Now(), file: file}, err
}

func (h *history) now() time.Duration { return time.Since(h.began) }

// begin records an operation before it is sent.
func (h *history) begin(o *operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.ID = len(h.ops) + 1
	h.ops = append(h.ops, o)
	o.Start = h.now()
	h.write("begin", o)
}

// end records what came of it. set fills it in.
func (h *history) end(o *operation, set func()) {
	end := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	set()
	o.End = end
	h.write("end", o)
}

func (h *history) write(phase string, o *operation) {
	line, err := json.Marshal(struct {
		Phase string `json:"phase"`
		*operation
	}{phase, o})
	if err == nil {
		_, err = h.file.Write(append(line, '\n'))
	}
	if h.err == nil {
		h.err = err
	}
}

// all returns the operations that have ended, in the order of their starts. What never ended has no
// answer and no end.
func (h *history) all() []*operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*operation(nil), h.ops...)
}
