package testserver

import (
	"bytes"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// OwnRedis starts a Redis server that the test may treat as it likes, and returns its address and
// process. It skips the test where no redis-server is installed.
func OwnRedis(t testing.TB) (string, *exec.Cmd) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		// The test stops or configures the server. make test installs it.
		t.Skip("redis-server is not installed, and no stand-in will do")
	}
	for range 3 { // somebody else may have taken the port meanwhile
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		server := exec.Command(program, "--port", port, "--bind", "127.0.0.1",
			"--save", "", "--appendonly", "no", "--dir", t.TempDir())
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = server.Wait() }()
		t.Cleanup(func() { _ = server.Process.Kill(); <-ended })
		for {
			if answers(addr, server.Process.Pid) {
				return addr, server
			}
			select {
			case <-ended:
			case <-time.After(10 * time.Millisecond):
				continue
			}
			break
		}
	}
	t.Fatal("redis-server ended three times when it began")
	return "", nil
}

// answers reports whether the server at addr answers and is the process pid.
func answers(addr string, pid int) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("INFO server\r\n")); err != nil {
		return false
	}
	var info []byte
	for piece := make([]byte, 4<<10); ; {
		n, err := conn.Read(piece)
		info = append(info, piece[:n]...)
		if bytes.Contains(info, []byte("process_id:"+strconv.Itoa(pid)+"\r\n")) {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// freeAddr returns an address at which nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
