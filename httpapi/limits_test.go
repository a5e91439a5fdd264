package httpapi_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/docsection"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/rating/task"
)

// TestLimitsAreDocumented keeps the limits of requests in SECURITY.md those of the code.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| requests | limit | beyond it |\n|---|---|---|\n")
	row := func(what, beyond, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", what, fmt.Sprintf(format, args...), beyond)
	}
	row("path and query", "414", "%d KiB", httpapi.MaxURL>>10)
	row("body of a content", "413", "%d MiB", httpapi.LargeBody>>20)
	row("any other body", "413", "%d KiB", httpapi.SmallBody>>10)
	row("nesting of a body", "400", "%d", httpapi.MaxDepth)
	row("values in a body", "400", "%d", httpapi.MaxValues)
	row("identifier", "404 in a path, 400 in a body", "%d bytes", id.MaxLen)
	row("title", "400", "%d code points", content.MaxTitle)
	row("description", "400", "%d code points", content.MaxDescription)
	row("search", "400", "%d code points", content.MaxSearch)
	row("page", "400", "%d results, %d by default", httpapi.MaxPage, httpapi.DefaultPage)
	row("`Idempotency-Key`", "400", "%d visible ASCII signs", httpapi.MaxIdempotencyKey)
	row("`Prefer: wait`", "202", "%s; changes of a rating wait for %s", httpapi.MaxWait, httpapi.WriteTimeout)
	row("result of a task", "410", "%g hours", task.Retention.Hours())
	l := httpapi.DefaultLimits()
	const more = "429; `Config.Limits`"
	row("an IP prefix, wherever it is counted", "",
		"an IPv4 /24 or an IPv6 /64; an IPv6 /48 may have %d times what a /64 has",
		counter.GroupsOf(netip.IPv6Loopback())[1].Factor)
	row("ratings, changes and withdrawals by a user", more, "%d a minute", l.RatingWrites)
	row("writes of contents by a user", more, "%d a minute", l.ContentWrites)
	row("everything else by a user", more, "%d a minute", l.Reads)
	row("logins and registrations from one IP prefix", more, "%d a minute", l.Logins)
	row("refreshes of one session", more, "%d a minute", l.Logins)
	row("all users behind one IP prefix", more, "%d times as much", l.PrefixFactor)
	row("all who are not signed in at one IP prefix", more, "as much as one user")
	row("wrong access tokens, wrong refresh tokens from one IP prefix", "429", "%d a minute each",
		l.Reads*l.PrefixFactor)
	row("ratings of one content from one IP prefix", more, "%d a minute", l.ContentRatings)
	row("requests in flight", "503", "%d", l.InFlight)
	row("requests in flight from one IP prefix", "429", "%d", l.PrefixInFlight)
	row("waits of one user", "as things stand", "%d", httpapi.WaitsOfUser)
	row("an answer, from when the request is there", "503; `Config.Limits`", "%s", l.RequestTimeout)
	row("a body on its way", "408", "%s; after %s it must have come at %d KiB a second",
		l.ReadTimeout, httpapi.BodyGrace, httpapi.LeastRate>>10)
	row("a body on its way beside as many as may be in flight", "408", "%s", httpapi.Hurried)
	row("bodies that are held, beyond the first 4 KiB of each", "503", "%d MiB", httpapi.BodyMemory>>20)
	row("bodies that are held from one IP prefix", "429", "%d MiB", httpapi.BodyMemory/httpapi.ShareOfMemory>>20)
	row("an answer on its way", "the connection ends", "%s", l.WriteTimeout)
	row("an answer on its way beside as many as may be in flight", "the connection ends", "%s", httpapi.Hurried)
	row("counts kept in process", "the least used go first", "%d", httpapi.MaxCounts)
	docsection.Check(t, filepath.Join("..", "SECURITY.md"), "requests", b.String(), *update)
}
