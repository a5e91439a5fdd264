package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"path"
	"runtime/debug"
	"time"

	"github.com/khodnevis/khodnevis/internal/requestid"
)

// embedded holds the pages, and in static/ what they load.
//
//go:embed pages
var embedded embed.FS

// pagePolicy lets a page load what this server has, and nothing else. A page runs no inline script
// and has no inline style.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// mediaTypes are given here because the host's table of types may say otherwise.
var mediaTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// pages returns, by their paths, the page that says what this is, what pages load, and, where there
// is an API to show, the demo.
func pages(b *backend, api bool, ready func() error) map[string]http.Handler {
	all := map[string]http.Handler{
		"/": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { home(w, b, api, ready() == nil) }),
		// Browsers ask for it by themselves on pages that name no icon, such as a JSON document.
		"/favicon.ico": file("static/favicon.svg"),
	}
	static, err := embedded.ReadDir("pages/static")
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, entry := range static {
		all["/static/"+entry.Name()] = file("static/" + entry.Name())
	}
	if api {
		all["/demo/"] = file("demo.html")
		all["/demo"] = http.RedirectHandler("/demo/", http.StatusTemporaryRedirect)
	}
	for path, page := range all {
		all[path] = readable(b, page)
	}
	return all
}

// readable lets a page be read. Whoever does not read is answered as at the health checks, which
// can only be read, too: with the methods that there are. Every answer has an identifier, as those
// of the API have.
func readable(b *backend, page http.Handler) http.Handler {
	other := b.app.Health(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			other.ServeHTTP(w, r)
			return
		}
		w.Header().Set(requestid.Header, requestid.Of(r))
		page.ServeHTTP(w, r)
	})
}

// guarded sets on every answer what is right for one that is not a page. Handlers that know better
// set their own.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// file answers with an embedded file. Browsers keep it, and ask each time whether it is still the
// same.
func file(name string) http.Handler {
	body, err := embedded.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", mediaTypes[path.Ext(name)])
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cache-Control", "public, max-age=0, must-revalidate")
		h.Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}

// home says what runs here, and nothing of the machine.
func home(w http.ResponseWriter, b *backend, api, ready bool) {
	h := w.Header()
	h.Set("Content-Type", mediaTypes[".html"])
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cache-Control", "no-store")
	_ = homePage.Execute(w, struct { // an error means that the client has left
		API, Ready              bool
		Role, Adapters, Version string
	}{api, ready, roles[b.role], b.adapters, version()})
}

var homePage = template.Must(template.ParseFS(embedded, "pages/home.html"))

// roles says what the values of -role mean.
var roles = map[string]string{
	"all":    "serves requests, stores ratings",
	"api":    "serves requests; others store ratings",
	"worker": "stores ratings; others serve requests",
}

// version is what the build knows about where it comes from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development build"
}
