package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/backoff"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// campaignFiles are counts of ratings from real campaigns; see the README beside them.
//
//go:embed testdata/campaigns/*.csv
var campaignFiles embed.FS

// realCase is a real campaign: the ratings of a content until the end of the campaign.
type realCase struct {
	name, file  string
	scale       score.Scale
	first, last int // buckets of the campaign
	// honest is what the mean would be without the campaign, an estimate. expected is the published
	// score that the evidence for the rule names.
	honest, expected float64
}

// outcome is what was published at the end of a case.
type outcome struct {
	ratings        int64
	plain, counted float64
}

// campaignsCommand replays real campaigns through service, queue, worker and store, in this process,
// with a clock that it moves.
func campaignsCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("replay campaigns", flag.ContinueOnError)
	fs.SetOutput(stderr)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil || fs.NArg() > 0 {
		fmt.Fprintf(stderr, "replay: campaigns takes no arguments, not %q\n", fs.Args())
		return exitUsage
	}
	cases, err := realCases()
	if err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return exitWrong
	}
	fmt.Fprintf(stdout, "%-24s %9s %9s %9s %9s %9s\n", "case", "ratings", "honest", "plain", "published", "expected")
	for _, c := range cases {
		got, err := c.run(ctx)
		if err != nil {
			fmt.Fprintf(stderr, "replay: %s: %v\n", c.name, err)
			return exitWrong
		}
		fmt.Fprintf(stdout, "%-24s %9d %9.4f %9.4f %9.4f %9.4f\n", c.name, got.ratings, c.honest, got.plain, got.counted,
			c.expected)
	}
	return exitOK
}

// realCases returns the cases of cases.csv.
func realCases() ([]realCase, error) {
	rows, err := readCSV("cases.csv")
	if err != nil {
		return nil, err
	}
	cases := make([]realCase, len(rows))
	for i, r := range rows {
		cases[i] = realCase{
			name: r["case"], file: r["file"], scale: score.Scale{Min: r.integer("min"), Max: r.integer("max")},
			first: r.integer("first_bucket"), last: r.integer("last_bucket"),
			honest: r.number("honest_target"), expected: r.number("seconded_after"),
		}
	}
	return cases, nil
}

// csvRow is a row by the names of its columns.
type csvRow map[string]string

func (r csvRow) integer(column string) int {
	n, err := strconv.Atoi(r[column])
	if err != nil {
		panic(err) // the files are part of the program
	}
	return n
}

func (r csvRow) number(column string) float64 {
	v, err := strconv.ParseFloat(r[column], 64)
	if err != nil {
		panic(err)
	}
	return v
}

func readCSV(name string) ([]csvRow, error) {
	file, err := campaignFiles.Open("testdata/campaigns/" + name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it is in memory
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	rows := make([]csvRow, len(lines)-1)
	for i, line := range lines[1:] {
		rows[i] = csvRow{}
		for j, column := range lines[0] {
			rows[i][column] = line[j]
		}
	}
	return rows, nil
}

// counts returns the ratings of a case by day and score, until the end of the campaign.
func (c realCase) counts() (map[int]map[int]int, error) {
	rows, err := readCSV(c.file)
	if err != nil {
		return nil, err
	}
	days := map[int]map[int]int{}
	add := func(day, value, n int) {
		if days[day] == nil {
			days[day] = map[int]int{}
		}
		days[day][value] += n
	}
	var weeks []week
	for _, r := range rows {
		day := r.integer("bucket")
		if day > c.last {
			break
		}
		if counts, daily := r["counts"]; daily {
			for part := range strings.FieldsSeq(counts) {
				value, n, _ := strings.Cut(part, ":")
				p := csvRow{"value": value, "n": n}
				add(day, p.integer("value"), p.integer("n"))
			}
			continue
		}
		n, sum := r.integer("n"), r.integer("sum")
		up := (sum - n) / 4
		weeks = append(weeks, week{day: day, up: up, down: n - up})
	}
	for i, w := range weeks {
		calm := w
		if c.first <= w.day {
			calm = c.usual(weeks[:i]).atMost(w)
		}
		for day := range 7 {
			add(w.day+day, 5, evenly(calm.up, day)+eventful(w.up-calm.up, day))
			add(w.day+day, 1, evenly(calm.down, day)+eventful(w.down-calm.down, day))
		}
	}
	return days, nil
}

// week is a week of ratings up (5) and down (1).
type week struct{ day, up, down int }

func (w week) atMost(o week) week { return week{w.day, min(w.up, o.up), min(w.down, o.down)} }

// usual returns the median of the four weeks before the campaign.
func (c realCase) usual(weeks []week) week {
	before := slices.DeleteFunc(slices.Clone(weeks), func(w week) bool { return w.day >= c.first })
	before = before[max(0, len(before)-4):]
	median := func(of func(week) int) int {
		values := make([]int, len(before))
		for i, w := range before {
			values[i] = of(w)
		}
		slices.Sort(values)
		return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
	}
	return week{up: median(func(w week) int { return w.up }), down: median(func(w week) int { return w.down })}
}

// evenly returns the share of a day of a week in n ratings.
func evenly(n, day int) int { return n*(day+1)/7 - n*day/7 }

// shape is how the excess of a week is spread over its days, in percent.
var shape = [8]int{0, 17, 41, 59, 74, 81, 93, 100}

func eventful(n, day int) int { return n*shape[day+1]/100 - n*shape[day]/100 }

// anything are contents that all may be rated.
type anything struct{}

func (anything) Rateable(_ context.Context, ids []string) ([]string, error) { return ids, nil }

// run replays a case and returns what is published at its end.
func (c realCase) run(ctx context.Context) (o outcome, err error) {
	days, err := c.counts()
	if err != nil {
		return outcome{}, err
	}
	var ahead atomic.Int64
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	app, err := khodnevis.New(khodnevis.Config{Authenticator: bearers{}, RatedContents: anything{}, Scale: c.scale,
		Now: func() time.Time { return began.Add(time.Duration(ahead.Load())) }})
	if err != nil {
		return outcome{}, err
	}
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(working) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	// The rows number the days as if the history had started the day before: with a rating that was
	// withdrawn.
	starter := actor.Actor{User: "starter"}
	if err := submit(ctx, app, starter, c.scale.Max); err != nil {
		return outcome{}, err
	}
	if _, err := app.Ratings.Withdraw(ctx, starter, rating.Key{Content: "content", Rater: starter.User}); err != nil {
		return outcome{}, err
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		from, _ := score.BucketSpan(began, day)
		ahead.Store(int64(from.Sub(began)))
		for _, value := range slices.SortedFunc(maps.Keys(days[day]), cmp.Compare) {
			for range days[day][value] {
				o.ratings++
				if err := submit(ctx, app, actor.Actor{User: fmt.Sprint("rater", o.ratings)}, value); err != nil {
					return outcome{}, err
				}
			}
		}
	}
	for {
		stats, err := app.Ratings.StatsFromStore(ctx, []string{"content"})
		if err != nil {
			return outcome{}, err
		}
		if s := stats["content"]; s.Count == o.ratings {
			o.plain, _ = s.Average()
			o.counted = s.Score.Value
			return o, nil
		}
		if err := backoff.Sleep(ctx, pollPause); err != nil {
			return outcome{}, err
		}
	}
}

// submit sends a rating, again while too many wait to be stored.
func submit(ctx context.Context, app *khodnevis.App, rater actor.Actor, value int) error {
	for {
		_, err := app.Ratings.Submit(ctx, rater, rating.Submission{Content: "content", Score: value})
		if !errors.Is(err, rating.ErrUnavailable) {
			return err
		}
		if err := backoff.Sleep(ctx, pollPause); err != nil {
			return err
		}
	}
}
