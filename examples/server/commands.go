package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
	"github.com/khodnevis/khodnevis/rating"
)

// command is what the server does in place of serving.
type command struct {
	usage string // its name and arguments: [ID] may be left out
	about string
	// on runs the command on the store. Nil: the command does not use it.
	on func(ctx context.Context, b *backend, args []string, stdin io.Reader, stdout io.Writer) error
	// apart runs the command without a backend.
	apart func(ctx context.Context, s settings, args []string, stdout io.Writer) error
}

// commands are all commands. The first one is the default.
var commands = []command{
	{usage: "serve", about: "serve requests and store ratings, as -role says; the same without a command"},
	{usage: "staff NAME", about: "make a registered user staff, and end its sessions",
		on: onAccount("is staff now", setStaff(true))},
	{usage: "unstaff NAME", about: "make staff a plain user again, and end its sessions",
		on: onAccount("is no longer staff", setStaff(false))},
	{usage: "disable NAME", about: "bar a user from logging in, and end its sessions",
		on: onAccount("is disabled now", setDisabled(true))},
	{usage: "enable NAME", about: "let a disabled user log in again",
		on: onAccount("is enabled now", setDisabled(false))},
	{usage: "password NAME",
		about: "set a user's password to the first line of the standard input, and end its sessions",
		on:    onAccount("has a new password", setPassword)},
	{usage: "recalculate [ID]",
		about: "recount the numbers of one content or all from the ratings, and compute the scores anew", on: recalculate},
	{usage: "verify", about: "the same for all, and exit with 1 if any number was wrong", on: verify},
	{usage: "migrate", about: "bring the tables up to date, with a role that owns them, and do nothing else",
		on: migrated},
	{usage: "backup FILE",
		about: "copy the file of the data, as of one moment, to a new one, also while a server uses it", apart: backup},
	{usage: "health", about: "exit with 1 unless the server that listens on -addr lives", apart: health},
}

func (c command) name() string {
	name, _, _ := strings.Cut(c.usage, " ")
	return name
}

// find returns the command that args begin with, and what follows. A "--" right after the command is
// left out: what follows it may begin with a hyphen.
func find(args []string) (command, []string, error) {
	if len(args) == 0 {
		return commands[0], nil, nil
	}
	if len(args) > 1 && args[1] == "--" {
		args = append(args[:1:1], args[2:]...)
	}
	var all []string
	for _, c := range commands {
		all = append(all, c.usage)
		if c.name() != args[0] {
			continue
		}
		most, optional := len(strings.Fields(c.usage))-1, strings.Count(c.usage, "[")
		if n := len(args) - 1; n > most || n < most-optional {
			return command{}, nil, fmt.Errorf("%s: it is used as: server [flags] %s", args[0], c.usage)
		}
		return c, args[1:], nil
	}
	what := "there is no such command" // which is not quoted unless it is a word: it may be an address, with a password
	if word.MatchString(args[0]) {
		what = "unknown command " + args[0]
	}
	return command{}, nil, fmt.Errorf("%s: there are %s; server -h tells more", what, strings.Join(all, ", "))
}

var word = regexp.MustCompile(`^[a-z]{1,16}$`)

// verify recounts every number, computes every score anew, repairs what differs, and fails if
// something did. For each content that had drifted it prints the first number that was wrong.
func verify(ctx context.Context, b *backend, _ []string, _ io.Reader, stdout io.Writer) error {
	return report(ctx, b, stdout, "verified", b.app.Verify)
}

// recalculate recounts the contents named, or without a name every content, and computes their
// scores anew.
func recalculate(ctx context.Context, b *backend, contents []string, _ io.Reader, stdout io.Writer) error {
	err := report(ctx, b, stdout, "recalculated", func(ctx context.Context, drift func(rating.Drift)) (int, error) {
		for _, id := range contents {
			if err := b.app.Ratings.Exists(ctx, id); err != nil {
				return 0, fmt.Errorf("content %s: %w", id, err)
			}
		}
		return b.app.Recalculate(ctx, drift, contents...)
	})
	if errors.Is(err, errDrift) { // which was asked for
		return nil
	}
	return err
}

var errDrift = errors.New("numbers had drifted")

// report runs a recalculation and prints the result. Drift is an error.
func report(ctx context.Context, b *backend, stdout io.Writer, what string,
	do func(context.Context, func(rating.Drift)) (int, error)) error {
	drifted, first := 0, ""
	n, err := do(ctx, func(d rating.Drift) {
		if drifted++; drifted == 1 {
			first = d.Content
		}
		fmt.Fprintf(stdout, "%s: %s\n", d.Content, d.First())
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d contents %s, %d had drifted and were repaired\n", n, what, drifted)
	if drifted > 0 {
		return fmt.Errorf("%w: %d of %d contents, %s first", errDrift, drifted, n, first)
	}
	return nil
}

// migrated reports that the tables are up to date: every command migrates them before it begins.
func migrated(_ context.Context, _ *backend, _ []string, _ io.Reader, stdout io.Writer) error {
	fmt.Fprintln(stdout, "the tables are up to date")
	return nil
}

// health checks another process.
func health(ctx context.Context, s settings, _ []string, _ io.Writer) error {
	return checkHealth(ctx, s.addr)
}

// backup copies the data to a new file. It does not change the file, not even one of an older
// release. The data of other servers is backed up by their own tools, such as pg_dump.
func backup(ctx context.Context, s settings, args []string, stdout io.Writer) (err error) {
	if s.postgres != "" {
		return errors.New("backup: the data is not in a file; a database is backed up by its own means, such as pg_dump")
	}
	if _, err := os.Stat(s.data); err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	file, err := sqlitefile.Open(s.data, sqlitefile.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.Backup(ctx, args[0]); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s has everything\n", args[0])
	return nil
}
