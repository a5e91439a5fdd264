//go:build browser

package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The page of the API opens, its operations can be tried with and without a token, and it fits a
// telephone.
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

// An operation is found and tried with the keyboard, nothing of the token is kept, and a refusal is
// shown.
func TestBrowserDocsByKeyboard(t *testing.T) {
	s := newSite(t)
	browser := newBrowser(t)
	p := newTab(t, browser, s, "/api/docs/", chromedp.EmulateViewport(1280, 900))
	p.says("main h1", "Khodnevis API")
	p.click("nav a[href='#register']")
	p.until(`document.activeElement.closest("details")?.id === "register"`)
	p.fill("#register textarea", `{"username": "forough", "password": "a rather long one"}`)
	p.click("#register form .primary")
	p.says("#register .status", "201")
	p.click("#account")
	p.fill("#credentials [autocomplete=username]", "forough")
	p.fill("#credentials [autocomplete='current-password']", "a rather long one")
	p.press(kb.Enter)
	p.says("#account", "Authorized")
	if evaluate[bool](p,
		`!document.querySelector("#credentials").hidden ||
			localStorage.length + sessionStorage.length + document.cookie.length > 0`) {
		t.Error("the form stays, or the token is kept")
	}

	p.press("/") // finds an operation without the mouse
	p.until(`document.activeElement.id === "find"`)
	p.fill("#find", "create a con")
	p.press(kb.Enter)
	p.until(`document.activeElement.matches("#createContent > summary") &&
		document.querySelector("#createContent textarea")?.checkVisibility()`)
	p.press(kb.Tab)
	p.until(`document.activeElement.localName === "textarea"`)
	p.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl))) // sends
	p.says("#createContent .status", "201")
	p.says("#createContent .result pre", `"author"`)

	p.expect(400)
	p.do(chromedp.Navigate(s.URL + "/api/docs/#listContents"))
	p.until(`document.querySelector("#listContents").open`)
	p.until(`document.querySelector("#listContents .more").open = true`)
	p.fill("#listContents .more label:nth-of-type(3) input", "yesterday")
	p.click("#listContents form .primary")
	p.says("#listContents .status", "400")
	p.says("#listContents .result pre", "created_at__gte")
}
