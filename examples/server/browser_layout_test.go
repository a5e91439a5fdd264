//go:build browser

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

var screenshots = flag.String("screenshots", "", "folder for a picture of each page at each width")

// clock says a time that can be moved.
type clock struct {
	mu     sync.Mutex
	behind time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(-c.behind)
}

func (c *clock) set(behind time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind = behind
}

// newShelf is a site with contents that were rated over two weeks, one of them by a burst that the
// published score does not follow.
func newShelf(t *testing.T) *site {
	t.Helper()
	db, err := sqlitestore.Open(filepath.Join(t.TempDir(), "shelf.db"))
	if err != nil {
		t.Fatal(err)
	}
	queue, err := sqlitequeue.New(db.File(), sqlitequeue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var c clock
	app, err := khodnevis.New(khodnevis.Config{Store: db, Queue: queue, Now: c.now, Auth: auth.Config{LimitsOff: true},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	day := 24 * time.Hour
	for i, film := range []struct {
		title, about string
		days, perDay int
		scores       []int
	}{
		{"The Wind Will Carry Us", "Abbas Kiarostami, 1999", 3, 5, []int{4, 5, 3, 4, 5}},
		{"Playtime", "Jacques Tati, 1967", 6, 7, []int{5, 3, 4, 5, 2, 4, 5}},
		{"Persona", "Ingmar Bergman, 1966", 8, 9, []int{5, 4, 5, 3, 5, 1}},
		{"طعم گیلاس", "عباس کیارستمی، ۱۳۷۶", 11, 12, []int{5, 4, 5, 4, 3, 5, 5}},
		{"Close-Up", "Abbas Kiarostami, 1990. A man is tried for having been somebody else.", 13, 10,
			[]int{5, 4, 5, 3, 5, 4, 5, 2}},
		{"Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb", "Stanley Kubrick, 1964", 0, 0, nil},
	} {
		c.set(14*day - time.Duration(i)*time.Minute)
		made, err := app.Contents.Create(ctx, "curator", content.Draft{Title: film.title, Description: film.about})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		submit := func(score int) {
			n++
			if _, err := app.Ratings.Submit(ctx, actor.Actor{User: fmt.Sprintf("visitor%d", n)},
				rating.Submission{Content: made.ID, Score: score}); err != nil {
				t.Fatal(err)
			}
		}
		for d := range film.days {
			c.set(14*day - time.Duration(d)*day - time.Hour)
			for k := range film.perDay {
				submit(film.scores[k%len(film.scores)])
			}
		}
		if film.title == "Close-Up" { // and now somebody calls for ones
			c.set(time.Hour)
			for range 90 {
				submit(1)
			}
		}
	}
	c.set(0)
	s := serveSite(t, &backend{app: app, role: "all", adapters: "SQLite", closers: []func() error{db.Close}})
	for deadline := time.Now().Add(browserTimeout); ; <-time.After(20 * time.Millisecond) {
		stored, _, err := app.Ratings.Count(ctx, rating.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if stored >= 13*10+90+15+42+72+132 {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d ratings are stored", stored)
		}
	}
}

// Each page at each width in both schemes: nothing is wider than the page.
func TestBrowserLayout(t *testing.T) {
	t.Parallel()
	browser := newBrowser(t)
	s := newShelf(t)
	visitors := []string{"ana", "ben", "caro", "dana", "emil", "fay"}
	for _, screen := range []struct {
		name          string
		width, height int64
		scale         float64
	}{{"desktop", 1280, 900, 1}, {"phone", 390, 844, 2}, {"narrow", 360, 740, 1}} {
		for _, scheme := range []string{"light", "dark"} {
			as := chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia,
					emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
						{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
				return err
			})
			size := chromedp.EmulateViewport(screen.width, screen.height, chromedp.EmulateScale(screen.scale))
			name := screen.name + "-" + scheme
			home := newTab(t, browser, s, "/", as, size)
			home.says("h1", "running here")
			home.fits(screen.width, "home-"+name)

			docs := newTab(t, browser, s, "/api/docs/#rateContent", as, size)
			docs.until(`document.querySelector("#rateContent .try")`)
			docs.fits(screen.width, "docs-"+name)

			demo := newTab(t, browser, s, "/demo/", as, size)
			demo.says(".row .title", "Dr. Strangelove")
			demo.click("#sign-up")
			demo.fits(screen.width, "account-"+name)
			demo.signUp(visitors[0])
			visitors = visitors[1:]
			demo.click(`.row:nth-child(2) .open`)
			demo.says("#detail-held", "held back")
			demo.click(`.row:nth-child(2) .rate label:nth-of-type(5)`)
			demo.until(`document.querySelectorAll("#way .reached").length === 3`)
			demo.says(".row:nth-child(2) .own-state", "Rated by you")
			demo.do(leave)
			demo.fits(screen.width, "demo-"+name)
		}
	}
}

// fits checks that nothing stands out of the screen, and takes a picture if it is asked to.
func (p *tab) fits(width int64, name string) {
	p.t.Helper()
	wide := evaluate[[]string](p, fmt.Sprintf(`document.documentElement.scrollWidth <= %[1]d ? [] :
		[...document.querySelectorAll("body *")]
		.filter((e) => e.getBoundingClientRect().right > %[1]d).map((e) => e.tagName + "." + e.className)`, width))
	if len(wide) > 0 {
		p.t.Errorf("%s: wider than the screen: %v", name, wide)
	}
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
