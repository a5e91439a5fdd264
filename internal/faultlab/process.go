//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child that can be killed, frozen and started again. It dies with the lab.
type process struct {
	name    string
	argv    []string
	environ func() []string // beside the lab's own, anew at each start; nil: nothing
	dir     string
	user    *syscall.Credential // nil: the lab's
	logFile string
	up      func() bool // whether it serves

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	wanted  bool // it should be running
	crashes []string
}

// startTimeout is how long a process may take until it serves.
const startTimeout = 60 * time.Second

// start starts the process and waits until it serves.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), p.argv[0], p.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = p.dir, log, log, os.Environ()
	if p.environ != nil {
		cmd.Env = append(cmd.Env, p.environ()...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.SysProcAttr.Credential = p.user
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended, p.wanted = cmd, ended, true
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		if p.wanted {
			p.crashes = append(p.crashes, fmt.Sprintf("%s ended by itself: %v", p.name, err))
		}
		p.mu.Unlock()
		close(ended)
	}()
	return p.await(ended)
}

func (p *process) await(ended chan struct{}) error {
	for deadline := time.Now().Add(startTimeout); p.up != nil && !p.up(); {
		select {
		case <-ended:
			return fmt.Errorf("%s ended before it served; see %s", p.name, p.logFile)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not serve within %v; see %s", p.name, startTimeout, p.logFile)
		}
	}
	return nil
}

// crashed returns how often the process ended that nobody had ended.
func (p *process) crashed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashes
}

// pid returns the process's, 0 if it does not run.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || !p.wanted {
		return 0
	}
	return p.cmd.Process.Pid
}

// signal sends sig to the process and its descendants, those first that might start others.
func (p *process) signal(sig syscall.Signal) {
	if pid := p.pid(); pid > 0 {
		for _, one := range append([]int{pid}, descendants(pid)...) {
			_ = syscall.Kill(one, sig)
		}
	}
}

// kill ends the process and its descendants at once.
func (p *process) kill() {
	p.end(func(pid int) {
		for _, one := range append([]int{pid}, descendants(pid)...) {
			_ = syscall.Kill(one, syscall.SIGKILL)
		}
	})
	p.waitEnded(10 * time.Second)
}

// terminate asks the process to end and reports whether it has, within the time it may take.
func (p *process) terminate(sig syscall.Signal, timeout time.Duration) bool {
	p.end(func(pid int) { _ = syscall.Kill(pid, sig) })
	return p.waitEnded(timeout)
}

func (p *process) end(how func(pid int)) {
	pid := p.pid()
	p.mu.Lock()
	p.wanted = false
	p.mu.Unlock()
	if pid > 0 {
		how(pid)
	}
}

func (p *process) waitEnded(timeout time.Duration) bool {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended == nil {
		return true
	}
	select {
	case <-ended:
		return true
	case <-time.After(timeout):
		return false
	}
}

// descendants returns the children of a process, and theirs.
func descendants(pid int) []int {
	var all []int
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// freePorts returns so many addresses, all different, that nobody listens on. They lie below those
// that the system gives to outgoing connections, so that nobody takes one while its process is
// down.
func freePorts(n int) ([]string, error) {
	addrs := make([]string, 0, n)
	var config net.ListenConfig
	for attempt := 0; len(addrs) < n; attempt++ {
		addr := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(17000))
		listener, err := config.Listen(context.Background(), "tcp", addr)
		switch {
		case err == nil && !slices.Contains(addrs, addr):
			addrs = append(addrs, addr)
		case err != nil && attempt > 1000:
			return nil, err
		}
		if listener != nil {
			_ = listener.Close()
		}
	}
	return addrs, nil
}

// listens reports whether somebody accepts connections at addr.
func listens(addr string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// answers reports whether a GET is answered with 200.
func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return errors.Join(response.Body.Close()) == nil && response.StatusCode == http.StatusOK
}
