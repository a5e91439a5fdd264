package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// responseCounts counts responses by the first digit of their status.
type responseCounts [6]atomic.Int64

func (a *responseCounts) count(status int) {
	if class := status / 100; class > 0 && class < len(a) {
		a[class].Add(1)
	}
}

// scrapeTimeout is how long the queue may take to say what waits.
const scrapeTimeout = time.Second

// Metrics returns a handler that tells a Prometheus server, in its text format, how this process
// fares:
//
//	khodnevis_queue_messages         accepted and not stored yet, by whichever process
//	khodnevis_queue_oldest_seconds   for how long the oldest of them has waited
//	khodnevis_requests_in_hand       requests that are answered right now
//	khodnevis_waits                  those of them that wait for a rating to be stored
//	khodnevis_answers_total          answers since the process began, by class: 2xx, 3xx, 4xx, 5xx
//	khodnevis_rejected_total         accepted messages that this process's workers could not store and recorded as rejected, by reason:
//	                                 malformed, invalid_score, does_not_exist, unstorable
//	khodnevis_down                   1 while a dependency does not answer and is hardly asked, 0 otherwise: store, cache, if they can tell
//
// What a queue cannot tell, or not within a second, is left out. Whoever may reach the handler may
// read it: mount it where only those can who shall. It is not part of the API.
func (a *API) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := a.begin(w, r)
		if !c.onlyRead() {
			c.write(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", a.exposition(r.Context()))
		}
	})
}

// exposition is the Prometheus text format, version 0.0.4.
func (a *API) exposition(ctx context.Context) []byte {
	var b bytes.Buffer
	metric := func(name, kind, help string, samples ...string) {
		if len(samples) == 0 {
			return
		}
		fmt.Fprintf(&b, "# HELP khodnevis_%s %s\n# TYPE khodnevis_%s %s\n", name, help, name, kind)
		for _, s := range samples {
			fmt.Fprintf(&b, "khodnevis_%s%s\n", name, s)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	backlog, err := a.cfg.Ratings.Backlog(ctx)
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "httpapi: the queue does not say what waits", "error", err)
	}
	if backlog.Messages >= 0 {
		metric("queue_messages", "gauge", "Ratings that are accepted and not stored yet.", fmt.Sprintf(" %d", backlog.Messages))
	}
	if backlog.Oldest >= 0 {
		metric("queue_oldest_seconds", "gauge", "For how long the oldest of them has waited.", " "+strconv.FormatFloat(backlog.Oldest.Seconds(), 'f', -1, 64))
	}
	metric("requests_in_hand", "gauge", "Requests that are answered right now.",
		fmt.Sprintf(" %d", a.admission.inFlight.Held()))
	metric("waits", "gauge", "Requests that wait for a rating to be stored.", fmt.Sprintf(" %d", a.cfg.Ratings.Waiting()))
	var classes []string
	for class := 2; class < len(a.responses); class++ {
		classes = append(classes, fmt.Sprintf("{class=\"%dxx\"} %d", class, a.responses[class].Load()))
	}
	metric("answers_total", "counter", "Answers since the process began.", classes...)
	metric("rejected_total", "counter", "Accepted messages that could not be stored.", a.rejections()...)
	var downs []string
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Down)) {
		down := 0
		if a.cfg.Down[name]() {
			down = 1
		}
		downs = append(downs, fmt.Sprintf("{dependency=%q} %d", name, down))
	}
	metric("down", "gauge", "Whether a dependency does not answer and is hardly asked.", downs...)
	return b.Bytes()
}

// rejections are the samples of what the workers have rejected.
func (a *API) rejections() []string {
	sums := map[string]int64{}
	for _, w := range a.cfg.Workers {
		for reason, n := range w.DeadLetterCounts() {
			sums[reason] += n
		}
	}
	var samples []string
	for _, reason := range slices.Sorted(maps.Keys(sums)) {
		samples = append(samples, fmt.Sprintf("{reason=%q} %d", reason, sums[reason]))
	}
	return samples
}
