// Replay drives a running server over HTTP with a real data set and checks that every rating it
// accepted is counted, once.
//
// Apart from "attack" and "campaigns" it knows the wire contract and nothing of the server's code, so it works
// against any server of the contract:
//
//	npm pack vega-datasets && tar xzf vega-datasets-*.tgz package/data/movies.json
//	KHODNEVIS_LIMITS=off go run ./examples/server &
//	go run ./examples/replay -server http://127.0.0.1:8000 -data package/data/movies.json
//
// Users are registered, the films of the data set are created as contents, and ratings are drawn so
// that their number follows a film's votes and their mean its IMDb rating. Then count, mean, sum
// and histogram of every film are compared with what was answered 202. The server may be killed and
// restarted meanwhile: what has no answer is sent again.
//
// With -state FILE everything accepted is also written to a journal, and a later run with
// -check-only compares the server with that journal and sends nothing.
//
// "replay attack" needs no server: it runs campaigns against one of its own, whose clock it moves,
// and draws the published score beside the plain average into attack.svg. "replay campaigns" replays
// counts of ratings from real campaigns in the same way, and prints the published score beside the
// plain average.
//
// The exit status is 0 when everything is right, 1 when something is wrong, lost or not finished, 2
// for a wrong call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	exitOK    = 0
	exitWrong = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command runs the subcommand that the first argument names; arguments that begin with a flag
// belong to "run".
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "run":
		return runCommand(ctx, args, stdout, stderr)
	case "attack":
		return attackCommand(ctx, args, stdout, stderr)
	case "campaigns":
		return campaignsCommand(ctx, args, stdout, stderr)
	default:
		fmt.Fprintf(stderr, "replay: unknown command %q; there are: run (the default), attack and campaigns\n", name)
		return exitUsage
	}
}

// config is what the flags of run say.
type config struct {
	servers   []string // base URLs with the mount prefix, each ending in "/"
	data      string
	users     int
	ratings   int
	rerate    float64
	clients   int
	seed      uint64
	timeout   time.Duration
	state     string
	checkOnly bool
}

func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return exitUsage
	}
	c := newClient(cfg.servers, cfg.clients, cfg.timeout)
	show := newProgress(stderr, c.lastTrouble)

	var rep *report
	if cfg.checkOnly {
		rep, err = checkOnly(ctx, cfg, c, show)
	} else {
		rep, err = run(ctx, cfg, c, show)
	}
	if rep != nil {
		rep.print(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return exitWrong
	}
	if rep.wrong() > 0 {
		return exitWrong
	}
	return exitOK
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	var servers string
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	fs.SetOutput(stderr)
	const local = "http://127.0.0.1:8000"
	fs.StringVar(&servers, "server", local,
		"`URL` of the server, or several separated by commas, used in turn; without a path, /api/ is meant")
	fs.StringVar(&servers, "servers", local, "the same as -server")
	fs.StringVar(&cfg.data, "data", "movies.json", "`FILE` of films: data/movies.json of the npm package vega-datasets")
	fs.IntVar(&cfg.users, "users", 500, "users to register; also the most ratings a film can have")
	fs.IntVar(&cfg.ratings, "ratings", 100_000, "ratings to submit, each of another user and film")
	fs.Float64Var(&cfg.rerate, "rerate", 0.02, "fraction of the ratings that a second submission changes, 0 to 1")
	fs.IntVar(&cfg.clients, "clients", 64, "requests in flight at the same time")
	fs.Uint64Var(&cfg.seed, "seed", 1, "seed of everything that is drawn")
	fs.DurationVar(&cfg.timeout, "timeout", time.Minute,
		"how long to keep trying a dead server, and to wait for ratings that stop arriving")
	fs.StringVar(&cfg.state, "state", "", "journal `FILE` to which everything accepted is appended")
	fs.BoolVar(&cfg.checkOnly, "check-only", false, "send nothing; compare the server with the journal of -state")
	if err := fs.Parse(args); err != nil {
		return config{}, err
	}

	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	for s := range strings.SplitSeq(servers, ",") {
		base, err := baseURL(strings.TrimSpace(s))
		errs = append(errs, err)
		cfg.servers = append(cfg.servers, base)
	}
	if cfg.users < 1 || cfg.ratings < 1 || cfg.clients < 1 {
		errs = append(errs, errors.New("-users, -ratings and -clients must be at least 1"))
	}
	if !(cfg.rerate >= 0 && cfg.rerate <= 1) {
		errs = append(errs, errors.New("-rerate must be between 0 and 1"))
	}
	if cfg.timeout <= 0 {
		errs = append(errs, errors.New("-timeout must be more than 0"))
	}
	if cfg.checkOnly && cfg.state == "" {
		errs = append(errs, errors.New("-check-only needs the journal of an earlier run: -state FILE"))
	}
	return cfg, errors.Join(errs...)
}

// baseURL completes the address of a server with the default mount prefix, or keeps the prefix that
// it names.
func baseURL(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("-server: %q is not a URL like http://127.0.0.1:8000", server)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/api/"
	}
	return strings.TrimSuffix(u.String(), "/") + "/", nil
}
