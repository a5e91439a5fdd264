//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// node is one process of the bundled server, with a link of its own to each dependency.
type node struct {
	name, addr, role string
	process          *process
	links            map[string]*link // by the name of the dependency
	starts           atomic.Int64
}

func (n *node) url(path string) string { return "http://" + n.addr + path }

// stack is the system under test.
type stack struct {
	name    string
	nodes   []*node   // all of them
	apis    []*node   // those that serve the API
	servers []*server // none in the embedded stack
	disk    *disk     // of the embedded stack
	redis   string    // where Redis itself listens; "" without one
	pgBin   string
	// verify are the settings with which the commands of the server reach the data past all links.
	verify []string
	binary string
}

// stopTimeout is how long a server may take to end when it is told to: 25 s for requests in flight,
// 10 s for the batch, and a little.
const stopTimeout = 37 * time.Second

// build compiles the bundled server. planted builds it with the hooks of internal/planted.
func build(root, dir string, planted bool) (string, error) {
	binary := filepath.Join(dir, "server")
	args := []string{"build", "-o", binary}
	if planted {
		args = append(args, "-tags", "planted")
	}
	cmd := exec.CommandContext(context.Background(), "go", append(args, "./examples/server")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return binary, nil
}

// newNode returns a node whose settings are fixed, and whose bug, if one is planted, has a clock
// that differs from start to start.
func newNode(dir, binary, name, addr, role, plant string, settings ...string) *node {
	n := &node{name: name, addr: addr, role: role, links: map[string]*link{}}
	settings = append(
		settings,
		"KHODNEVIS_ADDR="+addr,
		"KHODNEVIS_ROLE="+role,
		"KHODNEVIS_LIMITS=off",
		"KHODNEVIS_RECALCULATE=@every 2s",
	)
	n.process = &process{
		name: name, argv: []string{binary}, dir: dir, logFile: filepath.Join(dir, name+".log"),
		environ: func() []string {
			environ := slices.Clone(settings)
			if plant != "" {
				skew := clockSkew
				if (n.starts.Add(1)+int64(strings.Count(name, "1")))%2 == 0 {
					skew = -skew
				}
				environ = append(environ, "KHODNEVIS_TEST_PLANTED="+plant, "KHODNEVIS_TEST_SKEW="+skew.String())
			}
			return environ
		},
		up: func() bool { return answers(n.url("/livez")) },
	}
	return n
}

// clockSkew is by how much the clocks of nodes are wrong where the planted bug looks at them.
const clockSkew = 10 * time.Second

func (l *lab) newStack() (*stack, error) {
	binary, err := build(l.root, l.dir, l.plant != "")
	if err != nil {
		return nil, err
	}
	s := &stack{name: l.stackName, binary: binary}
	switch l.stackName {
	case "embedded":
		err = s.embedded(l)
	case "services":
		err = s.services(l)
	default:
		err = fmt.Errorf("-stack %s: there are embedded and services", l.stackName)
	}
	return s, err
}

// embedded is one process on one file.
func (s *stack) embedded(l *lab) error {
	addrs, err := freePorts(1)
	if err != nil {
		return err
	}
	if s.disk, err = newDisk(filepath.Join(l.dir, "disk")); err != nil {
		return err
	}
	data := "KHODNEVIS_DATA=" + filepath.Join(s.disk.dir, "lab.db")
	n := newNode(l.dir, s.binary, "server1", addrs[0], "all", l.plant, data)
	s.nodes, s.apis, s.verify = []*node{n}, []*node{n}, []string{data}
	return s.startNodes()
}

// services are two API servers and two workers on servers of their own.
func (s *stack) services(l *lab) error {
	addrs, err := freePorts(4 + 4*4 + 4)
	if err != nil {
		return err
	}
	next := func() string { a := addrs[0]; addrs = addrs[1:]; return a }
	postgres, kafka, controller, redis := next(), next(), next(), next()
	s.redis = redis
	settings := func(postgres, kafka, redis string) []string {
		return []string{
			"KHODNEVIS_POSTGRES=postgres://khodnevis@" + postgres + "/postgres?sslmode=disable",
			"KHODNEVIS_KAFKA=" + kafka,
			"KHODNEVIS_REDIS=" + redis,
		}
	}
	s.verify = settings(postgres, kafka, redis)
	via := map[string]string{}
	for _, name := range []string{"api1", "api2", "worker1", "worker2"} {
		broker := next()
		targets := map[string]string{"postgres": postgres, "kafka": broker, "redis": redis}
		links := map[string]*link{}
		for _, dependency := range slices.Sorted(maps.Keys(targets)) {
			if links[dependency], err = newLink(next(), targets[dependency]); err != nil {
				return err
			}
		}
		via[broker] = links["kafka"].listen
		n := newNode(
			l.dir,
			s.binary,
			name,
			next(),
			strings.TrimRight(name, "12"),
			l.plant,
			settings(links["postgres"].listen, links["kafka"].listen, links["redis"].listen)...)
		n.links = links
		s.nodes = append(s.nodes, n)
		if n.role == "api" {
			s.apis = append(s.apis, n)
		}
	}
	if err := s.serve(l, postgres, kafka, controller, redis, via); err != nil {
		return err
	}
	return s.startNodes()
}

// startNodes starts all of them and waits until those that serve the API are ready.
func (s *stack) startNodes() error {
	if err := all(s.nodes, func(n *node) error { return n.process.start() }); err != nil {
		return err
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		if !slices.ContainsFunc(s.apis, func(n *node) bool { return !answers(n.url("/readyz")) }) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the servers are not ready within %v", startTimeout)
		}
	}
}

// serve makes and starts the dependencies.
func (s *stack) serve(l *lab, postgres, kafka, controller, redis string, via map[string]string) error {
	pg, bin, err := newPostgres(l.dir, postgres)
	if err != nil {
		return err
	}
	s.pgBin = bin
	broker, err := newKafka(l.root, l.dir, kafka, controller, via)
	if err != nil {
		return err
	}
	s.servers = []*server{pg, broker, newRedis(l.dir, redis)}
	return all(s.servers, func(one *server) error { return one.start() })
}

// all does something for each at once.
func all[T any](of []T, do func(T) error) error {
	errs := make(chan error, len(of))
	for _, one := range of {
		go func() { errs <- do(one) }()
	}
	var failed error
	for range of {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

// stop ends the nodes as a deployment does, and says which did not end in time.
func (s *stack) stop() error {
	return all(s.nodes, func(n *node) error {
		if !n.process.terminate(syscall.SIGTERM, stopTimeout) {
			n.process.signal(syscall.SIGQUIT) // its goroutines go to its log
			return fmt.Errorf("%s did not end within %v of SIGTERM", n.name, stopTimeout)
		}
		return nil
	})
}

// verified runs the server's own recount.
func (s *stack) verified(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.binary, "verify")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), s.verify...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("server verify: %w: %s", err, out)
	}
	return nil
}

// close ends whatever runs.
func (s *stack) close() {
	for _, n := range s.nodes {
		n.process.signal(syscall.SIGCONT)
		n.process.kill()
		for _, link := range n.links {
			link.close()
		}
	}
	for _, one := range s.servers {
		one.signal(syscall.SIGCONT)
		one.kill()
	}
	if s.disk != nil {
		s.disk.close()
	}
}
