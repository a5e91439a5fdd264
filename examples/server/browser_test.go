//go:build browser

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserTimeout is how long a page may take to get into a state, on a busy machine.
const browserTimeout = 30 * time.Second

// site is a server in this process, with its worker, on a file of its own.
type site struct {
	*httptest.Server
	back *backend
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := settings{data: filepath.Join(t.TempDir(), "site.db"), role: "all", recalculate: "@every 30s", limits: "off"}
	back, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	return serveSite(t, back)
}

func serveSite(t *testing.T, back *backend) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := back.app.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s := &site{httptest.NewServer(routes(back, true, back.app.Ready)), back}
	t.Cleanup(func() {
		back.app.Drain()
		s.CloseClientConnections()
		s.Close()
		cancel()
		running.Wait()
		if err := back.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newBrowser starts the browser that KHODNEVIS_TEST_BROWSER names.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	program := os.Getenv("KHODNEVIS_TEST_BROWSER")
	if program == "" {
		t.Fatal("KHODNEVIS_TEST_BROWSER names no browser: run make browser")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("force-prefers-reduced-motion", true)) // what moves while it is clicked at is missed
	if os.Getuid() == 0 { // it has no sandbox for root
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until it has ended, so that its folder can go
		stop()
		cancel()
	})
	return ctx
}

// tab is a page of the browser that remembers what must not happen on it.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu      sync.Mutex
	allowed []string // endings of messages about answers that a test provokes
	wrong   []string
}

// newTab opens a page of the site. When the test ends, there was no message of an error, and no
// request to anywhere else.
func newTab(
	t *testing.T, browser context.Context, s *site, path string, first ...chromedp.Action[chromedp.Void],
) *tab {
	t.Helper()
	p := &tab{t: t, origin: s.URL}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithListener(p.listen))
	p.ctx = ctx
	t.Cleanup(func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.wrong {
			t.Errorf("on %s: %s", path, w)
		}
	})
	if err := chromedp.Do(ctx); err != nil { // makes the page, which lasts as long as this context
		t.Fatal(err)
	}
	p.do(first...)
	p.do(chromedp.Navigate(s.URL + path))
	return p
}

func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, p.origin+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			p.wrong = append(p.wrong, "a request to "+e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		p.wrong = append(p.wrong, fmt.Sprintf("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			p.wrong = append(p.wrong, fmt.Sprintf("console: %s", e.Args[0].Value))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning {
			return
		}
		for i, a := range p.allowed {
			if e.Entry.Source == log.EntrySourceNetwork && strings.Contains(e.Entry.Text, a) {
				p.allowed = slices.Delete(p.allowed, i, i+1)
				return
			}
		}
		p.wrong = append(p.wrong, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
	}
}

// expect lets one answer with this status pass, which the browser reports by itself.
func (p *tab) expect(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = append(p.allowed, fmt.Sprintf("status of %d", status))
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v\nthe page says:\n%s", err, evaluate[string](p, `document.body.innerText`))
	}
}

// evaluate returns what an expression is.
func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserTimeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func poll(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond),
		chromedp.WithPollingTimeout(browserTimeout))
}

// until waits until an expression is true.
func (p *tab) until(expression string) {
	p.t.Helper()
	p.do(poll(expression))
}

// says waits until the first element of a selector is visible and has the text.
func (p *tab) says(selector, text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, browserTimeout)
	defer cancel()
	s, err := json.Marshal([]string{selector, text})
	if err != nil {
		p.t.Fatal(err)
	}
	err = chromedp.Do(ctx,
		poll(fmt.Sprintf(`(([s, text]) => {
			const e = document.querySelector(s);
			return e?.checkVisibility() && e.textContent.includes(text);
		})(%s)`, s)))
	if err != nil {
		p.t.Fatalf("%s does not say %q: %v\nthe page says:\n%s", selector, text, err,
			evaluate[string](p, `document.body.innerText`))
	}
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill types a text in place of what a field holds.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).value = ""`, selector)),
		chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

// press presses a key where the focus is.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		p.do(chromedp.KeyEvent(k))
	}
}

// signUp makes an account in the dialog that is open.
func (p *tab) signUp(name string) {
	p.t.Helper()
	p.fill("#account [name=username]", name)
	p.fill("#account [name=password]", "a rather long one")
	p.click("#account-submit")
	p.says("#name", name)
}

// star clicks a star of the first row.
func (p *tab) star(n int) {
	p.t.Helper()
	p.click(fmt.Sprintf(".row .rate label:nth-of-type(%d)", n))
}

// leave moves the mouse away, so that nothing is under it.
var leave = chromedp.MouseEvent(chromedp.MouseMoved, 1, 1)
