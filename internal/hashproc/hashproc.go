// Package hashproc has passwords hashed in a process apart that gets a processor only while nobody else wants it. Hashed in the server they
// make every other answer wait: where all processors are busy the scheduler lets a thread that wakes up wait for the turn of another
// one to end, some milliseconds. It is a process and not a thread because x/crypto hashes in goroutines of its own, which run on any thread, and
// because the collector would wait for a thread that gets no processor.
package hashproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	// argument is the first one of a process that hashes, idle the second one of a process that has become idle.
	argument = "hash-passwords"
	idle     = "idle"
	// patience is how long a hash may take before it is computed here: some ten times as long as it should, and half of what those behind it wait.
	patience = 500 * time.Millisecond
	// dead is how late an answer may be of a process that is taken to live.
	dead = 10 * time.Second
	// pause is how long after a failure no process is started.
	pause = time.Minute
	// farewell is how long a process has to end when its server does.
	farewell = 2 * time.Second
)

// Main hashes until its standard input ends, if a Helper started this process, and reports whether one did. The main of a program that has a Helper
// calls it before anything else.
func Main() bool {
	if !asked() {
		return false
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // meant for the server, which still needs this process to stop in order
	if len(os.Args) == 2 {
		if err := becomeIdle(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v: it takes turns with other processes\n", argument, err)
		}
	}
	serve(os.Stdin, os.Stdout)
	return true
}

func asked() bool { return len(os.Args) > 1 && os.Args[1] == argument }

// Helper hashes passwords in another process, which it starts when the first one is to be hashed. It hashes them here while there is none, because it
// failed or was closed or the system is not Linux, and while that one is late, since nobody guarantees it a processor.
type Helper struct {
	command  func() *exec.Cmd
	patience time.Duration
	now      func() time.Time
	log      *slog.Logger

	mu     sync.Mutex
	child  *child    // nil: none runs
	retry  time.Time // no process is started before
	closed bool
}

// New returns a Helper whose processes run this very program. log takes a warning when one fails.
func New(log *slog.Logger) *Helper {
	command := func() *exec.Cmd {
		cmd := again()
		cmd.Stderr = slog.NewLogLogger(log.Handler(), slog.LevelWarn).Writer() // in the format of the log
		return cmd
	}
	return &Helper{command: command, patience: patience, now: time.Now, log: log, closed: !possible || asked()} // one that hashes needs no other
}

// again runs this program, also if its file has been replaced, and keeps the secrets of the environment from it.
func again() *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), self, argument) // it ends with its input
	cmd.Env = []string{}
	return cmd
}

// IDKey is argon2.IDKey. It never fails: what the other process does not do in half a second is done here.
func (h *Helper) IDKey(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
	a := Args{Password: password, Salt: salt, Time: time, Memory: memory, Threads: threads, KeyLen: keyLen}
	if c := h.prompt(); c != nil {
		if key := h.ask(c, a); key != nil {
			return key
		}
	}
	return a.key()
}

// Close ends the process.
func (h *Helper) Close() error {
	h.mu.Lock()
	h.closed = true
	c := h.child
	h.child = nil
	h.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.end()
}

// prompt returns the process, which it starts if there is none, or nil if there can be none or it is late.
func (h *Helper) prompt() *child {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch c := h.child; {
	case c == nil:
		return h.start()
	case c.late == 0:
		return c
	case h.now().Sub(c.since) >= dead:
		h.drop(c, fmt.Errorf("no answer within %v", dead))
	}
	return nil
}

func (h *Helper) start() *child {
	if h.closed || h.now().Before(h.retry) {
		return nil
	}
	c, err := start(h.command())
	if err != nil {
		h.failed(err)
		return nil
	}
	h.child = c
	return c
}

// ask returns the key that c computes, or nil.
func (h *Helper) ask(c *child, a Args) []byte {
	var key []byte
	call := c.rpc.Go("Hashes.IDKey", a, &key, make(chan *rpc.Call, 1))
	timer := time.NewTimer(h.patience)
	defer timer.Stop()
	select {
	case <-call.Done:
		if call.Error == nil {
			return key
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(c, call.Error)
	case <-timer.C:
		h.mu.Lock()
		defer h.mu.Unlock()
		if c.late++; c.late == 1 {
			c.since = h.now()
		}
		go h.await(c, call)
	}
	return nil
}

// await waits for an answer that is late.
func (h *Helper) await(c *child, call *rpc.Call) {
	<-call.Done // also when the process ends
	h.mu.Lock()
	defer h.mu.Unlock()
	c.late--
}

// drop gives up a process. It does not wait until that has ended, for which it may not get a processor soon.
func (h *Helper) drop(c *child, err error) {
	if h.child != c { // another call has dropped it
		return
	}
	h.child = nil
	c.kill()
	h.failed(err)
}

func (h *Helper) failed(err error) {
	h.retry = h.now().Add(pause)
	h.log.Warn("the process that hashes passwords failed: the server hashes them itself", "err", err, "until", h.retry)
}

// child is a process that hashes.
type child struct {
	rpc   *rpc.Client
	cmd   *exec.Cmd
	ended chan struct{}
	late  int       // how many answers are late
	since time.Time // when the first of them was
}

func start(cmd *exec.Cmd) (*child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{rpc: rpc.NewClient(pipe{out, in}), cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // what was asked of it tells if it ended too early
	}()
	return c, nil
}

// end lets the process end, since it has no more input.
func (c *child) end() error {
	err := c.rpc.Close()
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		c.kill()
	}
	if err != nil && !errors.Is(err, rpc.ErrShutdown) {
		return fmt.Errorf("hashproc: %w", err)
	}
	return nil
}

func (c *child) kill() { _ = c.cmd.Process.Kill() } // an error says that it has ended

// pipe is a connection between two processes.
type pipe struct {
	io.Reader
	io.WriteCloser
}

// Args are those of argon2.IDKey. They are exported for net/rpc.
type Args struct {
	Password, Salt []byte
	Time, Memory   uint32
	Threads        uint8
	KeyLen         uint32
}

func (a Args) key() []byte {
	return argon2.IDKey(a.Password, a.Salt, a.Time, a.Memory, a.Threads, a.KeyLen)
}

// Hashes is what net/rpc serves.
type Hashes struct{}

// IDKey computes one key.
func (Hashes) IDKey(a Args, key *[]byte) error {
	*key = a.key()
	return nil
}

// serve computes the keys that are asked for on in, all at once, until it ends.
func serve(in io.Reader, out io.WriteCloser) {
	server := rpc.NewServer()
	if err := server.Register(Hashes{}); err != nil {
		panic(err) // IDKey is not what net/rpc takes
	}
	server.ServeConn(pipe{in, out})
}
