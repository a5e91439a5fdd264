package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/cache/rediscache"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/store/pgstore"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// backend is the App and what it stands on.
type backend struct {
	app *khodnevis.App
	// prepare makes what the App needs in servers that may not be there yet. It may be called again
	// after an error.
	prepare func(context.Context) error
	// adapters says in a few words what is used: to everybody, so it tells of no path, host or user.
	adapters string
	// file is the one of SQLite; "" if there is none.
	file string
	// role is what this process does: all, api or worker.
	role    string
	cfg     khodnevis.Config
	command bool
	// state is why the process is not ready; nil if it is, as far as its servers are concerned.
	state atomic.Pointer[error]
	// rights looks whether the queue lets this process do its work. Nil: nobody has to.
	rights  func(context.Context) error
	closers []func() error
}

// close closes what was opened, the last one first.
func (b *backend) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	return errors.Join(errs...)
}

// embeddedBatch keeps a batch of ratings in the one writer of the file for a few milliseconds,
// since requests wait behind it.
const embeddedBatch = 100

// where is what adapters says, with the file, for whoever runs the server.
func (b *backend) where() string {
	return strings.Replace(b.adapters, "SQLite", "SQLite in "+b.file, 1)
}

// plan picks the adapters and checks every setting. This is the one place that does. It touches
// nothing outside the process: it makes no file and asks no server. A command works on the store
// alone.
func plan(s settings, command bool, log *slog.Logger) (*backend, error) {
	b := &backend{role: s.role, command: command, prepare: func(context.Context) error { return nil }}
	b.state.Store(&errStarting)
	proxies, err := parsePrefixes(s.proxies)
	if err != nil {
		return nil, err
	}
	off := s.limits == "off"
	b.cfg = khodnevis.Config{Recalculate: s.recalculate, Recount: s.recount, Workers: s.workers,
		TrustedProxies: proxies, Limits: httpapi.Limits{Off: off},
		Auth: auth.Config{LimitsOff: off}}
	if err = b.pick(s, log); err == nil {
		_, err = khodnevis.New(b.cfg) // in memory for now, so that what is wrong shows before there is a file
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.cfg.Logger = log
	return b, nil
}

// pick opens the adapters that need no file, and says which file the others need.
func (b *backend) pick(s settings, log *slog.Logger) error {
	var names []string
	if b.command {
		b.cfg.Queue = memqueue.New(memqueue.Config{}) // nothing is put into it
	}
	if s.postgres == "" || s.kafka == "" && !b.command { // one of the two, or both, are in the file
		b.file, b.cfg.Batch = s.data, embeddedBatch
		names = append(names, "SQLite")
	}
	if s.postgres != "" {
		db, err := pgstore.Open(s.postgres, pgstore.OpenConfig{})
		if err != nil {
			return fmt.Errorf("-postgres: %w", err)
		}
		b.closers = append(b.closers, db.Close)
		store, err := pgstore.New(db, pgstore.Config{})
		if err != nil {
			return err
		}
		b.cfg.Store, b.cfg.Batch = store, 0
		b.prepare = func(ctx context.Context) error {
			if err := store.Migrate(ctx); err != nil {
				return err
			}
			return store.Check(ctx)
		}
		names = append(names, "PostgreSQL")
	}
	if s.kafka != "" && !b.command {
		security, login, err := s.kafkaSecurity()
		if err != nil {
			return err
		}
		queue, err := kafkaqueue.Open(s.brokers(), kafkaqueue.Config{
			Topic: s.topic, Group: s.group, Installation: b.identity,
			Instance: instance(s.addr), TLS: security, SASL: login, Logger: log,
		})
		if err != nil {
			return fmt.Errorf("-kafka: %w", err)
		}
		b.closers = append(b.closers, queue.Close)
		b.cfg.Queue = queue
		b.rights = func(ctx context.Context) error { return queue.MayWork(ctx, s.role != "api") }
		names = append(names, "Kafka")
	}
	if s.redis != "" {
		pool, err := rediscache.Open(s.redis, rediscache.Config{})
		if err != nil {
			return fmt.Errorf("-redis: %w", err)
		}
		b.closers = append(b.closers, pool.Close)
		if b.cfg.Cache, err = rediscache.New(pool, rediscache.Config{Prefix: s.redisPrefix}); err != nil {
			return err
		}
		names = append(names, "Redis")
	}
	if s.batch != 0 {
		b.cfg.Batch = s.batch
	}
	b.adapters = strings.Join(names, ", ")
	return nil
}

// build opens the file, if there is to be one, and wires the App. A command makes no file.
func (b *backend) build() error {
	if b.file != "" {
		if _, err := os.Stat(b.file); b.command && err != nil {
			return fmt.Errorf("-data: a command works on the file of a server and makes none: %w", err)
		}
		db, err := sqlitestore.Open(b.file)
		if err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		b.closers = append(b.closers, db.Close)
		if b.cfg.Store == nil {
			b.cfg.Store = db
		}
		if b.cfg.Queue == nil {
			if b.cfg.Queue, err = sqlitequeue.New(db.File(), sqlitequeue.Config{}); err != nil {
				return err
			}
		}
		for _, name := range exposed(b.file) {
			b.cfg.Logger.Warn("others may read or write this file of the data, which has password hashes: chmod 600",
				"file", name)
		}
	}
	var err error
	b.app, err = khodnevis.New(b.cfg)
	return err
}

// identity is the installation that the App is part of, once prepare has succeeded.
func (b *backend) identity(ctx context.Context) (string, error) { return b.cfg.Store.Installation(ctx) }

// preparePause is how long a server that is not there yet is left alone.
const preparePause = 2 * time.Second

// prepared calls prepare until it succeeds. It returns why the process must end instead, or that
// ctx was done.
func (b *backend) prepared(ctx context.Context, log *slog.Logger) error {
	for {
		err := b.prepare(ctx)
		var id string
		if err == nil {
			id, err = b.identity(ctx)
		}
		switch {
		case err == nil:
			log.Info("the database is ready", "installation", id)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, pgstore.ErrPooled): // its answers would be those to others' questions
			return fmt.Errorf("-postgres: %w", err)
		case errors.Is(err, pgstore.ErrRights):
			b.state.Store(&errDatabaseRights)
			log.Error("the database role lacks rights: grant them as docs/operations.md says, or, for a change of the tables, "+
				"run server migrate as their owner; trying again", "pause", preparePause, "error", err)
		default:
			b.state.Store(&errStarting)
			log.Warn("the database is not ready, trying again", "pause", preparePause, "error", err)
		}
		if !pause(ctx, preparePause) {
			return ctx.Err()
		}
	}
}

// What readiness says of a process that waits for others. It is public, so it names no role and no
// server.
var (
	errStarting       = errors.New("starting")
	errDatabaseRights = errors.New("the database role lacks rights, which the log names")
	errQueueRights    = errors.New("the user of the queue lacks rights, which the log names")
)

// mayQueue asks the queue until it has an answer whether this process has the rights that it needs,
// and goes on while some are missing. A queue that is away is none of its business: requests and
// workers find out.
func (b *backend) mayQueue(ctx context.Context, log *slog.Logger) {
	for b.rights != nil {
		err := b.rights(ctx)
		if err == nil {
			b.state.Store(nil)
			return
		}
		if errors.Is(err, kafkaqueue.ErrRights) {
			b.state.Store(&errQueueRights)
			log.Error("rights in Kafka are missing: grant them as docs/operations.md says; trying again",
				"pause", preparePause, "error", err)
		}
		if !pause(ctx, preparePause) {
			return
		}
	}
}

// pause reports false if ctx was done before d was over.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// unready returns why this process should get no requests, or nil.
func (b *backend) unready() error {
	if why := b.state.Load(); why != nil {
		return *why
	}
	return b.app.Ready()
}

// ready is prepared for a command, which has no time to wait.
func (b *backend) ready(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return fmt.Errorf("the database is not ready: %w", err)
	}
	return nil
}

// instance names this process for the group of workers: the host and the port that it listens on,
// which no two processes share and which stay when it is started again. Without a fixed port there
// is no such name.
func instance(addr string) string {
	host, err := os.Hostname()
	_, port, split := net.SplitHostPort(addr)
	if err != nil || split != nil || port == "0" || !hostname.MatchString(host) {
		return ""
	}
	return host + "." + port
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9.-]{1,150}$`)
