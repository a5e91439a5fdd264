package main

import (
	"io"
	"math"
	"strings"
	"testing"
)

// The development campaigns end within 0.02 of what the evidence for the rule says, and nearer to
// the honest mean than the plain average.
func TestRealCampaigns(t *testing.T) {
	t.Parallel()
	cases, err := realCases()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 6 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(got.counted-c.expected) > 0.02 || math.Abs(got.counted-c.honest) >= math.Abs(got.plain-c.honest) {
				t.Errorf("published is %.4f and the plain average %.4f after %d ratings, want %.4f; honest is %.4f", got.counted,
					got.plain, got.ratings, c.expected, c.honest)
			}
		})
	}
}

func TestCampaignsCalls(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{"campaigns -h": exitOK, "campaigns x": exitUsage} {
		if code := command(t.Context(), strings.Fields(args), io.Discard, io.Discard); code != want {
			t.Errorf("%s: exit status %d, want %d", args, code, want)
		}
	}
}
