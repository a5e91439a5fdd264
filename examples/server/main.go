// Command server is the bundled server: contents, ratings and accounts over HTTP, in one SQLite file, with no services beside it.
//
//	go run ./examples/server                      serve
//	go run ./examples/server staff NAME           make a registered user staff
//	go run ./examples/server verify               recount every number from the ratings, repair and report what had drifted
//	go run ./examples/server health               fail unless the server that listens on KHODNEVIS_ADDR lives
//
// Everything is configured by environment variables, or by flags of the same names, which win: -addr for KHODNEVIS_ADDR.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// run is main with what it touches handed in.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	s, rest, err := readSettings(args, getenv, stderr)
	if err != nil {
		return err
	}
	if len(rest) == 1 && rest[0] == "health" {
		return checkHealth(ctx, s.addr) // of another process: it opens nothing
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	// The first signal asks for a clean end; the second one ends the process at once.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	b, err := open(s, log)
	if err != nil {
		return err
	}
	command := "serve"
	if len(rest) > 0 {
		command = rest[0]
	}
	switch {
	case command == "serve" && len(rest) <= 1:
		err = serve(ctx, s, b, log, stdout)
	case command == "staff" && len(rest) == 2:
		err = makeStaff(ctx, b, rest[1], stdout)
	case command == "verify" && len(rest) == 1:
		err = verify(ctx, b, stdout)
	default:
		err = fmt.Errorf("unknown command %q: there are serve, staff NAME, verify and health", rest)
	}
	return errors.Join(err, b.close())
}
