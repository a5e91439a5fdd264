package main

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"--help"}, {"-addr", "nonsense", "-help", "nonsense"}} {
		var stdout, stderr testutil.Log
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
	// A name may begin as flags do, and after "--" it may even be one.
	for _, line := range []string{"staff -ana", "staff -- -ana", "staff -- -data", "staff -- --"} {
		_, rest, err := readSettings(strings.Fields(line), nil, io.Discard)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		words := strings.Fields(line)
		if c, rest, err := find(rest); err != nil || c.name() != "staff" || !slices.Equal(rest, words[len(words)-1:]) {
			t.Errorf("%s: %q %v", line, rest, err)
		}
	}
}

// A backup is taken while a server works on the file, and another one goes on from it.
func TestBackupCommand(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	data, copied := filepath.Join(folder, "data.db"), filepath.Join(folder, "copy.db")
	s := settings{data: data, role: "all", recalculate: "@every 30s", limits: "off"}
	b, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	made, err := b.app.Contents.Create(t.Context(), "ana", content.Draft{Title: "Stalker"})
	if err != nil {
		t.Fatal(err)
	}
	told := func(args ...string) (string, error) {
		var stdout, stderr testutil.Log
		err := run(t.Context(), args, nil, nil, &stdout, &stderr)
		return stdout.String(), err
	}
	if says, err := told("-data", data, "backup", copied); err != nil || says != copied+" has everything\n" {
		t.Fatalf("%q, %v", says, err)
	}
	if _, err := told("-data", data, "backup", copied); err == nil {
		t.Error("a second one over the first one: no error")
	}
	if err := backup(t.Context(), settings{postgres: "host=db"}, []string{copied + "2"}, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("of a database: %v", err)
	}
	s.data = copied
	other, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if got, err := other.app.Contents.Get(t.Context(), made.ID); err != nil || got.Title != "Stalker" {
		t.Errorf("%+v, %v", got, err)
	}
}
