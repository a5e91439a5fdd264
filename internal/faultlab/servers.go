//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a dependency of the services stack: a process of the lab's own, with its data in the
// folder of the run.
type server struct {
	name   string // postgres, kafka or redis
	addr   string
	start  func() error
	kill   func() // at once, with all that it had not written
	stop   func() // as its operator would
	signal func(syscall.Signal)
}

// newPostgres makes a database cluster and returns its server, which is not started, and the folder
// of its programs. PostgreSQL refuses to be root.
func newPostgres(dir, addr string) (*server, string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return nil, "", errors.New("no PostgreSQL in /usr/lib/postgresql; make faults installs it on Debian")
	}
	bin := filepath.Dir(found[len(found)-1])
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, "", err
	}
	var owner *syscall.Credential
	if os.Getuid() == 0 {
		if owner, err = credential("postgres"); err != nil {
			return nil, "", err
		}
		if err := os.Chown(data, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, "", err
		}
	}
	initdb := exec.CommandContext(
		context.Background(), filepath.Join(bin, "initdb"), "-D", data, "-U", "khodnevis", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync",
	)
	initdb.Dir, initdb.SysProcAttr = "/", &syscall.SysProcAttr{Credential: owner}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(addr)
	p := &process{
		name: "postgres", dir: "/", user: owner, logFile: filepath.Join(dir, "postgres.log"),
		argv: []string{
			filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c",
			"unix_socket_directories=", "-c", "shared_buffers=128MB", "-c", "max_connections=300",
		},
		up: func() bool { return psql(bin, addr, "SELECT 1") == nil },
	}
	return &server{name: "postgres", addr: addr, start: p.start, kill: p.kill, signal: p.signal,
		stop: func() { p.terminate(syscall.SIGINT, 20*time.Second) }}, bin, nil
}

// psql runs one statement.
func psql(bin, addr, statement string) error {
	host, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(
		ctx, filepath.Join(bin, "psql"), "-X", "-q", "-h", host, "-p", port, "-U", "khodnevis", "-d", "postgres",
		"-c", statement,
	)
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=5")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// terminateBackends ends all connections of clients, in the midst of what they do.
const terminateBackends = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`

func credential(name string) (*syscall.Credential, error) {
	account, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// newRedis returns a Redis that keeps nothing.
func newRedis(dir, addr string) *server {
	_, port, _ := net.SplitHostPort(addr)
	p := &process{
		name: "redis", dir: dir, logFile: filepath.Join(dir, "redis.log"),
		argv: []string{
			"redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir,
		},
		up: func() bool { return redisDo(addr, "PING", time.Second) == nil },
	}
	return &server{name: "redis", addr: addr, start: p.start, kill: p.kill, signal: p.signal,
		stop: func() { p.terminate(syscall.SIGTERM, 20*time.Second) }}
}

// redisDo sends one command without arguments and waits for its answer.
func redisDo(addr, command string, timeout time.Duration) error {
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err == nil && answer[0] != '+' {
		err = fmt.Errorf("redis: %s", answer[:n])
	}
	return err
}

// newKafka returns a broker with one listener more for each of via, which maps addresses to listen
// on to those that clients are told: the links in front of them. Otherwise clients would go on past
// their links.
func newKafka(root, dir, addr, controller string, via map[string]string) (*server, error) {
	_, port, _ := net.SplitHostPort(addr)
	_, controllerPort, _ := net.SplitHostPort(controller)
	home := filepath.Join(dir, "kafka")
	var advertised []string
	for listen, link := range via {
		_, from, _ := net.SplitHostPort(listen)
		_, to, _ := net.SplitHostPort(link)
		advertised = append(advertised, from+":"+to)
	}
	libs := os.Getenv("KAFKA_LIBS")
	if libs == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		libs = filepath.Join(cache, "khodnevis-kafka")
	}
	environ := []string{
		"KAFKA_DIR=" + home,
		"KAFKA_LIBS=" + libs,
		"KAFKA_PORT=" + port,
		"CONTROLLER_PORT=" + controllerPort,
		"KAFKA_ADVERTISED=" + strings.Join(advertised, " "),
		"KAFKA_HEAP=-Xms192m -Xmx320m",
	}
	script := func(verb string) error {
		cmd := exec.CommandContext(context.Background(), "bash", filepath.Join(root, "internal/testserver/kafka.sh"), verb)
		cmd.Env, cmd.Dir = append(os.Environ(), environ...), dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		log, err := os.OpenFile(filepath.Join(dir, "kafka.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("kafka.sh %s: %w; see %s", verb, err, log.Name())
		}
		return nil
	}
	signal := func(sig syscall.Signal) {
		text, err := os.ReadFile(filepath.Join(home, "pid"))
		if pid, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil && pid > 0 {
			_ = syscall.Kill(pid, sig)
		}
	}
	kill := func() {
		signal(syscall.SIGKILL)
		for range 500 {
			if !listens(addr) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = os.Remove(filepath.Join(home, "pid"))
	}
	return &server{
		name:   "kafka",
		addr:   addr,
		start:  func() error { return script("start") },
		kill:   kill,
		stop:   func() { _ = script("stop") },
		signal: signal,
	}, nil
}
