package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	env := map[string]string{"KHODNEVIS_ADDR": "127.0.0.1:9000", "KHODNEVIS_DATA": "env.db", "KHODNEVIS_TRUSTED_PROXIES": "10.0.0.1"}
	s, rest, err := readSettings([]string{"-data", "flag.db", "staff", "ana"}, func(name string) string { return env[name] }, io.Discard)
	want := settings{addr: "127.0.0.1:9000", data: "flag.db", role: "all", recalculate: "@every 30s", limits: "on", proxies: "10.0.0.1"}
	if err != nil || s != want || strings.Join(rest, " ") != "staff ana" {
		t.Errorf("%+v %v %v, want %+v", s, rest, err, want)
	}
	_, _, err = readSettings([]string{"-addr", "8000", "-role", "boss", "-limits", "maybe", "-trusted-proxies", "lb"}, func(string) string { return "" }, io.Discard)
	for _, name := range []string{"-addr", "-role", "-limits", "-trusted-proxies"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not mention %s", err, name)
		}
	}
}

// Roles are for processes that share a queue. In a file of one host they do only together with the store.
func TestRolesShareAQueue(t *testing.T) {
	t.Parallel()
	const postgres = "postgres://u@127.0.0.1/db"
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"-role", "api"}, true},
		{[]string{"-role", "worker"}, true},
		{[]string{"-role", "all", "-postgres", postgres}, true},
		{[]string{"-role", "api", "-postgres", postgres, "-kafka", "127.0.0.1:9092"}, true},
		{[]string{"-role", "worker", "-postgres", postgres, "-kafka", "127.0.0.1:9092"}, true},
		{[]string{"-role", "api", "-postgres", postgres}, false},
		{[]string{"-role", "worker", "-postgres", postgres}, false},
	} {
		_, _, err := readSettings(c.args, func(string) string { return "" }, io.Discard)
		if c.ok != (err == nil) || !c.ok && !strings.Contains(err.Error(), "-kafka") {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestParsePrefixes(t *testing.T) {
	t.Parallel()
	got, err := parsePrefixes("10.0.0.1, 192.168.0.0/16,2001:db8::/32,")
	if want := "[10.0.0.1/32 192.168.0.0/16 2001:db8::/32]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v %v, want %s", got, err, want)
	}
	for _, bad := range []string{"lb", "10.0.0.0/33", "10.0.0.1:80"} {
		if got, err := parsePrefixes(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
