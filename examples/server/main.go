// Command server is the bundled server: contents, ratings and accounts over HTTP, in one SQLite
// file, with no services beside it.
//
//	go run ./examples/server                      serve
//	go run ./examples/server staff NAME           make a registered user staff; unstaff takes it back
//	go run ./examples/server disable NAME         bar a user from logging in; enable lets them again
//	go run ./examples/server password NAME        set a user's password to the first line of the standard input
//	go run ./examples/server recalculate [ID]     recount one content or all, and compute the scores anew
//	go run ./examples/server verify               recount all, report drift, and exit with 1 if there was any
//	go run ./examples/server health               fail unless the server that listens on KHODNEVIS_ADDR lives
//	go run ./examples/server -h                   list the commands and the flags
//
// Everything is configured by environment variables, or by flags of the same names, which win:
// -addr for KHODNEVIS_ADDR.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

func main() {
	tune()
	format := logFormat(os.Args[1:], os.Environ())
	slog.SetDefault(newLogger(format, os.Stderr)) // for libraries that log by themselves
	if err := run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		if format == "json" {
			slog.Error(err.Error())
		} else {
			fmt.Fprintln(os.Stderr, "server:", err)
		}
		os.Exit(1)
	}
}

// maxMemory is about how much memory the server takes, unless what it has to keep is more. goMemory is
// the part of Go, whose limit does not count the pages that SQLite keeps.
const (
	maxMemory = 256 << 20
	goMemory  = maxMemory - sqlitefile.MaxPages
)

// tune trades memory for time: what lives on a server's heap is a few caches of bounded size, and
// with Go's default the collector would go through them many times a second. GOGC and GOMEMLIMIT
// win.
func tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(goMemory)
	}
}

// run is main, which passes it everything that it touches.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	s, rest, err := readSettings(args, environ, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	c, rest, err := find(rest)
	if err != nil {
		return err
	}
	if c.apart != nil {
		return c.apart(ctx, s, rest, stdout)
	}
	log := newLogger(s.log, stderr)
	for _, doubt := range s.doubts {
		log.Warn(doubt)
	}
	// The first signal asks for a clean end; the second one ends the process at once.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	b, err := plan(s, c.on != nil, log)
	if err != nil {
		return err
	}
	if c.on == nil {
		return errors.Join(listenAndServe(ctx, s, b, log, stdout), b.close())
	}
	if err = b.build(); err == nil {
		if text := "khodnevis works on " + b.where(); s.log == "json" {
			log.Info(text)
		} else {
			fmt.Fprintln(stderr, text)
		}
		err = b.ready(ctx)
	}
	if err == nil {
		err = c.on(ctx, b, rest, stdin, stdout)
	}
	return errors.Join(err, b.close())
}

func newLogger(format string, w io.Writer) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}
