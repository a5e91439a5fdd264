//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "faultlab:", err)
		stop()
		os.Exit(1)
	}
}

// errCaught is the end of a run that found violations.
var errCaught = errors.New("promises were broken")

func run(ctx context.Context, args []string, out io.Writer) error {
	var l lab
	flags := flag.NewFlagSet("faultlab", flag.ContinueOnError)
	flags.StringVar(&l.stackName, "stack", "embedded", "embedded or services")
	flags.Uint64Var(&l.seed, "seed", 0, "what decides on faults and requests; 0: a random one")
	seconds := flags.Int("seconds", 60, "how long requests are sent and things broken")
	flags.StringVar(&l.plant, "plant", "", "build a server with this bug: "+strings.Join(plantNames(), ", "))
	flags.BoolVar(&l.keep, "keep", false, "keep the logs of a run without violations, too")
	plants := flags.Bool("plants", false, "try every planted bug of the stack with up to three seeds")
	syncs := flags.Bool("syncs", false, "count the syncs of the embedded stack against what it acknowledges")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if l.seed == 0 {
		l.seed = 1 + rand.Uint64N(1_000_000)
	}
	l.length, l.out = time.Duration(*seconds)*time.Second, out
	var err error
	if l.root, err = findRoot(); err != nil {
		return err
	}
	switch {
	case *syncs:
		return l.countSyncs(ctx)
	case *plants:
		return l.tryPlants(ctx)
	}
	found, err := l.run(ctx)
	if err == nil && len(found) > 0 {
		err = errCaught
	}
	return err
}

// findRoot returns the folder of the module that the lab tests, which is this one or one above it.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		text, missing := os.ReadFile(filepath.Join(dir, "go.mod"))
		if missing == nil && strings.HasPrefix(string(text), "module github.com/khodnevis/khodnevis\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", errors.Join(errors.New("the lab runs inside of the repository"), err)
}

// lab is one run.
type lab struct {
	stackName string
	seed      uint64
	length    time.Duration
	plant     string
	keep      bool
	root      string
	dir       string // of its logs
	out       io.Writer
}

// run does one run and returns the violations. What it leaves is in l.dir, which is removed if
// there are none.
func (l *lab) run(ctx context.Context) (found []violation, err error) {
	began := time.Now()
	if l.dir, err = os.MkdirTemp("", fmt.Sprintf("faultlab-%s-%d-", l.stackName, l.seed)); err != nil {
		return nil, err
	}
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil && len(found) == 0 && !l.keep {
			err = os.RemoveAll(l.dir)
		} else {
			fmt.Fprintf(l.out, "faultlab: the logs are in %s\n", l.dir)
		}
	}()
	s, err := l.newStack()
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return nil, err
	}
	h, err := newHistory(filepath.Join(l.dir, "history.jsonl"))
	if err != nil {
		return nil, err
	}
	defer h.file.Close()
	w, err := newWorld(s, h)
	if err != nil {
		return nil, err
	}
	if l.plant != "" && len(s.servers) == 0 {
		w.timeout = plantDrained
	}
	m, e, found, err := l.stress(ctx, s, w)
	if err != nil {
		return nil, err
	}
	checked, undecided := e.check()
	found = append(found, checked...)
	return found, errors.Join(l.report(e, m, found, undecided, began), h.err)
}

// stress sends the load, breaks things, heals them, and looks at what is left.
func (l *lab) stress(ctx context.Context, s *stack, w *world) (*nemesis, *evidence, []violation, error) {
	faults, err := os.Create(filepath.Join(l.dir, "faults.log"))
	if err != nil {
		return nil, nil, nil, err
	}
	defer faults.Close()
	h := w.history
	start := h.now()
	m := newNemesis(h.now, func(format string, args ...any) { fmt.Fprintf(faults, format+"\n", args...) })
	plans := s.newPlans(l.seed, l.length)
	for i := range plans {
		plans[i].at += start
	}
	end := start + l.length
	loaded := make(chan struct{})
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	go m.watchRedis(watching, s.redis)
	go func() { defer close(loaded); w.load(l.seed, end) }()
	m.run(ctx, plans, end)
	<-loaded
	if ctx.Err() != nil {
		return nil, nil, nil, ctx.Err()
	}
	f := w.settle()
	stopWatching()
	found := m.violations()
	if err := m.err(); err != nil {
		return nil, nil, nil, err
	}
	for _, n := range s.nodes {
		for _, crash := range n.process.crashed() {
			found = append(found, violation{Rule: "F9", Text: crash})
		}
	}
	if err := s.stop(); err != nil {
		found = append(found, violation{Rule: "F19", Text: err.Error()})
	}
	if err := s.verified(l.dir); err != nil {
		found = append(found, violation{Rule: "N4", Text: err.Error()})
	}
	return m, newEvidence(w, m, f), found, nil
}

// maxShown is how many violations are printed; all of them are in the folder of the run.
const maxShown = 10

// report prints the one line of a run, and writes the violations down.
func (l *lab) report(e *evidence, m *nemesis, found []violation, undecided int, began time.Time) error {
	acknowledged := 0
	for _, o := range e.ops {
		if o.acknowledged() {
			acknowledged++
		}
	}
	plant := ""
	if l.plant != "" {
		plant = " plant=" + l.plant
	}
	fmt.Fprintf(
		l.out,
		"faultlab: stack=%s seed=%d%s operations=%d faults=%d acknowledged=%d violations=%d undecided=%d time=%v\n",
		l.stackName,
		l.seed,
		plant,
		len(e.ops),
		m.count(),
		acknowledged,
		len(found),
		undecided,
		time.Since(began).Round(100*time.Millisecond),
	)
	if len(found) == 0 {
		return nil
	}
	shown := min(len(found), maxShown)
	if l.plant != "" {
		shown = 1
	}
	for _, v := range found[:shown] {
		fmt.Fprintf(l.out, "  %s\n", v)
	}
	if n := len(found) - shown; n > 0 {
		fmt.Fprintf(l.out, "  and %d more\n", n)
	}
	text, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, "violations.json"), append(text, '\n'), 0o600)
}
