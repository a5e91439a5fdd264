package main

import (
	"context"
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

// verify recounts every number and fails if one had drifted.
func verify(ctx context.Context, b *backend, stdout io.Writer) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	drifted := 0
	n, err := b.app.Recount(ctx, func(d rating.Drift) {
		drifted++
		fmt.Fprintf(stdout, "%s: %d ratings with sum %d, recounted %d with sum %d\n", d.Content, d.Was.Count, d.Was.Sum, d.Is.Count, d.Is.Sum)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d contents recounted, %d had drifted and were repaired\n", n, drifted)
	if drifted > 0 {
		return fmt.Errorf("%d contents had drifted", drifted)
	}
	return nil
}
