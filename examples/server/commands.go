package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/khodnevis/khodnevis/rating"
)

// makeStaff makes a registered user staff.
func makeStaff(ctx context.Context, b *backend, name string, stdout io.Writer) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	if err := b.app.Users.SetStaff(ctx, name, true); err != nil {
		return fmt.Errorf("staff %s: %w", name, err)
	}
	fmt.Fprintf(stdout, "%s is staff now\n", name)
	return nil
}

// verify recounts every number and folds every score anew, repairs what differs, and fails if something did. It says of each content
// that had drifted what was the first number that was wrong.
func verify(ctx context.Context, b *backend, stdout io.Writer) error {
	return report(ctx, b, stdout, "verified", b.app.Verify)
}

// recalculate recounts the contents named, or without a name every content, and folds their scores anew.
func recalculate(ctx context.Context, b *backend, contents []string, stdout io.Writer) error {
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

// report does a recalculation and tells how it went. Drift is an error.
func report(ctx context.Context, b *backend, stdout io.Writer, what string, do func(context.Context, func(rating.Drift)) (int, error)) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
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
