// Package khodnevis is content, ratings and accounts that drop into any Go service.
//
// An App wires the parts: services over a store, a queue and a cache of your choice, the REST
// surface over the services, a worker that stores what the queue accepted, and the jobs that
// recalculate. The smallest program keeps everything in memory:
//
//	app, err := khodnevis.New(khodnevis.Config{})
//	...
//	go app.Run(ctx)
//	http.ListenAndServe("127.0.0.1:8000", app.Handler())
//
// With a store and a queue in one SQLite file nothing that was accepted is lost, whatever happens
// to the process:
//
//	db, err := sqlitestore.Open("khodnevis.db")
//	...
//	q, err := sqlitequeue.New(db.File(), sqlitequeue.Config{})
//	...
//	app, err := khodnevis.New(khodnevis.Config{Store: db, Queue: q})
//
// # The tour
//
// Packages content, rating and auth hold the nouns, their rules, and the ports they need of a
// store. Packages queue and cache are the other two ports. Adapters live below store, queue and
// cache; a custom one is right when it passes the public suite beside them (storetest, queuetest,
// cachetest). Package httpapi is the REST surface.
//
// # Processes
//
// A process may serve requests, or work, or both: Handler serves, Run works. Any number of each
// share a store, a queue and, if there is one that processes share, a cache.
//
// # Installations
//
// All processes over one database are one installation. Its identity (rating.Store, method
// Installation) is made together with the database. Messages in the queue and keys in the cache
// carry it, so that installations which share a Kafka or a Redis do not disturb each other: the
// keys of one are never those of another, and a worker that finds another one's message in its
// queue stops; see worker.ForeignError. A copy of a database has the same identity: give it servers
// of its own. A process whose store has not answered since it started accepts no rating, and uses
// no cache that it may share.
//
// # Errors
//
// New reports everything that is wrong with a Config at once. Run returns nil after a clean stop.
//
// # Concurrency
//
// An App may be used concurrently. New starts nothing; Run owns every goroutine.
package khodnevis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/backoff"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/rating/task"
	"github.com/khodnevis/khodnevis/rating/worker"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// Config configures an App. Its zero value is usable, and keeps everything in memory.
type Config struct {
	// Store keeps everything. Nil: memory, which ends with the process; a warning is logged. A
	// store.Store is enough for every Config. With RatedContents it need not implement
	// content.Store, with Authenticator it need not implement auth.Store.
	Store rating.Store
	// Queue holds accepted ratings until they are stored. Nil: memory, which ends with the process;
	// a warning is logged.
	Queue queue.Queue
	// Cache makes reads fast and may forget. Processes that serve one store should share one; its
	// keys begin with the identity of the store's database, so that other installations may share
	// it, too. Until the store has returned that, the cache is not used. Nil: memory, bounded.
	Cache cache.Cache
	// Prefix is the full path that Handler is mounted under. Default "/api/".
	Prefix string
	// TrustedProxies are the addresses of the proxies that requests come through, if any: the
	// client's address is then the last one in X-Forwarded-For that is none of theirs. Limits and
	// throttles count by it. Nil: it is the peer's, whatever headers say.
	TrustedProxies []netip.Prefix
	// Limits says how much one user and one IP prefix may ask. The zero value means the defaults.
	// The throttles of logins and registrations are apart: see Auth.
	Limits httpapi.Limits
	// Authenticator brings the host's own users; then there are no user routes and Auth is not
	// used. Package authtest is its suite, httpapi.Config says what becomes of one that panics,
	// hangs or fails. When one of them leaves, call App.Ratings.Erase. Nil: this module's users.
	Authenticator auth.Authenticator
	// RatedContents brings the host's own contents, for ratings alone. Nil: this module's contents.
	RatedContents rating.Contents
	// Auth configures this module's users. Its Now and Logger default to those here.
	Auth auth.Config
	// PrivateRatings makes ratings visible to their raters and to staff only.
	PrivateRatings bool
	// RequireIfMatch refuses changes and deletions of contents that do not say in If-Match which
	// version they are of (428).
	RequireIfMatch bool
	// Hooks are functions of the host that take part in changes: they refuse some, and are told of
	// the others.
	Hooks Hooks
	// Scale is the range of scores. The zero value means 1 to 5. Of changing it, see score.Scale.
	Scale score.Scale
	// Score holds the constants of the published score. The zero value means the defaults.
	Score score.Policy
	// Recalculate is the cron spec of the job that publishes the numbers of contents that have
	// changed: five fields, or "@every" and a duration of whole seconds, aligned to the clock, in
	// UTC. Default "@every 30s". Workers publish what they have stored at once, in a burst of
	// ratings within about a second; the job publishes what they could not.
	Recalculate string
	// Recount is the cron spec of the job that recounts all numbers from the ratings and repairs
	// them. Default "0 3 * * *".
	Recount string
	// Batch is how many ratings a worker stores in one transaction at the most. Default 1,000. With
	// a store that writes one transaction at a time, such as sqlitestore, a smaller one keeps
	// requests from waiting behind it.
	Batch int
	// Workers is how many batches Run stores at once. Default 1; more help with stores that write
	// concurrently.
	Workers int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives what happens. Nil: nothing is logged.
	Logger *slog.Logger

	breakers map[string]func() bool // what breakers returns
}

// Hooks are those of the services: see content.Hooks and rating.Hooks for when each is called, and
// what becomes of its errors, its panics and its time. They hold for the REST surface and for calls
// of the services alike. Statuses and codes of a refusal are the host's, and no part of the OpenAPI
// document.
type Hooks struct {
	Contents content.Hooks
	Ratings  rating.Hooks
}

// App is content, ratings and accounts, wired.
type App struct {
	// Contents, Ratings and Users are the services that the REST surface uses too. Contents is nil
	// with Config.RatedContents, Users with Config.Authenticator.
	Contents *content.Service
	Ratings  *rating.Service
	Users    *auth.Service

	api          *httpapi.API
	workers      []*worker.Worker
	recalculator *worker.Recalculator
	store        rating.Store
	jobs         map[string]worker.Schedule
	drain        func()
	draining     chan struct{}
	breakers     map[string]func() bool
	failing      map[string]func() time.Time // what failing returns
	log          *slog.Logger
}

func (c Config) orDefault() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Store == nil {
		c.Logger.Warn("khodnevis: no store is configured: everything ends with the process")
		c.Store = memstore.New(memstore.Config{Now: c.Now})
	}
	if c.Queue == nil {
		c.Logger.Warn("khodnevis: no queue is configured: ratings that are not stored yet end with the process")
		c.Queue = memqueue.New(memqueue.Config{})
	}
	c.breakers = breakers(c)
	if c.Cache != nil {
		c.Cache = keyed(c.Cache, c.Store)
	}
	if c.Auth.Counter == nil { // a cache of this process alone is no use: it forgets, and auth counts in process anyway
		c.Auth.Counter, _ = c.Cache.(cache.Counter)
	}
	if c.Cache == nil {
		c.Cache = lrucache.New(lrucache.Config{Now: c.Now})
	}
	if c.Recalculate == "" {
		c.Recalculate = "@every 30s"
	}
	if c.Recount == "" {
		c.Recount = "0 3 * * *"
	}
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.Auth.Now == nil {
		c.Auth.Now = c.Now
	}
	if c.Auth.Logger == nil {
		c.Auth.Logger = c.Logger
	}
	return c
}

// maxWorkers bounds Config.Workers.
const maxWorkers = 64

// New returns an App. It checks cfg, reports every problem at once, and touches nothing outside the
// process.
func New(cfg Config) (*App, error) {
	cfg = cfg.orDefault()
	var errs []error
	if cfg.Workers < 1 || cfg.Workers > maxWorkers {
		errs = append(errs, fmt.Errorf("khodnevis: Config.Workers is %d, must be 1 to %d", cfg.Workers, maxWorkers))
	}
	jobs := map[string]worker.Schedule{task.Sweep: worker.Every(time.Hour)}
	for job, spec := range map[string]string{task.Recalculate: cfg.Recalculate, task.Recount: cfg.Recount} {
		schedule, err := parseSchedule(spec, cfg.Now())
		if err != nil {
			errs = append(errs, fmt.Errorf("khodnevis: the schedule of %s: %w", job, err))
		}
		jobs[job] = schedule
	}
	if err := errors.Join(append(errs, cfg.validate())...); err != nil {
		return nil, err
	}
	a := &App{store: cfg.Store, jobs: jobs, draining: make(chan struct{}), breakers: cfg.breakers,
		failing: failing(cfg), log: cfg.Logger}
	a.drain = sync.OnceFunc(func() { close(a.draining) })
	if err := a.wire(cfg); err != nil {
		return nil, err
	}
	return a, nil
}

// rating returns the configuration of what deals with ratings.
func (c Config) rating() rating.Config {
	return rating.Config{Scale: c.Scale, Hooks: c.Hooks.Ratings, Policy: c.Score, Cache: c.Cache, Batch: c.Batch,
		Now: c.Now, Logger: c.Logger}
}

// api returns the configuration of the REST surface but for the services.
func (c Config) api() httpapi.Config {
	return httpapi.Config{Authenticator: c.Authenticator, Prefix: c.Prefix, PrivateRatings: c.PrivateRatings,
		RequireIfMatch: c.RequireIfMatch,
		Cache:          c.Cache, TrustedProxies: c.TrustedProxies, Limits: c.Limits, Now: c.Now, Logger: c.Logger}
}

// validate reports every problem of c and of the parts of c. It constructs nothing.
func (c Config) validate() error {
	errs := []error{c.rating().Validate(), c.api().Validate()}
	if c.RatedContents != nil && !reflect.ValueOf(c.Hooks.Contents).IsZero() {
		errs = append(errs, errors.New("khodnevis: Config.Hooks.Contents are never called with Config.RatedContents: "+
			"the contents are the host's"))
	}
	if _, ok := c.Store.(content.Store); !ok && c.RatedContents == nil {
		errs = append(errs, errors.New("khodnevis: Config.Store does not implement content.Store, and there are no "+
			"Config.RatedContents"))
	}
	if c.Authenticator == nil {
		errs = append(errs, c.Auth.Validate())
		if _, ok := c.Store.(auth.Store); !ok {
			errs = append(errs, errors.New("khodnevis: Config.Store does not implement auth.Store, and there is no "+
				"Config.Authenticator"))
		}
	}
	return errors.Join(errs...)
}

// wire constructs the services, the workers and the REST surface.
func (a *App) wire(cfg Config) (err error) {
	if cfg.Authenticator == nil {
		if a.Users, err = auth.New(cfg.Store.(auth.Store), cfg.Auth); err != nil {
			return err
		}
	}
	contents, cached := cfg.RatedContents, cfg.RatedContents
	if contents == nil {
		if a.Contents, err = content.New(cfg.Store.(content.Store), content.Config{
			Cache: cfg.Cache, Hooks: cfg.Hooks.Contents, Now: cfg.Now, Logger: cfg.Logger,
		}); err != nil {
			return err
		}
		contents, cached = a.Contents, a.Contents.Cached()
	}
	if a.Ratings, err = rating.New(cfg.Store, cfg.Queue, contents, cfg.rating()); err != nil {
		return err
	}
	if a.recalculator, err = worker.NewRecalculator(a.Ratings, cfg.Store); err != nil {
		return err
	}
	for range min(cfg.Workers, maxWorkers) {
		w, err := worker.New(a.recalculator, cfg.Queue, cached)
		if err != nil {
			return err
		}
		a.workers = append(a.workers, w)
	}
	api := cfg.api()
	api.Ratings, api.Users, api.Draining = a.Ratings, a.Users, a.draining
	api.Contents = a.Contents
	a.api, err = httpapi.New(api)
	return err
}

// Handler returns the REST surface. Mount it under Config.Prefix, in any router that leaves the
// path as it is.
func (a *App) Handler() http.Handler { return a.api }

// Run stores what the queue holds and does the jobs, until ctx is done; it then finishes what it
// holds and returns nil. A process that only serves requests does not call it.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error)
	running := 0
	start := func(run func(context.Context) error) {
		running++
		go func() { errs <- run(ctx) }()
	}
	for _, w := range a.workers {
		start(w.Run)
	}
	for job, schedule := range a.jobs {
		start(func(ctx context.Context) error { return a.recalculator.Run(ctx, job, schedule) })
	}
	start(a.recalculator.RunErasures)
	if r, ok := a.store.(store.Rebuilder); ok {
		start(func(ctx context.Context) error { return a.rebuild(ctx, r) })
	}
	if a.Contents != nil {
		start(a.Contents.Run)
	}
	if a.Users != nil {
		start(a.Users.Run)
	}
	var all []error
	for range running {
		if err := <-errs; err != nil {
			all = append(all, err)
			cancel()
		}
	}
	return errors.Join(all...)
}

// rebuild computes what an upgrade has left to be computed, and returns nil when nothing is left.
func (a *App) rebuild(ctx context.Context, r store.Rebuilder) error {
	pauses := backoff.Backoff{First: time.Second, Max: time.Minute}
	for {
		err := r.Rebuild(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		a.log.WarnContext(ctx, "khodnevis: not all rows are rebuilt yet after an upgrade", "error", err)
		if pauses.Wait(ctx) != nil {
			return nil
		}
	}
}

// Recount recounts all numbers from the ratings, repairs what differs and reports it to drift, if
// that is not nil. It returns how many contents it looked at. The cron does the same; see
// Config.Recount.
func (a *App) Recount(ctx context.Context, drift func(rating.Drift)) (int, error) {
	return a.recalculator.Recount(ctx, drift)
}

// Verify is Recount that also looks whether the published numbers of each content are what its ratings
// give, the score to the bit.
func (a *App) Verify(ctx context.Context, drift func(rating.Drift)) (int, error) {
	return a.recalculator.Verify(ctx, drift)
}

// Recalculate recounts the contents with the given identifiers, or with none every content, and
// publishes their numbers anew, as a change of Config.Score asks for. It reports drift like Recount.
func (a *App) Recalculate(ctx context.Context, drift func(rating.Drift), contents ...string) (int, error) {
	return a.recalculator.Recalculate(ctx, contents, drift)
}

// Drain prepares the end: Ready returns an error from now on, and requests that wait for a rating
// to be stored are answered at once. Call it when the process is told to stop, before the server
// shuts down and the context of Run ends.
func (a *App) Drain() { a.drain() }

var errDraining = errors.New("draining")

// Ready returns why the process should get no requests, nil if it should get some. Drain was
// called, or one of its workers has stopped at a message of another installation, which is a
// *worker.ForeignError.
func (a *App) Ready() error {
	select {
	case <-a.draining:
		return errDraining
	default:
	}
	for _, w := range a.workers {
		if err := w.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// parseSchedule reads a cron spec. Unlike the parser it stands on, it refuses what never fires and
// what fires more often than it can, never panics, and aligns "@every", so that all processes agree
// when a job is due.
func parseSchedule(spec string, now time.Time) (worker.Schedule, error) {
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < time.Second || d%time.Second != 0 {
			return nil, fmt.Errorf("%q: give @every a duration of whole seconds, such as 30s", spec)
		}
		return worker.Every(d), nil
	}
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		return nil, fmt.Errorf("%q: schedules are in UTC", spec)
	}
	schedule, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", spec, err)
	}
	utc := inUTC{schedule}
	if utc.Next(now).IsZero() {
		return nil, fmt.Errorf("%q is never due", spec)
	}
	return utc, nil
}

// inUTC keeps schedules away from daylight saving, which makes an hour happen twice or not at all.
type inUTC struct{ cron.Schedule }

func (u inUTC) Next(t time.Time) time.Time { return u.Schedule.Next(t.UTC()) }
