package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// Operators change accounts by commands. Each ends the sessions of the account, and says so.
func TestAccountCommands(t *testing.T) {
	t.Parallel()
	const first, second = "a rather long one", "quite another long one"
	data := filepath.Join(t.TempDir(), "data.db")
	b, err := open(settings{data: data, role: "all", recalculate: "@every 30s", limits: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	users := b.app.Users
	ana, err := users.Register(t.Context(), auth.Registration{Username: "ana", Password: first}, auth.Source{})
	if err != nil {
		t.Fatal(err)
	}
	login := func(password string) error {
		_, err := users.Login(t.Context(), auth.Credentials{Username: "ana", Password: password}, auth.Source{})
		return err
	}
	told := func(stdin string, args ...string) (string, string, error) {
		var stdout, stderr testutil.Log
		err := run(t.Context(), append([]string{"-data", data}, args...), nil, strings.NewReader(stdin), &stdout, &stderr)
		return stdout.String(), stderr.String(), err
	}
	password := first
	for _, c := range []struct {
		command, stdin, says string
		password             string // the one that is right afterwards
		staff, disabled      bool
	}{
		{"staff", "", "is staff now", first, true, false},
		{"unstaff", "", "is no longer staff", first, false, false},
		{"disable", "", "is disabled now", first, false, true},
		{"enable", "", "is enabled now", first, false, false},
		{"password", second + "\r\nand more\n", "has a new password", second, false, false},
		{"password", first, "has a new password", first, false, false},
	} {
		if err := login(password); err != nil && c.command != "enable" {
			t.Errorf("before %s: %v", c.command, err)
		}
		stdout, _, err := told(c.stdin, c.command, "ana")
		if want := "ana " + c.says + "; all sessions of the account have ended\n"; err != nil || stdout != want {
			t.Errorf("%s: %q %v, want %q", c.command, stdout, err, want)
		}
		if sessions, err := users.Sessions(t.Context(), auth.Principal{Subject: ana.ID}); err != nil || len(sessions) != 0 {
			t.Errorf("%s leaves %d sessions, %v", c.command, len(sessions), err)
		}
		if u, err := users.User(t.Context(), ana.ID); err != nil || u.Staff != c.staff || u.Disabled != c.disabled {
			t.Errorf("%s: staff %t, disabled %t, %v", c.command, u.Staff, u.Disabled, err)
		}
		if c.password != password && !errors.Is(login(password), auth.ErrInvalidLogin) {
			t.Errorf("%s: the old password still works", c.command)
		}
		password = c.password
		if err := login(password); (err == nil) == c.disabled {
			t.Errorf("after %s: %v", c.command, err)
		}
	}

	// A password is refused as one of a registration is, is never an argument, and never printed.
	for _, bad := range []string{"", "\n" + second, "short\n", strings.Repeat("long", maxLine)} {
		stdout, stderr, err := told(bad, "password", "ana")
		if err == nil || strings.Contains(stdout+stderr+err.Error(), "long") {
			t.Errorf("%.20q: %v\n%s%s", bad, err, stdout, stderr)
		}
	}
	if stdout, _, err := told("", "password", "ana", second); err == nil {
		t.Errorf("a password was taken from the arguments: %s", stdout)
	}
	for _, name := range []string{"staff", "unstaff", "disable", "enable", "password"} {
		if stdout, _, err := told(second, name, "nobody_here"); !errors.Is(err, auth.ErrNotFound) || stdout != "" {
			t.Errorf("%s of nobody: %q %v", name, stdout, err)
		}
	}
	if err := login(first); err != nil {
		t.Errorf("after all that was refused: %v", err)
	}
}

// Whoever waits for a line can be stopped.
func TestPasswordIsNotAwaitedForEver(t *testing.T) {
	t.Parallel()
	terminal, typist := io.Pipe()
	defer typist.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if line, err := readLine(ctx, terminal); !errors.Is(err, context.Canceled) {
		t.Errorf("%q %v", line, err)
	}
}
