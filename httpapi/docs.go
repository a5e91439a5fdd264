package httpapi

import (
	"embed"
	"net/http"
	"path"
	"strings"
)

// pages is the page that shows the schema to people and lets them try it, with what that page
// loads.
//
//go:embed docs
var pages embed.FS

// pagePolicy lets the page load what is served here and nothing else: it has no inline script or
// style.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// addDocs adds the routes of the page. They are not in the schema.
func (a *API) addDocs(t map[string]methods) {
	page := route{policy: public, header: []header{ifNoneMatchHeader}, page: true}
	page.run = func(c *call) error { return c.docs("index.html") }
	t["/docs/"] = methods{http.MethodGet: page}
	page.run = func(c *call) error { return c.docs(c.param) }
	t["/docs/:id/"] = methods{http.MethodGet: page}
}

// readDocs returns the files of the page, with the prefix in their links.
func readDocs(prefix string) map[string]*file {
	entries, err := pages.ReadDir("docs")
	if err != nil {
		panic(err) // they are part of the program
	}
	files := map[string]*file{}
	for _, e := range entries {
		body, err := pages.ReadFile("docs/" + e.Name())
		if err != nil {
			panic(err)
		}
		files[e.Name()] = newFile(pageTypes[path.Ext(e.Name())],
			[]byte(strings.ReplaceAll(string(body), "{prefix}", prefix)))
	}
	return files
}

// pageTypes are given here because the host's table of types may differ.
var pageTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// docs responds with a file of the page.
func (c *call) docs(name string) error {
	f, ok := c.page[name]
	if !ok {
		return problemNotFound
	}
	c.w.Header().Set("Content-Security-Policy", pagePolicy)
	return c.file(f)
}
