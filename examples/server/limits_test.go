package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/internal/docsection"
)

var update = flag.Bool("update", false, "write the generated sections of documents anew")

// The limits of connections in SECURITY.md are those of the server.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| connections of the bundled server | limit |\n|---|---|\n")
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row("header of a request", "%s, %d KiB", readHeaderTimeout, maxHeaderBytes>>10)
	row("body of a request", "%s", readTimeout)
	row("answer", "%s", writeTimeout)
	row("connections",
		"%d, fewer where a process may have few files open (`ulimit -n`), and %d more of the machine itself; the next "+
			"ones are closed at once", maxConnections, maxOwnConnections)
	row("connections from one IP prefix (/24, /64)",
		"%d, from a /48 four times as many; trusted proxies and the machine itself as many as there are",
		maxConnections/shareOfConnections)
	row("idle connection", "%s", idleTimeout)
	row("requests in flight when it is told to stop", "%s, then %s for the batch of the worker", shutdownTimeout,
		finishTimeout)
	row("memory", "about %d MiB, of which Go takes %d (`GOMEMLIMIT`) and pages of SQLite the rest", maxMemory>>20,
		goMemory>>20)
	docsection.Check(t, filepath.Join("..", "..", "SECURITY.md"), "connections", b.String(), *update)
}
