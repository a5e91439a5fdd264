//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// fault is something that goes wrong and ends.
type fault struct {
	name string
	// locks are what it breaks. Of two faults with a lock in common, the second waits for the end of
	// the first.
	locks []string
	// forgets reports that a cache may have lost, or not have taken, what it should have.
	forgets bool
	// longest is how long it may last between begin and end. 0: it is over when it has begun.
	longest    time.Duration
	begin, end func() error
}

// faults draws one fault of the stack.
func (s *stack) faults(r *rand.Rand) fault {
	kinds := []func(*rand.Rand) fault{s.killed, s.killed, s.crashLoop, s.frozen, s.restarted}
	if s.disk != nil && s.disk.small {
		kinds = append(kinds, s.diskFull)
	}
	if len(s.servers) > 0 {
		kinds = append(kinds, s.cutOff, s.cutOff, s.cutOff, s.allCutOff, s.allCutOff,
			s.serverCrashed, s.serverFrozen, s.flushed, s.backendsEnded, s.rolling)
	}
	return kinds[r.IntN(len(kinds))](r)
}

func seconds(r *rand.Rand, least, most float64) time.Duration {
	return time.Duration((least + r.Float64()*(most-least)) * float64(time.Second)).Round(time.Millisecond)
}

// remembers reports whether what the node has given to its cache, or was about to, may be lost when
// the node is hit.
func (n *node) remembers() bool { return n.role != "worker" }

// killed is kill -9 of a node.
func (s *stack) killed(r *rand.Rand) fault {
	n := s.nodes[r.IntN(len(s.nodes))]
	return fault{name: "kill -9 " + n.name, locks: []string{n.name}, forgets: n.remembers(), longest: seconds(r, 0, 2.5),
		begin: func() error { n.process.kill(); return nil }, end: n.process.start}
}

// crashLoop is kill -9 of a node as soon as it is at work again, several times.
func (s *stack) crashLoop(r *rand.Rand) fault {
	n := s.nodes[r.IntN(len(s.nodes))]
	lives := make([]time.Duration, 3+r.IntN(4))
	for i := range lives {
		lives[i] = seconds(r, 0.05, 0.6)
	}
	return fault{
		name:    fmt.Sprintf("%d times kill -9 %s", len(lives), n.name),
		locks:   []string{n.name},
		forgets: n.remembers(),
		begin: func() error {
			for _, life := range lives {
				time.Sleep(life)
				n.process.kill()
				if err := n.process.start(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// frozen is SIGSTOP and SIGCONT of a node.
func (s *stack) frozen(r *rand.Rand) fault {
	n := s.nodes[r.IntN(len(s.nodes))]
	return fault{name: "SIGSTOP " + n.name, locks: []string{n.name}, forgets: n.remembers(), longest: seconds(r, 0.3, 7),
		begin: func() error { n.process.signal(syscall.SIGSTOP); return nil },
		end:   func() error { n.process.signal(syscall.SIGCONT); return nil }}
}

// restarted is a clean stop and start of a node.
func (s *stack) restarted(r *rand.Rand) fault {
	n := s.nodes[r.IntN(len(s.nodes))]
	return fault{
		name:    "SIGTERM " + n.name,
		locks:   []string{n.name},
		forgets: n.remembers(),
		begin:   func() error { return n.restart() },
	}
}

func (n *node) restart() error {
	if !n.process.terminate(syscall.SIGTERM, stopTimeout) {
		n.process.signal(syscall.SIGQUIT)
		return violated("F19", fmt.Sprintf("%s did not end within %v of SIGTERM", n.name, stopTimeout))
	}
	return n.process.start()
}

// rolling restarts all nodes, one after the other, as a deployment does.
func (s *stack) rolling(*rand.Rand) fault {
	f := fault{name: "rolling restart", forgets: true}
	for _, n := range s.nodes {
		f.locks = append(f.locks, n.name)
	}
	f.begin = func() error {
		for _, n := range s.nodes {
			if err := n.restart(); err != nil {
				return err
			}
		}
		return nil
	}
	return f
}

// diskFull leaves no room on the disk. Every other time the server is killed meanwhile, and has
// room again when it comes back.
func (s *stack) diskFull(r *rand.Rand) fault {
	n := s.nodes[0]
	f := fault{
		name:    "disk full",
		locks:   []string{n.name},
		longest: seconds(r, 1, 6),
		begin:   s.disk.fill,
		end:     s.disk.clear,
	}
	if r.IntN(2) == 0 {
		f.name, f.forgets = "disk full, kill -9", true
		f.end = func() error {
			n.process.kill()
			return errors.Join(s.disk.clear(), n.process.start())
		}
	}
	return f
}

// drawTrouble draws what a link does, and how late things come.
func drawTrouble(r *rand.Rand) (trouble, time.Duration) {
	mode := []trouble{refuse, blackhole, oneWay, latency}[r.IntN(4)]
	return mode, time.Duration(20+r.IntN(400)) * time.Millisecond
}

// cutOff is trouble between one node and one dependency.
func (s *stack) cutOff(r *rand.Rand) fault {
	n, dependency := s.nodes[r.IntN(len(s.nodes))], s.servers[r.IntN(len(s.servers))].name
	return s.between([]*node{n}, dependency, n.name, r)
}

// allCutOff is trouble between all nodes and one dependency.
func (s *stack) allCutOff(r *rand.Rand) fault {
	return s.between(s.nodes, s.servers[r.IntN(len(s.servers))].name, "all", r)
}

func (s *stack) between(nodes []*node, dependency, who string, r *rand.Rand) fault {
	mode, delay := drawTrouble(r)
	f := fault{
		name:    fmt.Sprintf("%s %s-%s", troubleNames[mode], who, dependency),
		forgets: dependency != "kafka",
		longest: seconds(r, 0.5, 8),
	}
	if mode == latency {
		f.name += " " + delay.String()
	}
	for _, n := range nodes {
		f.locks = append(f.locks, n.name+"-"+dependency)
	}
	set := func(mode trouble) error {
		return all(nodes, func(n *node) error { return n.links[dependency].set(mode, delay) })
	}
	f.begin, f.end = func() error { return set(mode) }, func() error { return set(none) }
	return f
}

// serverCrashed is the sudden end, or the clean one, of a dependency, and its return.
func (s *stack) serverCrashed(r *rand.Rand) fault {
	one, clean := s.servers[r.IntN(len(s.servers))], r.IntN(2) == 0
	f := fault{
		name:    "kill -9 " + one.name,
		locks:   []string{one.name},
		forgets: one.name != "kafka",
		longest: seconds(r, 0, 3),
		begin:   func() error { one.kill(); return nil },
		end:     one.start,
	}
	if clean {
		f.name, f.begin = "restart "+one.name, func() error { one.stop(); return nil }
	}
	return f
}

func (s *stack) serverFrozen(r *rand.Rand) fault {
	one := s.servers[r.IntN(len(s.servers))]
	return fault{
		name:    "SIGSTOP " + one.name,
		locks:   []string{one.name},
		forgets: one.name != "kafka",
		longest: seconds(r, 0.5, 7),
		begin:   func() error { one.signal(syscall.SIGSTOP); return nil },
		end:     func() error { one.signal(syscall.SIGCONT); return nil },
	}
}

func (s *stack) flushed(*rand.Rand) fault {
	return fault{
		name:    "FLUSHALL",
		locks:   []string{"redis"},
		forgets: true,
		begin:   func() error { return redisDo(s.redis, "FLUSHALL", 5*time.Second) },
	}
}

func (s *stack) backendsEnded(*rand.Rand) fault {
	return fault{
		name:  "terminate back ends",
		locks: []string{"postgres"},
		begin: func() error { return psql(s.pgBin, s.servers[0].addr, terminateBackends) },
	}
}
