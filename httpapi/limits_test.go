package httpapi_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/docsection"
	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/rating"
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
	row("`Prefer: wait`", "202", "%s; changes of a rating wait for %s", httpapi.MaxWait, httpapi.WritePatience)
	row("result of a task", "410", "%g hours", rating.Retention.Hours())
	l := httpapi.DefaultLimits()
	const more = "429; `Config.Limits`"
	row("ratings, changes and withdrawals by a user", more, "%d a minute", l.RatingWrites)
	row("writes of contents by a user", more, "%d a minute", l.ContentWrites)
	row("everything else by a user", more, "%d a minute", l.Reads)
	row("all users behind one IP prefix (/24, /64)", more, "%d times as much", l.PrefixFactor)
	row("all who are not signed in at one IP prefix", more, "as much as one user")
	row("ratings of one content from one IP prefix", more, "%d a minute", l.ContentRatings)
	row("requests in hand", "503", "%d", l.InHand)
	row("requests in hand from one IP prefix", "429", "%d", l.PrefixInHand)
	row("waits of one user", "as things stand", "%d", httpapi.WaitsOfUser)
	row("an answer, from when the request is there", "503; `Config.Limits`", "%s", l.RequestTimeout)
	row("a body on its way", "408", "%s", l.ReadTimeout)
	row("an answer on its way", "the connection ends", "%s", l.WriteTimeout)
	row("an answer on its way beside as many as may be in hand", "the connection ends", "%s", httpapi.SlowWrite)
	row("counts kept in process", "the least used go first", "%d", httpapi.MaxCounts)
	docsection.Check(t, filepath.Join("..", "SECURITY.md"), "requests", b.String(), *update)
}
