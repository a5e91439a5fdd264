package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of what a client may take.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
	// shutdownTimeout is how long requests in flight have to end, finishTimeout how long the worker
	// has afterwards.
	shutdownTimeout = 25 * time.Second
	finishTimeout   = 10 * time.Second
)

// listeners are where a server takes connections.
type listeners struct {
	public  net.Listener
	metrics net.Listener // nil: they are not served
}

// listen takes the addresses, or none of them.
func listen(ctx context.Context, s settings) (l listeners, err error) {
	var config net.ListenConfig
	if l.public, err = config.Listen(ctx, "tcp", s.addr); err != nil {
		return l, fmt.Errorf("-addr: %w", err)
	}
	if s.metrics != "" {
		if l.metrics, err = config.Listen(ctx, "tcp", s.metrics); err != nil {
			return l, errors.Join(fmt.Errorf("-metrics: %w", err), l.public.Close())
		}
	}
	return l, nil
}

func (l listeners) close() error {
	if l.metrics == nil {
		return l.public.Close()
	}
	return errors.Join(l.public.Close(), l.metrics.Close())
}

// listenAndServe takes the addresses, then makes what is missing, and serves: a server that cannot
// serve leaves nothing behind.
func listenAndServe(ctx context.Context, s settings, b *backend, log *slog.Logger, stdout io.Writer) error {
	l, err := listen(ctx, s)
	if err != nil {
		return err
	}
	if err := b.build(); err != nil {
		return errors.Join(err, l.close())
	}
	return serve(ctx, s, b, l, log, stdout)
}

// serve serves and works until ctx is done, and then lets both finish what they have begun. It
// closes the listeners.
func serve(ctx context.Context, s settings, b *backend, l listeners, log *slog.Logger, stdout io.Writer) error {
	files := maxFiles()
	limits, err := s.connectionLimits(files)
	if err != nil {
		return errors.Join(err, l.close())
	}
	if limits.all < maxConnections {
		log.Warn("this process may have few files open, so there are fewer connections",
			"files", files, "connections", limits.all)
	}
	server := newServer(routes(b, s.role != "worker", b.unready), log)
	scraped := newServer(metricsRoutes(b), log)
	// The worker goes on while requests end, since some of them wait for it.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	worked := make(chan error, 1)
	go func() {
		if err := b.prepared(work, log); err != nil && work.Err() == nil {
			worked <- err
			return
		}
		b.state.Store(nil)
		go b.mayQueue(work, log)
		if s.role == "api" {
			<-work.Done()
			worked <- nil
			return
		}
		worked <- b.app.Run(work)
	}()
	served := make(chan error, 2)
	go func() { served <- server.Serve(newBounded(l.public, limits, log)) }()
	fmt.Fprintf(stdout, "khodnevis serves on http://%s/ and keeps its data in %s\n", l.public.Addr(), b.where())
	if l.metrics != nil {
		go func() { served <- scraped.Serve(newBounded(l.metrics, limits, log)) }()
		fmt.Fprintf(stdout, "khodnevis serves its metrics on http://%s/metrics\n", l.metrics.Addr())
	}

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
	case failed = <-worked:
		worked <- nil // it has ended
	}
	log.Info("stopping")
	b.app.Drain()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := errors.Join(server.Shutdown(end), scraped.Shutdown(end)); err != nil {
		failed = errors.Join(failed, fmt.Errorf("requests did not end: %w", err))
	}
	stopWork()
	select {
	case err := <-worked:
		failed = errors.Join(failed, err)
	case <-time.After(finishTimeout):
		failed = errors.Join(failed, errors.New("the worker did not finish its batch; another one will"))
	}
	return failed
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// routes mounts the REST surface, the health checks and the pages. A path is served as it is
// written: none is cleaned into another one, since what stands before this server may have let it
// pass for what it was.
func routes(b *backend, api bool, ready func() error) http.Handler {
	places := pages(b, api, ready)
	places["/livez"], places["/readyz"] = b.app.Health(nil), b.app.Health(ready)
	lost := nowhere(b)
	return guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		place, ok := places[path]
		switch {
		case api && strings.HasPrefix(path, "/api/"):
			place = b.app.Handler()
		case !ok:
			place = lost
		}
		place.ServeHTTP(w, r)
	}))
}

// metricsRoutes are those of the listener that is not public.
func metricsRoutes(b *backend) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", b.app.Metrics())
	return guarded(mux)
}

// nowhere answers as the API does for what is not there. The API must not see the path alone: for
// hosts that strip its prefix it takes paths without, and what a proxy guards at /api/users/ would
// be at /users/, too.
func nowhere(b *backend) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const below = "/api//" // an empty segment, and there is nothing
		lost := *r
		lost.URL = &url.URL{Path: below + r.URL.Path, RawPath: below + r.URL.EscapedPath(), RawQuery: r.URL.RawQuery}
		b.app.Handler().ServeHTTP(w, &lost)
	})
}
