package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/internal/backoff"
)

const (
	meanTolerance = 1e-9
	pollPause     = 100 * time.Millisecond // between two looks at the same thing
)

// checkOnly compares a server with the journal of earlier runs.
func checkOnly(ctx context.Context, cfg config, c *client, show *progress) (*report, error) {
	j, err := readJournal(cfg.state)
	if err != nil {
		return nil, err
	}
	if len(j.open) > 0 {
		fmt.Fprintf(show.out, "replay: %d runs of the journal were cut short: ratings in flight then have no line in it "+
			"and count as wrong if they were stored\n", len(j.open))
	}
	rep := &report{}
	rep.countJournal(j)
	return rep, checkServer(ctx, cfg, c, show, j, rep, nil)
}

// task is the task of an accepted rating; only its rater may read it.
type task struct {
	id string
	by *user
}

// checker compares a server with what it accepted.
type checker struct {
	c       *client
	j       *journal
	show    *progress
	clients int
	tasks   []task
}

// checkServer waits until the tasks are done and every film counts what it must, then compares all
// statistics of every film, and reports what stays wrong.
func checkServer(
	ctx context.Context, cfg config, c *client, show *progress, j *journal, rep *report, tasks []task,
) error {
	tasks = slices.DeleteFunc(tasks, func(t task) bool { return t.id == "" }) // lanes of which nothing was accepted
	k := &checker{c: c, j: j, show: show, clients: cfg.clients, tasks: tasks}
	films, kept := len(j.contents), j.kept()

	states, err := k.settle(ctx, "tasks", len(tasks), len(tasks), cfg.timeout, k.lookAtTask)
	if err != nil {
		return err
	}
	rep.tasksDone = time.Now()
	// A server that works off a long queue is not wrong: it may take as long as it likes while the
	// counts move.
	counts, err := k.settle(ctx, "counted", films, kept, cfg.timeout, k.lookAtCount)
	if err != nil {
		return err
	}
	rep.counted = time.Now()
	timeout := cfg.timeout
	if slices.ContainsFunc(counts, wrong) {
		timeout = 0 // it has been waited out already
	}
	found, err := k.settle(ctx, "checked", films, kept, timeout, k.lookAtAll)
	if err != nil {
		return err
	}
	for i, l := range found {
		rep.stored += l.count
		rep.lost += max(0, j.expected(j.contents[i]).count-l.count)
	}
	if slices.ContainsFunc(states, wrong) { // perhaps only because the queue was long
		if states, err = k.settle(ctx, "tasks", len(tasks), len(tasks), timeout, k.lookAtTask); err != nil {
			return err
		}
	}
	for _, l := range slices.Concat(found, states) {
		for _, f := range l.faults {
			rep.fault(f)
		}
	}
	return nil
}

// look is what one look at a thing found.
type look struct {
	count  int64 // of what progress shows: ratings counted, tasks done
	faults []fault
}

func wrong(l look) bool { return len(l.faults) > 0 }

// settle looks at n things, and again at those that are not right, until all are or nothing has
// moved for timeout. It returns the last look at each.
func (k *checker) settle(ctx context.Context, name string, n, total int, timeout time.Duration,
	see func(ctx context.Context, i int) (look, error)) ([]look, error) {
	if n == 0 {
		return nil, nil
	}
	ph := k.show.phase(name, total)
	defer ph.end()
	looks := make([]look, n)
	pending := make([]int, n)
	for i := range pending {
		pending[i] = i
	}
	moved := time.Now()
	for {
		var changed atomic.Bool
		err := each(ctx, k.clients, len(pending), func(ctx context.Context, p int) error {
			i := pending[p]
			l, err := see(ctx, i)
			if l.count != looks[i].count || !wrong(l) {
				changed.Store(true)
			}
			ph.done.Add(l.count - looks[i].count)
			looks[i] = l
			return err
		})
		if err != nil {
			return nil, err
		}
		pending = slices.DeleteFunc(pending, func(i int) bool { return !wrong(looks[i]) })
		if changed.Load() {
			moved = time.Now()
		}
		if len(pending) == 0 || time.Since(moved) >= timeout {
			return looks, nil
		}
		if err := backoff.Sleep(ctx, pollPause); err != nil {
			return nil, err
		}
	}
}

// lookAtTask finds any other state than SUCCESS wrong: nothing that was accepted here may be
// refused later.
func (k *checker) lookAtTask(ctx context.Context, i int) (look, error) {
	t := k.tasks[i]
	a, err := k.c.do(ctx, request{method: http.MethodGet, path: "tasks/" + url.PathEscape(t.id) + "/", by: t.by})
	if err != nil {
		return look{}, err
	}
	var got struct{ State string }
	if a.status == http.StatusOK {
		if err := a.decode(&got); err != nil {
			return look{}, err
		}
	}
	if got.State != "SUCCESS" {
		return look{faults: []fault{{"task", t.id, "SUCCESS", a.problem()}}}, nil
	}
	return look{count: 1}, nil
}

type statistics struct {
	Count     int64            `json:"ratings_count"`
	Average   *float64         `json:"average_score"`
	Sum       int64            `json:"sum"`
	Histogram map[string]int64 `json:"histogram"`
}

func (k *checker) lookAtCount(ctx context.Context, i int) (look, error) {
	shown, f, err := k.read(ctx, i, "")
	if err != nil || f != nil {
		return look{faults: f}, err
	}
	return look{shown.Count, k.compareCount(i, shown)}, nil
}

// lookAtAll compares everything that the server says of a film's ratings, a fault of each kind at
// most.
func (k *checker) lookAtAll(ctx context.Context, i int) (look, error) {
	shown, f, err := k.read(ctx, i, "")
	if err != nil || f != nil {
		return look{faults: f}, err
	}
	stats, f, err := k.read(ctx, i, "stats/")
	if err != nil || f != nil {
		return look{shown.Count, f}, err
	}
	want := k.j.expected(k.j.contents[i])
	l := look{count: shown.Count}
	if l.faults = k.compareCount(i, shown); l.faults == nil {
		l.faults = k.compareCount(i, stats)
	}
	for _, got := range []*float64{shown.Average, stats.Average} {
		if !sameMean(got, want.mean()) {
			l.faults = append(l.faults, k.fault("average", i, showMean(want.mean()), showMean(got)))
			break
		}
	}
	if stats.Sum != want.sum || !want.histogramIs(stats.Histogram) {
		l.faults = append(l.faults, k.fault("histogram", i,
			fmt.Sprintf("%v, sum %d", want.histogram[minScore:], want.sum),
			fmt.Sprintf("%v, sum %d", stats.Histogram, stats.Sum)))
	}
	return l, nil
}

// read reads a film, or what lies below it. That it is not there is a fault, not an error.
func (k *checker) read(ctx context.Context, i int, below string) (got statistics, gone []fault, err error) {
	path := "contents/" + url.PathEscape(k.j.contents[i]) + "/" + below
	a, err := k.c.do(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return got, nil, err
	}
	if a.status != http.StatusOK {
		return got, []fault{k.fault("gone", i, "200 for "+path, a.problem())}, nil
	}
	return got, nil, a.decode(&got)
}

func (k *checker) compareCount(i int, got statistics) []fault {
	if want := k.j.expected(k.j.contents[i]).count; got.Count != want {
		return []fault{k.fault("count", i, want, got.Count)}
	}
	return nil
}

func (k *checker) fault(kind string, i int, expected, got any) fault {
	id := k.j.contents[i]
	return fault{kind, fmt.Sprintf("%s (%s)", k.j.titles[id], id), fmt.Sprint(expected), fmt.Sprint(got)}
}

// mean is nil without ratings.
func (t tally) mean() *float64 {
	if t.count == 0 {
		return nil
	}
	m := float64(t.sum) / float64(t.count)
	return &m
}

// histogramIs takes a score that is left out as 0.
func (t tally) histogramIs(got map[string]int64) bool {
	var sum int64
	for _, n := range got {
		sum += n
	}
	for score := minScore; score <= maxScore; score++ {
		if got[strconv.Itoa(score)] != t.histogram[score] {
			return false
		}
	}
	return sum == t.count
}

func sameMean(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return math.Abs(*a-*b) <= meanTolerance
}

func showMean(m *float64) string {
	if m == nil {
		return "null"
	}
	return strconv.FormatFloat(*m, 'f', -1, 64)
}
