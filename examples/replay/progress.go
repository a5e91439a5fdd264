package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// progress shows how far a run is: a bar on a terminal, a line every few seconds elsewhere.
type progress struct {
	out     io.Writer
	bar     bool
	every   time.Duration
	trouble func() string // why requests are sent again, empty when they are not
}

func newProgress(out io.Writer, trouble func() string) *progress {
	p := &progress{out: out, every: 5 * time.Second, trouble: trouble}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.bar, p.every = true, 200*time.Millisecond
		}
	}
	return p
}

// phase is a part of a run with a known number of steps. end must be called.
type phase struct {
	p     *progress
	name  string
	total int
	start time.Time
	done  atomic.Int64
	quit  chan struct{}
	gone  chan struct{}
}

func (p *progress) phase(name string, total int) *phase {
	p.trouble() // what a phase before had is not this one's
	ph := &phase{p: p, name: name, total: total, start: time.Now(), quit: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(ph.gone)
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for {
			select {
			case <-ph.quit:
				return
			case <-tick.C:
				ph.show(p.trouble())
			}
		}
	}()
	return ph
}

// end stops the display, waits for it, and leaves the last state as a line.
func (ph *phase) end() {
	close(ph.quit)
	<-ph.gone
	ph.show("")
	if ph.p.bar {
		fmt.Fprintln(ph.p.out)
	}
}

func (ph *phase) show(trouble string) {
	done, took := ph.done.Load(), time.Since(ph.start)
	line := fmt.Sprintf("%-8s %9s / %s  %6.1f s  %s/s", ph.name, thousands(done), thousands(int64(ph.total)),
		took.Seconds(), thousands(int64(float64(done)/max(took.Seconds(), 1e-3))))
	if trouble != "" {
		line += "  sending again: " + strings.Join(strings.Fields(trouble), " ")
	}
	if !ph.p.bar {
		fmt.Fprintln(ph.p.out, line)
		return
	}
	const width = 30
	filled := width
	if ph.total > 0 {
		filled = int(min(done, int64(ph.total))) * width / ph.total
	}
	// A line longer than the terminal would wrap and leave its rest behind.
	line = fmt.Sprintf("[%s%s] %s", strings.Repeat("#", filled), strings.Repeat(".", width-filled), line)
	if r := []rune(line); len(r) > 110 {
		line = string(r[:110])
	}
	fmt.Fprintf(ph.p.out, "\r\x1b[K%s", line)
}

// thousands writes n with a comma after each three digits.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
