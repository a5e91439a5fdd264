package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// A campaign moves the average and hardly the score, and the same seed gives the same curve.
func TestCampaign(t *testing.T) {
	t.Parallel()
	small := campaign{title: "small <one>", note: "& quick",
		phases: []stretch{{6, honest, 100, 0}, {4, honest, 8, 500}, {4, honest, 8, 0}}}
	line, err := small.run(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	if score, average := line.moved(true), line.moved(false); score > 0.35 || average < 2.4 {
		t.Errorf("the score moved by %.2f, the average by %.2f", score, average)
	}
	again, err := small.run(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	picture := draw([]curve{line})
	if !bytes.Equal(picture, draw([]curve{again})) {
		t.Error("the same campaign gives another picture")
	}
	wellFormed(t, picture)
	for _, want := range []string{"small &lt;one&gt;", "<polyline", attackColour} {
		if !strings.Contains(string(picture), want) {
			t.Errorf("the picture has no %s", want)
		}
	}
}

// The picture that the README shows is one of this program's.
func TestCommittedPicture(t *testing.T) {
	t.Parallel()
	picture, err := os.ReadFile("attack.svg")
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, picture)
	for _, c := range campaigns {
		if !strings.Contains(string(picture), escaped(c.title)) {
			t.Errorf("attack.svg does not show %q", c.title)
		}
	}
}

func wellFormed(t *testing.T, picture []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(picture))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}

func TestAttackCalls(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{"attack -h": exitOK, "attack x": exitUsage, "attack -seed x": exitUsage,
		"nonsense": exitUsage} {
		if code := command(t.Context(), strings.Fields(args), io.Discard, io.Discard); code != want {
			t.Errorf("%s: exit status %d, want %d", args, code, want)
		}
	}
}
