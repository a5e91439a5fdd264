package khodnevis

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// Metrics returns a handler that prints Stats in the text format of Prometheus:
//
//	khodnevis_queue_messages         Backlog.Messages; left out if the queue does not know it
//	khodnevis_queue_oldest_seconds   Backlog.Oldest; left out if the queue does not know it
//	khodnevis_requests_in_hand       InFlight
//	khodnevis_waits                  Waiting
//	khodnevis_answers_total          Responses, by class: 2xx, 3xx, 4xx, 5xx
//	khodnevis_rejected_total         DeadLetters, by reason
//	khodnevis_down                   OpenBreakers, by dependency: 1 while the breaker is open, 0 otherwise
//	khodnevis_failing_since_seconds  FailingSince, by dependency: in Unix time, 0 while writes succeed
//
// The handler checks no credentials: mount it where only those can reach it who may read it.
func (a *App) Metrics() http.Handler {
	return readOnly(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeText(w, http.StatusOK, exposition(a.stats(r.Context())))
	})
}

// exposition returns s in the Prometheus text format, version 0.0.4.
func exposition(s Stats) []byte {
	var b bytes.Buffer
	metric := func(name, kind, help string, samples ...string) {
		if len(samples) == 0 {
			return
		}
		fmt.Fprintf(&b, "# HELP khodnevis_%s %s\n# TYPE khodnevis_%s %s\n", name, help, name, kind)
		for _, sample := range samples {
			fmt.Fprintf(&b, "khodnevis_%s%s\n", name, sample)
		}
	}
	if s.Backlog.Messages >= 0 {
		metric("queue_messages", "gauge", "Ratings that are accepted and not stored yet.",
			fmt.Sprintf(" %d", s.Backlog.Messages))
	}
	if s.Backlog.Oldest >= 0 {
		metric("queue_oldest_seconds", "gauge", "For how long the oldest of them has waited.",
			" "+strconv.FormatFloat(s.Backlog.Oldest.Seconds(), 'f', -1, 64))
	}
	metric("requests_in_hand", "gauge", "Requests in flight.", fmt.Sprintf(" %d", s.InFlight))
	metric("waits", "gauge", "Requests that wait for a rating to be stored.", fmt.Sprintf(" %d", s.Waiting))
	metric("answers_total", "counter", "Responses since the process began.",
		samples(s.Responses, `{class="%dxx"} %d`)...)
	metric("rejected_total", "counter", "Accepted messages that became dead letters.", samples(s.DeadLetters,
		`{reason=%q} %d`)...)
	down := map[string]int{}
	for name, open := range s.OpenBreakers {
		down[name] = 0
		if open {
			down[name] = 1
		}
	}
	metric("down", "gauge", "Whether the circuit breaker of a dependency is open.",
		samples(down, `{dependency=%q} %d`)...)
	since := map[string]int64{}
	for name, at := range s.FailingSince {
		since[name] = 0
		if !at.IsZero() {
			since[name] = at.Unix()
		}
	}
	metric("failing_since_seconds", "gauge", "Since when writing to a dependency fails, in Unix time; 0 if it succeeds.",
		samples(since, `{dependency=%q} %d`)...)
	return b.Bytes()
}

// samples formats each key and value of m, in the order of the keys.
func samples[K int | string, V int | int64](m map[K]V, format string) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf(format, key, m[key]))
	}
	return all
}
