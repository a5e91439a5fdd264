package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/backoff"
)

// attackCommand runs campaigns against servers of its own, whose clock it moves, and draws what
// became of the score.
func attackCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("replay attack", flag.ContinueOnError)
	fs.SetOutput(stderr)
	file := fs.String("svg", "attack.svg", "`FILE` to draw the plot into")
	seed := fs.Uint64("seed", 1, "seed of the order in which scores come")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil || fs.NArg() > 0 {
		fmt.Fprintf(stderr, "replay: attack takes -svg and -seed, not %q\n", fs.Args())
		return exitUsage
	}
	var lines []curve
	for _, c := range campaigns {
		line, err := c.run(ctx, *seed)
		if err != nil {
			fmt.Fprintf(stderr, "replay: %s: %v\n", c.title, err)
			return exitWrong
		}
		fmt.Fprintf(stdout, "%s: the score moved by %.2f at the most, the average by %.2f\n", c.title, line.moved(true),
			line.moved(false))
		lines = append(lines, line)
	}
	if err := os.WriteFile(*file, draw(lines), 0o644); err != nil { //nolint:gosec // a picture for everybody
		fmt.Fprintln(stderr, "replay:", err)
		return exitWrong
	}
	return exitOK
}

// crowd gives scores 1 to 5 by their shares in hundredths.
type crowd [5]int

var (
	honest  = crowd{8, 4, 8, 20, 60}    // J-shaped, as ratings are: mean 4.2
	changed = crowd{20, 15, 20, 35, 10} // of another mind: mean 3.0
	ones    = crowd{100}
)

// stretch is a time in which ratings come evenly.
type stretch struct {
	hours   int
	crowd   crowd
	ratings int // of crowd, in all of it
	ones    int // of an attack on top of them
}

// campaign is what happens to one content.
type campaign struct {
	title, note string
	days        bool // of the axis; otherwise hours
	shown       int  // the hour at which the plot begins
	phases      []stretch
}

var campaigns = []campaign{
	{title: "Ten times as many ones within 6 hours", note: "1,000 ratings, then 10,000 ones", days: true,
		shown:  20*24 + 12,
		phases: []stretch{{30*24 + 12, honest, 1000, 0}, {6, honest, 8, 10_000}, {10 * 24, honest, 330, 0}}},
	{title: "Ten times as many ones over 3 days", note: "1,000 ratings, then 10,000 ones", days: true, shown: 20*24 + 12,
		phases: []stretch{{30*24 + 12, honest, 1000, 0}, {72, honest, 100, 10_000}, {10 * 24, honest, 330, 0}}},
	{title: "A content of six hours", note: "300 ratings, then 3,000 ones within 6 hours",
		phases: []stretch{{6, honest, 300, 0}, {6, honest, 78, 3000}, {24, honest, 312, 0}}},
	{title: "What it does not stop: the first days", note: "300 ratings in 6 hours, then 3,000 ones over 3 days",
		days:   true,
		phases: []stretch{{6, honest, 300, 0}, {72, honest, 900, 3000}, {9 * 24, honest, 2700, 0}}},
	{title: "What it does not stop: a siege", note: "1,000 ratings in a month, then 1,000 ones a day", days: true,
		shown:  20*24 + 12,
		phases: []stretch{{30*24 + 12, honest, 1000, 0}, {14 * 24, honest, 462, 14_000}, {2 * 24, honest, 66, 0}}},
	{title: "A change of opinion gets through", note: "1,000 ratings of 4.2, then 1,000 a day of 3.0", days: true,
		shown:  20*24 + 12,
		phases: []stretch{{30*24 + 12, honest, 1000, 0}, {12 * 24, changed, 12_000, 0}}},
}

// point is what is published at the end of an hour.
type point struct {
	hour           int
	average, score float64
	attacked       bool
}

// curve is what was published during a campaign.
type curve struct {
	campaign
	points []point
}

// moved returns how far the score or the average went from where it was before the last phase but
// one.
func (c curve) moved(score bool) float64 {
	value := func(p point) float64 {
		if score {
			return p.score
		}
		return p.average
	}
	far, calm := 0.0, 0.0
	for _, p := range c.points {
		if p.hour == c.phases[0].hours {
			calm = value(p)
		}
		if p.hour > c.phases[0].hours {
			far = max(far, math.Abs(value(p)-calm))
		}
	}
	return far
}

// bearers are users whose names are their tokens.
type bearers struct{}

func (bearers) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return auth.Principal{}, auth.ErrNoCredentials
	}
	return auth.Principal{Subject: name, Staff: name == "staff"}, nil
}

// attacker is a client of a server whose clock it moves.
type attacker struct {
	*client
	staff   *user
	ahead   atomic.Int64
	dice    *rand.Rand
	decks   map[crowd][]int
	content string
	sent    int
}

// run runs the campaign on a server of its own.
func (c campaign) run(ctx context.Context, seed uint64) (line curve, err error) {
	dice := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable on purpose
	at := &attacker{staff: &user{access: "staff"}, dice: dice, decks: map[crowd][]int{}}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := khodnevis.Config{Authenticator: bearers{}, Limits: httpapi.Limits{Off: true},
		Now: func() time.Time { return began.Add(time.Duration(at.ahead.Load())) }}
	app, err := khodnevis.New(cfg) //nolint:contextcheck // the server's requests have contexts of their own
	if err != nil {
		return curve{}, err
	}
	server := httptest.NewServer(app.Handler())
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(working) }()
	defer func() {
		server.Close()
		stop()
		err = errors.Join(err, <-ended)
	}()
	at.client = newClient([]string{server.URL + "/api/"}, senders, time.Minute)
	var made struct{ ID string }
	if err := at.call(ctx,
		request{method: http.MethodPost, path: "contents/", by: at.staff, body: map[string]string{"title": c.title}},
		http.StatusCreated, &made); err != nil {
		return curve{}, err
	}
	at.content = made.ID
	line = curve{campaign: c}
	hour := 0
	for _, ph := range c.phases {
		for i := range ph.hours {
			share := func(n int) int { return n*(i+1)/ph.hours - n*i/ph.hours }
			if err := at.hour(ctx, ph, share(ph.ratings), share(ph.ones)); err != nil {
				return curve{}, err
			}
			if hour++; hour < c.shown {
				continue
			}
			p := point{hour: hour, attacked: ph.ones > 0}
			if p.average, p.score, err = at.published(ctx); err != nil {
				return curve{}, err
			}
			line.points = append(line.points, p)
		}
	}
	return line, nil
}

// senders is how many requests are under way at once.
const senders = 8

// hour sends the ratings of an hour, and lets it pass.
func (a *attacker) hour(ctx context.Context, ph stretch, ratings, bad int) error {
	var scores []int
	for range ratings {
		scores = append(scores, a.deal(ph.crowd))
	}
	for range bad {
		scores = append(scores, a.deal(ones))
	}
	var wg sync.WaitGroup
	errs := make([]error, senders)
	for s := range senders {
		wg.Go(func() {
			for i := s; i < len(scores) && errs[s] == nil; i += senders {
				rater := &user{access: fmt.Sprintf("rater%d", a.sent+i)}
				errs[s] = a.call(ctx, request{method: http.MethodPost, path: "ratings/", by: rater,
					body: map[string]any{"content": a.content, "score": scores[i]}}, http.StatusAccepted, &struct{}{})
			}
		})
	}
	wg.Wait()
	a.sent += len(scores)
	a.ahead.Add(int64(time.Hour))
	return errors.Join(errs...)
}

// deal returns a score; every hundred of a crowd have its shares exactly.
func (a *attacker) deal(of crowd) int {
	if len(a.decks[of]) == 0 {
		var cards []int
		for i, share := range of {
			for range share {
				cards = append(cards, i+1)
			}
		}
		a.dice.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
		a.decks[of] = cards
	}
	score := a.decks[of][0]
	a.decks[of] = a.decks[of][1:]
	return score
}

// published has the score recalculated and returns what everybody sees, once all that was sent is
// in it.
func (a *attacker) published(ctx context.Context) (average, score float64, err error) {
	for {
		var accepted struct{ Task string }
		if err := a.call(ctx,
			request{method: http.MethodPost, path: "contents/" + a.content + "/stats/recalculate/", by: a.staff},
			http.StatusAccepted, &accepted); err != nil {
			return 0, 0, err
		}
		for done := ""; done != "SUCCESS"; {
			var task struct{ State string }
			if err := a.call(ctx, request{method: http.MethodGet, path: "tasks/" + accepted.Task + "/", by: a.staff},
				http.StatusOK, &task); err != nil {
				return 0, 0, err
			}
			if done = task.State; done != "SUCCESS" {
				if err := backoff.Sleep(ctx, time.Millisecond); err != nil {
					return 0, 0, err
				}
			}
		}
		var stats struct {
			Count   int     `json:"ratings_count"`
			Average float64 `json:"average_score"`
			Score   float64
		}
		if err := a.call(ctx, request{method: http.MethodGet, path: "contents/" + a.content + "/stats/"}, http.StatusOK,
			&stats); err != nil {
			return 0, 0, err
		}
		if stats.Count == a.sent {
			return stats.Average, stats.Score, nil
		}
	}
}
