package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// T6: a start that fails leaves no file: settings are checked first, then the addresses taken, and
// only then is there one.
func TestFailedStartLeavesNoFile(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, args := range map[string][]string{
		"a taken port":              {"-addr", taken.Addr().String()},
		"a taken port for metrics":  {"-addr", "127.0.0.1:0", "-metrics", taken.Addr().String()},
		"memory":                    {"-data", ":memory:"},
		"a database for a file":     {"-data", "postgres://u:word@127.0.0.1/db"},
		"no folder":                 {"-data", "missing/data.db"},
		"a bad database":            {"-postgres", "127.0.0.1"},
		"a bad broker":              {"-postgres", "postgres://u@127.0.0.1/db", "-kafka", "127.0.0.1"},
		"a bad Redis":               {"-redis", "http://127.0.0.1"},
		"a bad schedule":            {"-recalculate", "never"},
		"a bad number of workers":   {"-workers", "10000"},
		"a bad batch":               {"-batch", "-1"},
		"a queue of another's file": {"-role", "api", "-postgres", "postgres://u@127.0.0.1/db"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var printed testutil.Log
			if err := run(t.Context(), append([]string{"-addr", "127.0.0.1:0"}, args...), nil, nil, &printed,
				&printed); err == nil {
				t.Errorf("it succeeds: %s", &printed)
			}
			if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
				t.Errorf("it leaves %v, %v", entries, err)
			}
		})
	}
}

// A file of the data that others may read is told of when the server begins, with those that SQLite
// keeps beside it.
func TestExposedFilesAreLogged(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	data, link := filepath.Join(folder, "data.db"), filepath.Join(t.TempDir(), "link.db")
	db, err := sqlitestore.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mode   os.FileMode
		suffix string
	}{{0o640, ""}, {0o604, "-wal"}, {0o602, "-shm"}, {0o600, ""}} {
		if err := os.Chmod(data+c.suffix, c.mode); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{data, link} {
			s := settings{data: path, role: "all", recalculate: "@every 30s", limits: "off", log: "json"}
			var log testutil.Log
			b, err := plan(s, false, newLogger(s.log, &log))
			if err == nil {
				err = b.build()
			}
			if err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(log.String(), `"file":"`+data+c.suffix+`"`); told != (c.mode != 0o600) {
				t.Errorf("%s%s with mode %v: %s", path, c.suffix, c.mode, &log)
			}
			if err := b.close(); err != nil {
				t.Error(err)
			}
		}
		if err := os.Chmod(data+c.suffix, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// With a log of JSON there is nothing else on standard error, whatever fails, and however early.
func TestEveryLineIsJSON(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data.db")
	for name, c := range map[string]struct {
		args, environ []string
	}{
		"a flag that is none":          {args: []string{"-nonsense", "-log", "json"}},
		"a flag that is none, environ": {args: []string{"-nonsense"}, environ: []string{"KHODNEVIS_LOG=json"}},
		"a flag without its value":     {args: []string{"-log=json", "-data"}},
		"a number that is none":        {args: []string{"--log", "json", "-workers", "many"}},
		"a setting that is wrong":      {args: []string{"-log", "json", "-addr", "nowhere", "-role", "boss"}},
		"a command that is none":       {args: []string{"-log", "json", "nonsense"}},
		"a flag behind a command":      {args: []string{"-log", "json", "verify", "-data", data}},
		"a variable that is none": {args: []string{"-log", "json", "-addr", "127.0.0.1:70000"},
			environ: []string{"KHODNEVIS_NONSENSE=1"}},
		"no file":     {args: []string{"-log", "json", "-data", data, "verify"}},
		"no server":   {args: []string{"-log", "json", "-addr", "127.0.0.1:1", "health"}},
		"no database": {args: []string{"-log", "json", "-postgres", "postgres://u@127.0.0.1:1/db", "verify"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), exe, c.args...)
			cmd.Env = slices.Concat(childEnv(), c.environ)
			var stderr testutil.Log
			cmd.Stderr = &stderr
			if err := cmd.Run(); err == nil {
				t.Error("it succeeds")
			}
			everyLineIsJSON(t, stderr.String())
		})
	}
	t.Run("a server", func(t *testing.T) {
		t.Parallel()
		c := start(t, filepath.Join(t.TempDir(), "data.db"), "-log", "json")
		c.signUp("ana")
		address := strings.TrimPrefix(c.url, "http://")
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("\x16\x03\x01 this is no HTTP\r\n\r\n")); err != nil { // net/http logs that
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && !strings.Contains(line, "400") {
			t.Errorf("it says %q", line)
		}
		if err := c.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		everyLineIsJSON(t, c.log.String())
	})
}

func everyLineIsJSON(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines {
		var record struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Time == "" || record.Level == "" ||
			record.Msg == "" {
			t.Errorf("this is no record: %s", line)
		}
	}
}
