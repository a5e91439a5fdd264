//go:build browser

package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The page of the API opens, its operations can be tried with and without a token, and it fits a telephone.
func TestBrowserDocs(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newSite(t)
	p := newTab(t, browser, s, "/api/docs/#register")
	p.until(`document.querySelector("#register textarea")?.checkVisibility()`)
	p.fill("#register textarea", `{"username":"ana","password":"a rather long one"}`)
	p.click("#register [type=submit]")
	p.says("#register .result .status", "201")

	reveal := func(operation string) {
		p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = %q`, operation)))
		p.until(fmt.Sprintf(`document.activeElement?.matches("#%s[open] > summary")`, operation)) // it has been scrolled to
	}
	p.click("#account")
	p.fill("#credentials [autocomplete=username]", "ana")
	p.fill("#credentials [autocomplete=current-password]", "a rather long one")
	p.press(kb.Enter)
	p.says("#account", "Authorized")

	reveal("createContent")
	p.fill("#createContent textarea", `{"title":"<script>document.title = 'taken over'</script>"}`)
	p.click("#createContent [type=submit]")
	p.says("#createContent .result .status", "201")
	reveal("listContents")
	p.do(chromedp.Focus(chromedp.CSS("#listContents [type=submit]")))
	p.press(kb.Enter)
	p.says("#listContents .result .status", "200")
	p.says("#listContents .result pre", "taken over")
	p.until(`document.title === "Khodnevis API" && !document.querySelector("main script")`)

	for name, width := range map[string]int64{"docs-desktop": 1280, "docs-narrow": 360} {
		p.do(chromedp.EmulateViewport(width, 800))
		p.fits(width, name)
	}
}
