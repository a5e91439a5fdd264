// Command embed is a web site with users and cookie sessions of its own that takes contents and
// ratings in, under /blog/api/.
//
//	go run ./examples/embed
//
// Its pages and its users are in site.go; all that it takes to embed Khodnevis is here.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/khodnevis/khodnevis"
)

// newHandler puts the module beside the site's own pages. The site knows who makes a request (see
// site.Authenticate), so there are no user routes. Browsers add cookies to requests that other
// sites make them send, so none of those may change anything.
func newHandler(s *site) (http.Handler, *khodnevis.App, error) {
	app, err := khodnevis.New(khodnevis.Config{Prefix: "/blog/api/", Authenticator: s})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /join", s.join)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.Handle("/blog/api/", app.Handler())
	return http.NewCrossOriginProtection().Handler(mux), app, nil
}

func main() {
	handler, app, err := newHandler(newSite(time.Now))
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(app.Run(context.Background())) }()
	server := &http.Server{Addr: "127.0.0.1:8080", Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	log.Print("http://localhost:8080")
	log.Fatal(server.ListenAndServe())
}
