package main

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"--help"}, {"-addr", "nonsense", "-help", "nonsense"}} {
		var stdout, stderr output
		if err := run(t.Context(), args, nil, nil, &stdout, &stderr); err != nil || stderr.String() != "" {
			t.Errorf("%q: %v\n%s", args, err, &stderr)
		}
		var want []string
		for _, c := range commands {
			want = append(want, "\n  "+c.usage+" ", c.about+"\n")
		}
		for _, text := range append(want, "-addr", "(KHODNEVIS_ADDR)", "-trusted-proxies", "(KHODNEVIS_TRUSTED_PROXIES)") {
			if !strings.Contains(stdout.String(), text) {
				t.Errorf("%q does not tell %q:\n%s", args, text, &stdout)
			}
		}
	}
}

// What cannot be meant is told together with what can be, before anything is opened.
func TestWrongCommands(t *testing.T) {
	t.Parallel()
	var all []string
	for _, c := range commands {
		all = append(all, c.usage)
	}
	for line, want := range map[string][]string{
		"nonsense":                  all,
		"help":                      all,
		"staff":                     {"server [flags] staff NAME"},
		"staff a b":                 {"server [flags] staff NAME"},
		"recalculate a b":           {"server [flags] recalculate [ID]"},
		"serve now":                 {"server [flags] serve"},
		"health now":                {"server [flags] health"},
		"staff ana -data x":         {"-data", "before the command", "server [flags] staff"},
		"staff ana --data=x":        {"-data", "before the command"},
		"verify -h":                 {"-h", "before the command"},
		"serve -addr 127.0.0.1:0":   {"-addr", "before the command"},
		"-nonsense -data x":         {"-nonsense", "server -h"},
		"-data":                     {"-data", "server -h"},
		"-role boss -limits x nope": {"-role", "-limits"},
	} {
		data := filepath.Join(t.TempDir(), "none.db")
		err := run(t.Context(), strings.Fields(line), []string{"KHODNEVIS_DATA=" + data}, nil, io.Discard, io.Discard)
		if err == nil || slices.ContainsFunc(want, func(text string) bool { return !strings.Contains(err.Error(), text) }) {
			t.Errorf("%q: %v", line, err)
		}
	}
	// A name may begin as flags do.
	if _, rest, err := readSettings([]string{"staff", "-ana"}, nil, io.Discard); err != nil || len(rest) != 2 {
		t.Errorf("%q %v", rest, err)
	}
}
