package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const shownFaults = 10

// fault is something that is not as the contract, or what was accepted, says.
type fault struct {
	kind, what, expected, got string
}

// report is the outcome of a run or check. Its methods may be called concurrently, but for print.
type report struct {
	mu                   sync.Mutex
	users, films         int
	sent, retried        int // attempts to submit a rating; those past the first of theirs
	accepted, superseded int // 202s; those that a later 202 of the same user and film replaced
	leftOut              int // changes not sent, as an attempt without an answer went before
	stored, lost         int64
	latencies            []time.Duration // of the 202s

	begun, last202, tasksDone, counted time.Time // zero: it did not come to that

	kinds  map[string]int // faults by kind
	faults []fault        // the first ones
}

// submitted counts a submission, which got a definite answer or was given up.
func (r *report) submitted(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent += a.attempts
	r.retried += max(a.attempts-1, 0)
	if a.status == http.StatusAccepted {
		r.latencies = append(r.latencies, a.latency)
		r.last202 = time.Now()
	}
}

func (r *report) leaveOut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leftOut++
}

func (r *report) fault(f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kinds == nil {
		r.kinds = map[string]int{}
	}
	r.kinds[f.kind]++
	if len(r.faults) < shownFaults {
		r.faults = append(r.faults, f)
	}
}

func (r *report) wrong() int {
	n := 0
	for _, k := range r.kinds {
		n += k
	}
	return n
}

func (r *report) countJournal(j *journal) {
	r.users, r.films = len(j.users), len(j.contents)
	r.accepted, r.superseded = j.accepted, j.accepted-j.kept()
}

// print writes the summary: what was sent unless nothing was, what was found unless it did not come
// to that.
func (r *report) print(w io.Writer) {
	line := func(name, value string) { fmt.Fprintf(w, "%-30s %14s\n", name, value) }
	count := func(name string, n int) { line(name, thousands(int64(n))) }
	count("users", r.users)
	count("films", r.films)
	if r.sent > 0 {
		count("ratings sent", r.sent)
		count("retried", r.retried)
		count("refused", r.kinds["refused"])
		count("changes left out", r.leftOut)
	}
	count("accepted", r.accepted)
	count("superseded by a later one", r.superseded)
	if !r.counted.IsZero() {
		count("stored", int(r.stored))
		count("lost", int(r.lost))
		count("films gone", r.kinds["gone"])
		count("wrong averages", r.kinds["average"])
		count("wrong counts", r.kinds["count"])
		count("wrong histograms", r.kinds["histogram"])
		count("tasks without success", r.kinds["task"])
	}
	if n := len(r.latencies); n > 0 {
		slices.Sort(r.latencies)
		count("accepted a second", int(float64(n)/max(r.last202.Sub(r.begun).Seconds(), 1e-3)))
		for _, p := range []int{50, 95, 99} {
			line(fmt.Sprintf("latency of the 202, p%d", p), ms(percentile(r.latencies, p)))
		}
		if !r.counted.IsZero() {
			line("last 202 to last task done", ms(r.tasksDone.Sub(r.last202)))
			line("last 202 to last one counted", ms(r.counted.Sub(r.last202)))
		}
	}
	for _, f := range r.faults {
		fmt.Fprintf(w, "WRONG %s: %s\n  expected %s\n  got      %s\n", f.kind, f.what, f.expected, f.got)
	}
	if more := r.wrong() - len(r.faults); more > 0 {
		fmt.Fprintf(w, "and %s more\n", thousands(int64(more)))
	}
}

// percentile is the nearest-rank percentile of sorted, which is not empty.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)*p+99)/100-1]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
