//go:build browser

package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/khodnevis/khodnevis/content"
)

// What a visitor does: an account, a content, a rating; then somebody else comes.
func TestBrowserDemo(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newSite(t)
	ana := newTab(t, browser, s, "/demo/")
	ana.says("#empty", "Nothing has been written yet")
	ana.click("#add-first")
	ana.says("#account-title", "Create an account")

	// A problem document is shown at its field.
	ana.expect(400)
	ana.fill("#account [name=username]", "ana")
	ana.fill("#account [name=password]", "short")
	ana.click("#account-submit")
	ana.says("#account [name=password] + .wrong", "at least 8")
	ana.until(`document.activeElement.name === "password" &&
		document.activeElement.getAttribute("aria-invalid") === "true"`)
	ana.signUp("ana")

	// Stored text stays text.
	const title = `<script>document.title = "taken over"</script><img src="//example.org/x" onerror="alert(1)">`
	ana.fill("#new-content [name=title]", title)
	ana.fill("#new-content [name=description]", title)
	ana.click("#new-content [type=submit]")
	ana.says(".row .title", title)
	ana.says("#detail-title", title)
	ana.says("#detail-text", title)
	ana.until(`document.title.startsWith("Live demo") && !document.querySelector("main script, main img:not([alt=''])")`)
	ana.says(".row .average", "–")

	// A rating is accepted, stored, and moves the average.
	ana.star(5)
	ana.says(".row .own-state", "Rated by you")
	ana.says(".row .average", "5.00")
	ana.says("#detail-average", "5.00")
	ana.says("#detail-count", "1 rating")
	ana.says("#live", "is 5.00 now")
	ana.until(`document.querySelectorAll("#way .reached").length === 3`)

	// A wrong password is told, and nothing of it stays.
	ben := newTab(t, browser, s, "/demo/")
	ben.says(".row .average", "5.00")
	ben.click("#sign-in")
	ben.expect(401)
	ben.fill("#account [name=username]", "ana")
	ben.fill("#account [name=password]", "not her password")
	ben.click("#account-submit")
	ben.says("#account [data-problem]", "No active account")
	ben.press(kb.Escape)
	ben.until(`!document.querySelector("dialog[open]") && !document.querySelector("#account [name=password]").value`)

	// The stars are a radio group; an anonymous visitor is asked to sign in, and the rating is not
	// lost. Arrow keys send where they end.
	ben.do(chromedp.Focus(chromedp.CSS(".row .rate input")))
	ben.press(kb.ArrowRight)
	ben.says("#account-why", "yours is sent")
	ben.signUp("ben")
	ben.says(".row .average", "3.50")
	ben.says(".row .count", "2 ratings")
	ben.until(`document.querySelector(".row .rate input[value='2']").checked`)
	ben.until(`[...document.querySelectorAll("#histogram li")].map((li) => li.lastChild.textContent).join() ===
		"1,0,0,1,0"`)

	// The other page follows by itself.
	ana.says(".row .average", "3.50")
	ana.says("#detail-average", "3.50")

	// A rating is changed, and withdrawn.
	ben.star(4)
	ben.says(".row .average", "4.50")
	ben.click(".row .withdraw")
	ben.says(".row .average", "5.00")
	ben.says(".row .own-state", "Not rated by you")
	ben.click("#sign-out")
	ben.until(`document.querySelector("#sign-in").checkVisibility() && !document.querySelector("#who").checkVisibility()`)
	ben.until(`localStorage.length + sessionStorage.length === 0 && document.cookie === ""`)
}

// A user sees earlier ratings after signing in again, and arrow keys that pass over stars do not
// send them.
func TestBrowserKeyboard(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newSite(t)
	p := newTab(t, browser, s, "/demo/")
	p.click("#sign-up")
	p.signUp("kim")
	p.click("#add")
	p.fill("#new-content [name=title]", "Stalker")
	p.press(kb.Enter)
	p.says(".row .title", "Stalker")
	p.do(chromedp.Focus(chromedp.CSS(".row .rate input")))
	// However slow the machine is, these keys come within what the page takes for one movement.
	p.do(chromedp.Evaluate[chromedp.Void](
		`{ const real = setTimeout; window.setTimeout = (run, ms) => real(run, ms * 10); }`))
	for i, key := range []string{" ", kb.ArrowRight, kb.ArrowRight, kb.ArrowRight} {
		p.press(key)
		p.until(fmt.Sprintf(`document.querySelector(".row .rate input[value='%d']").checked`, i+1))
	}
	p.says(".row .average", "4.00")
	p.says(".row .count", "1 rating")
	p.until(`performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/api/ratings/")).length === 1`)

	again := newTab(t, browser, s, "/demo/")
	again.click("#sign-in")
	again.signUp("kim") // the dialog is the one of signing in
	again.says(".row .own-state", "Rated by you")
	again.until(`document.querySelector(".row .rate input[value='4']").checked`)
}

// hold makes the page keep the first answer whose path ends so, until it calls release.
const hold = `(end) => {
	const real = fetch;
	window.held = false;
	window.fetch = async (path, request) => {
		const answer = await real(path, request);
		if (!window.held && path.endsWith(end)) {
			window.held = true;
			await new Promise((resolve) => { window.release = resolve; });
		}
		return answer;
	};
}`

// slowly makes the page wait ten times as long for what it waits for, so that a test is in time.
const slowly = `{ const real = setTimeout; window.setTimeout = (run, ms) => real(run, ms * 10); }`

// A tap on a star counts, whatever comes from the server before it is sent: news of an earlier tap,
// or the visitor's ratings after signing in.
func TestBrowserTapsStick(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newSite(t)
	p := newTab(t, browser, s, "/demo/")
	p.click("#add-first")
	p.signUp("tia")
	p.fill("#new-content [name=title]", "Stalker")
	p.press(kb.Enter)
	p.says(".row .title", "Stalker")
	p.do(chromedp.Evaluate[chromedp.Void](slowly), chromedp.Evaluate[chromedp.Void](`(`+hold+`)("/ratings/")`))
	p.star(2)
	p.until(`held`)
	p.star(5)
	p.do(chromedp.Evaluate[chromedp.Void](`release()`))
	p.says(".row .average", "5.00")
	p.says(".row .own-state", "Rated by you")
	p.until(`document.querySelector(".row .rate input[value='5']").checked`)

	again := newTab(t, browser, s, "/demo/")
	again.says(".row .average", "5.00")
	again.do(chromedp.Evaluate[chromedp.Void](slowly), chromedp.Evaluate[chromedp.Void](`(`+hold+`)("page_size=100")`))
	again.click("#sign-in")
	again.signUp("tia")
	again.until(`held`)
	again.star(1)
	again.do(chromedp.Evaluate[chromedp.Void](`release()`))
	again.says(".row .average", "1.00")
	again.until(`document.querySelector(".row .rate input[value='1']").checked`)
	// what a finger leaves behind is no hover
	again.until(`![...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).some((rule) =>
		rule.selectorText?.includes(".rate") && rule.selectorText.includes(":hover"))`)
}

// After every action the focus is on something that can be seen, so that the next key does what its
// user expects.
func TestBrowserFocus(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newSite(t)
	p := newTab(t, browser, s, "/demo/")
	focused := func(p *tab, selector string) {
		t.Helper()
		p.until(`!document.querySelector("dialog[open]") && document.activeElement.checkVisibility() &&
			document.activeElement.matches("` + selector + `")`)
	}
	p.click("#add-first")
	p.signUp("foe")
	p.fill("#new-content [name=title]", "Stalker")
	p.press(kb.Enter)
	p.says(".row .title", "Stalker")
	focused(p, ".row .open") // the button that it began with is gone
	p.star(4)
	p.says(".row .average", "4.00")
	focused(p, ".row .rate input")
	p.click(".row .withdraw")
	p.says(".row .own-state", "Not rated by you")
	focused(p, ".row .rate input")
	p.click("#sign-out")
	focused(p, "#sign-in")
	p.click("#sign-in")
	p.press(kb.Escape)
	focused(p, "#sign-in")
	p.click("#sign-in")
	p.signUp("foe")
	focused(p, "#sign-out")
	p.click("#add")
	p.press(kb.Escape)
	focused(p, "#add")

	for i := range 21 {
		film := content.Draft{Title: fmt.Sprint("film ", i)}
		if _, err := s.back.app.Contents.Create(t.Context(), "foe", film); err != nil {
			t.Fatal(err)
		}
	}
	long := newTab(t, browser, s, "/demo/")
	long.click("#more")
	long.until(`document.querySelectorAll(".row").length === 22 && !document.querySelector("#more").checkVisibility()`)
	focused(long, ".row:nth-child(21) .open")
	long.do(chromedp.Evaluate[chromedp.Void](
		`{
			const real = fetch;
			window.fetch = () => Promise.reject(new Error());
			window.mend = () => { window.fetch = real; };
		}`),
		chromedp.SetValue(chromedp.CSS("#ordering"), "title"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#ordering").dispatchEvent(new Event("change"))`))
	long.says("#retry", "Try again")
	long.do(chromedp.Evaluate[chromedp.Void](`mend()`))
	long.click("#retry")
	long.says(".row .title", "film 0")
	focused(long, "#contents")
}

// A server that goes away is told, and so is one that is not there from the beginning.
func TestBrowserUnavailable(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newSite(t)
	p := newTab(t, browser, s, "/demo/")
	p.says("#empty", "Nothing has been written yet")
	p.mu.Lock()
	for range 20 {
		p.allowed = append(p.allowed, "ERR_CONNECTION")
	}
	p.mu.Unlock()
	s.CloseClientConnections()
	s.Listener.Close()
	p.says("#notice", "The server does not answer")
	p.do(chromedp.SetValue(chromedp.CSS("#ordering"), "title"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#ordering").dispatchEvent(new Event("change"))`))
	p.says("#failed", "The server does not answer")
	p.says("#retry", "Try again")
}
