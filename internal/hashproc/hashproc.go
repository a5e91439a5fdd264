// Package hashproc has passwords hashed in a process apart that gets a processor only while nobody else wants it. Hashed in the server they
// make every other answer wait: where all processors are busy the scheduler lets a thread that wakes up wait for the turn of another
// one to end, some milliseconds. It is a process and not a thread because x/crypto hashes in goroutines of its own, which run on any thread, and
// because the collector would wait for a thread that gets no processor.
package hashproc

import (
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
	// argument is the only one of a process that hashes.
	argument = "hash-passwords"
	// patience is how long a hash may take: some hundred times as long as it should.
	patience = 10 * time.Second
	// pause is how long after a failure no process is started.
	pause = time.Minute
)

// Main hashes until its standard input ends, if a Helper started this process, and reports whether one did. The main of a program that has a Helper
// calls it before anything else.
func Main() bool {
	if len(os.Args) != 2 || os.Args[1] != argument {
		return false
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // meant for the server, which still needs this process to stop in order
	serve(os.Stdin, os.Stdout)
	return true
}

// Helper hashes passwords in another process, which it starts when the first one is to be hashed. Without one, because it failed, was closed or
// the system is not Linux, it hashes in this process.
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
	return &Helper{command: again, patience: patience, now: time.Now, log: log, closed: !possible}
}

// again runs this program, also if its file has been replaced, and keeps the secrets of the environment from it.
func again() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", argument)
	cmd.Env, cmd.Stderr = []string{}, os.Stderr
	return cmd
}

// IDKey is argon2.IDKey. It never fails: what the other process does not do in 10 seconds is done in this one.
func (h *Helper) IDKey(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
	a := Args{Password: password, Salt: salt, Time: time, Memory: memory, Threads: threads, KeyLen: keyLen}
	if c := h.running(); c != nil {
		key, err := c.ask(a, h.patience)
		if err == nil {
			return key
		}
		h.drop(c, err)
	}
	return a.key()
}

// Close ends the process.
func (h *Helper) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.child == nil {
		return nil
	}
	c := h.child
	h.child = nil
	return c.end(h.patience)
}

// running returns the process, which it starts if there is none, or nil.
func (h *Helper) running() *child {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.child != nil || h.closed || h.now().Before(h.retry) {
		return h.child
	}
	c, err := start(h.command())
	if err != nil {
		h.failed(err)
		return nil
	}
	h.child = c
	return c
}

// drop ends a process that failed.
func (h *Helper) drop(c *child, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.child == c { // else another call has dropped it
		h.child = nil
		c.kill()
		h.failed(err)
	}
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
}

func start(cmd *exec.Cmd) (*child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startIdle(cmd); err != nil {
		return nil, err
	}
	c := &child{rpc: rpc.NewClient(pipe{out, in}), cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // what was asked of it tells if it ended too early
	}()
	return c, nil
}

func (c *child) ask(a Args, patience time.Duration) ([]byte, error) {
	var key []byte
	call := c.rpc.Go("Hashes.IDKey", a, &key, make(chan *rpc.Call, 1))
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-call.Done:
		return key, call.Error
	case <-timer.C:
		return nil, fmt.Errorf("no answer within %v", patience)
	}
}

// end lets the process end, since it has no more input.
func (c *child) end(patience time.Duration) error {
	if err := c.rpc.Close(); err != nil && !errors.Is(err, rpc.ErrShutdown) {
		c.kill()
		return fmt.Errorf("hashproc: %w", err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		c.kill()
	}
	return nil
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // an error says that it has ended
	<-c.ended
}

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
