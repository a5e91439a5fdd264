package main

import (
	"io"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	env := map[string]string{"KHODNEVIS_ADDR": "127.0.0.1:9000", "KHODNEVIS_DATA": "env.db"}
	s, rest, err := readSettings([]string{"-data", "flag.db", "staff", "ana"}, func(name string) string { return env[name] }, io.Discard)
	want := settings{addr: "127.0.0.1:9000", data: "flag.db", role: "all", recalculate: "@every 30s", limits: "on"}
	if err != nil || s != want || strings.Join(rest, " ") != "staff ana" {
		t.Errorf("%+v %v %v, want %+v", s, rest, err, want)
	}
	_, _, err = readSettings([]string{"-addr", "8000", "-role", "boss", "-limits", "maybe"}, func(string) string { return "" }, io.Discard)
	for _, name := range []string{"-addr", "-role", "-limits"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not mention %s", err, name)
		}
	}
}
