package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/khodnevis/khodnevis/auth"
)

// maxLine bounds what is read as a password. A longer one is refused anyway.
const maxLine = 4 << 10

// change changes the account with a name, and ends its sessions.
type change func(ctx context.Context, users *auth.Service, name string, stdin io.Reader) error

// onAccount is the command that makes a change, and then says what became of the account.
func onAccount(says string, do change) func(context.Context, *backend, []string, io.Reader, io.Writer) error {
	return func(ctx context.Context, b *backend, args []string, stdin io.Reader, stdout io.Writer) error {
		if err := do(ctx, b.app.Users, args[0], stdin); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		fmt.Fprintf(stdout, "%s %s; all sessions of the account have ended\n", args[0], says)
		return nil
	}
}

func setStaff(staff bool) change {
	return func(ctx context.Context, users *auth.Service, name string, _ io.Reader) error {
		return users.SetStaff(ctx, name, staff)
	}
}

func setDisabled(disabled bool) change {
	return func(ctx context.Context, users *auth.Service, name string, _ io.Reader) error {
		return users.SetDisabled(ctx, name, disabled)
	}
}

// setPassword takes the password from stdin, since others may see arguments.
func setPassword(ctx context.Context, users *auth.Service, name string, stdin io.Reader) error {
	password, err := readLine(ctx, stdin)
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	return users.SetPassword(ctx, name, password)
}

// readLine returns the first line without its end. A read from a terminal lasts, so it is left
// behind when ctx is done.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	var line string
	read := make(chan error, 1)
	go func() {
		var err error
		line, err = bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
