// Command server is the bundled server: contents, ratings and accounts over HTTP, in one SQLite file, with no services beside it.
//
//	go run ./examples/server                      serve
//	go run ./examples/server staff NAME           make a registered user staff
//	go run ./examples/server recalculate [ID]     recount the numbers of one content or all from the ratings, and fold the scores anew
//	go run ./examples/server verify               the same for all, reporting what had drifted; exits with 1 if anything had
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
	"runtime"
	"runtime/debug"
	"syscall"
)

func main() {
	tune()
	if err := run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// maxHeap is about how much memory the server's heap may grow to before collecting more often is worth the time.
const maxHeap = 256 << 20

// tune trades memory for time: what lives on a server's heap is a few caches of bounded size, and with Go's default the collector
// would go through them many times a second. Where a password is hashed, which keeps a processor for tens of milliseconds, one thread more
// leaves it to the operating system to share the processors: it takes them away in a fraction of the ten milliseconds that Go lets pass.
// GOMAXPROCS, GOGC and GOMEMLIMIT win.
func tune() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(maxHeap)
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
	command := len(rest) > 0 && rest[0] != "serve"
	b, err := open(s, command, log)
	if err != nil {
		return err
	}
	if command {
		fmt.Fprintf(stderr, "khodnevis works on %s\n", b.adapters)
	}
	return errors.Join(do(ctx, s, b, rest, log, stdout), b.close())
}

// do does what the arguments ask for.
func do(ctx context.Context, s settings, b *backend, args []string, log *slog.Logger, stdout io.Writer) error {
	switch {
	case len(args) == 0, len(args) == 1 && args[0] == "serve":
		return serve(ctx, s, b, log, stdout)
	case len(args) == 2 && args[0] == "staff":
		return makeStaff(ctx, b, args[1], stdout)
	case len(args) > 0 && len(args) <= 2 && args[0] == "recalculate":
		return recalculate(ctx, b, args[1:], stdout)
	case len(args) == 1 && args[0] == "verify":
		return verify(ctx, b, stdout)
	}
	return fmt.Errorf("unknown command %q: there are serve, staff NAME, recalculate [ID], verify and health", args)
}
