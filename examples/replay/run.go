package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	signUpClients = 16 // the server hashes few passwords at a time and sheds those that wait for a second
	authors       = 5  // users who create the films
)

// replay is one run against a server.
type replay struct {
	config
	c        *client
	show     *progress
	journal  *journal
	report   *report
	name     string // of this run, different from every other's
	films    []film
	users    []*user
	contents []string // ids, by film
	tasks    []task   // the last one of each lane
}

// run carries out a whole replay. The report is nil when nothing was sent, and says how far it came
// when there is an error.
func run(ctx context.Context, cfg config, c *client, show *progress) (rep *report, err error) {
	films, err := loadFilms(cfg.data)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(films, cfg.users, cfg.ratings, cfg.clients, cfg.rerate, cfg.seed)
	if err != nil {
		return nil, err
	}
	j := newJournal(nil)
	if cfg.state != "" {
		f, err := os.OpenFile(cfg.state, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		j.file = f
	}
	r := &replay{
		config: cfg, c: c, show: show, journal: j, report: &report{}, name: rand.Text(), films: films,
		users: make([]*user, cfg.users), contents: make([]string, len(films)), tasks: make([]task, len(p.lanes)),
	}
	err = r.send(ctx, p)
	r.report.countJournal(j)
	if err != nil {
		return r.report, err
	}
	return r.report, checkServer(ctx, cfg, c, show, j, r.report, r.tasks)
}

func (r *replay) send(ctx context.Context, p plan) error {
	if err := r.journal.record(entry{Begin: r.name}); err != nil {
		return err
	}
	ph := r.show.phase("users", len(r.users))
	err := each(ctx, min(signUpClients, r.clients), len(r.users), func(ctx context.Context, i int) (err error) {
		defer ph.done.Add(1)
		if r.users[i], err = signUp(ctx, r.c, r.seed, i+1); err != nil {
			return err
		}
		return r.journal.record(entry{Username: r.users[i].Username, User: r.users[i].id})
	})
	ph.end()
	if err != nil {
		return err
	}
	ph = r.show.phase("films", len(r.films))
	err = each(ctx, r.clients, len(r.films), func(ctx context.Context, i int) error {
		defer ph.done.Add(1)
		return r.createFilm(ctx, i)
	})
	ph.end()
	if err != nil {
		return err
	}
	ph = r.show.phase("ratings", p.submissions)
	r.report.begun = time.Now()
	err = each(ctx, len(p.lanes), len(p.lanes), func(ctx context.Context, i int) error {
		return r.rate(ctx, i, p.lanes[i], ph)
	})
	ph.end()
	if err != nil {
		return err
	}
	return r.journal.record(entry{End: r.name})
}

// createFilm creates a film, and by its Idempotency-Key only once. From a server that does not
// honour the key a lost answer may leave a second one, which nobody rates and nothing checks.
func (r *replay) createFilm(ctx context.Context, i int) error {
	f := r.films[i]
	var created struct{ ID, Title string }
	err := r.c.call(ctx, request{
		method:         http.MethodPost,
		path:           "contents/",
		by:             r.users[i%min(authors, len(r.users))],
		body:           map[string]string{"title": f.title, "description": f.description},
		idempotencyKey: fmt.Sprintf("%s-film-%d", r.name, i),
	}, http.StatusCreated, &created)
	if err == nil && (created.ID == "" || created.Title != f.title) {
		err = fmt.Errorf("the answer is of another content: %+v", created)
	}
	if err != nil {
		return fmt.Errorf("create film %q: %w", f.title, err)
	}
	r.contents[i] = created.ID
	return r.journal.record(entry{Content: created.ID, Title: f.title})
}

// rate submits the ratings of a lane, one after the other.
func (r *replay) rate(ctx context.Context, lane int, submissions []submission, ph *phase) error {
	type key struct{ film, user int }
	unsure := map[key]bool{}
	for _, s := range submissions {
		k := key{s.film, s.user}
		if unsure[k] {
			// An attempt without an answer may still land, and then after this one: no later score
			// is sure to win.
			r.report.leaveOut()
			ph.done.Add(1)
			continue
		}
		u, content := r.users[s.user], r.contents[s.film]
		body := map[string]any{"content": content, "score": s.score}
		a, err := r.c.do(ctx, request{method: http.MethodPost, path: "ratings/", by: u, body: body})
		r.report.submitted(a)
		if err != nil {
			return fmt.Errorf("rate %q: %w", r.films[s.film].title, err)
		}
		unsure[k] = a.unsure
		ph.done.Add(1)
		id, err := acceptedTask(a, content, u.id, s.score)
		if err != nil {
			r.report.fault(fault{"refused", fmt.Sprintf("%s rates %q with %d", u.Username, r.films[s.film].title, s.score),
				"202 with its task", err.Error()})
			continue
		}
		if err := r.journal.record(entry{Content: content, User: u.id, Score: s.score, Task: id}); err != nil {
			return err
		}
		r.tasks[lane] = task{id, u}
	}
	return nil
}

// acceptedTask is the id of the task of a 202 that speaks of the rating that was sent.
func acceptedTask(a answer, content, user string, score int) (string, error) {
	var accepted struct {
		Task   string
		Rating struct {
			Content, Rater string
			Score          int
		}
	}
	if a.status != http.StatusAccepted {
		return "", errors.New(a.problem())
	}
	if err := a.decode(&accepted); err != nil {
		return "", err
	}
	if got := accepted.Rating; accepted.Task == "" || got.Content != content || got.Rater != user || got.Score != score {
		return "", fmt.Errorf("without a task, or of another rating: %s", a.problem())
	}
	return accepted.Task, nil
}

// each calls f for 0 to n-1, at most workers at a time, and returns the first error, which ends the
// others' context.
func each(ctx context.Context, workers, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
