package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/khodnevis/khodnevis/auth"
)

const (
	// The prefix makes browsers refuse the cookie from other hosts and over plain HTTP, except from
	// localhost.
	cookieName = "__Host-session"
	sessionFor = 12 * time.Hour
)

// site is a host like any other: it has users, sessions and pages. It keeps them in memory; yours
// has a database.
type site struct {
	now      func() time.Time
	cost     int // of bcrypt
	mu       sync.Mutex
	users    map[string]user             // by name
	sessions map[[sha256.Size]byte]visit // by the hash of the cookie, so that who reads the table cannot sign in
}

type user struct {
	id, name  string
	password  []byte // a bcrypt hash
	moderator bool
}

type visit struct {
	user user
	ends time.Time
}

func newSite(now func() time.Time) *site {
	return &site{now: now, cost: bcrypt.DefaultCost, users: map[string]user{}, sessions: map[[sha256.Size]byte]visit{}}
}

// Authenticate implements auth.Authenticator: the one method that a host with its own users has to
// write. No cookie is no credentials, a cookie that names no session is wrong ones. A site that
// asks a database wraps auth.ErrUnavailable when that is down.
func (s *site) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	switch cookies := r.CookiesNamed(cookieName); len(cookies) {
	case 0:
		return auth.Principal{}, auth.ErrNoCredentials
	case 1:
		if u, ok := s.visitor(cookies[0].Value); ok {
			return auth.Principal{Subject: u.id, Staff: u.moderator}, nil
		}
	}
	return auth.Principal{}, auth.ErrInvalidCredentials
}

// Scheme implements auth.Schemer: clients, the schema and its page are told of the cookie.
func (s *site) Scheme() auth.Scheme {
	return auth.Scheme{Challenge: `Session realm="blog"`, Cookie: cookieName}
}

// visitor returns the user whose session a cookie names.
func (s *site) visitor(cookie string) (user, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.sessions[sha256.Sum256([]byte(cookie))]
	return v.user, ok && s.now().Before(v.ends)
}

// add makes a user, unless the name is taken.
func (s *site) add(name, password string, moderator bool) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.cost)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.users[name]; taken || name == "" {
		return fmt.Errorf("the name %q is taken", name)
	}
	s.users[name] = user{id: strconv.Itoa(len(s.users) + 1), name: name, password: hash, moderator: moderator}
	return nil
}

// begin signs a user in and returns the cookie.
func (s *site) begin(name, password string) (*http.Cookie, bool) {
	s.mu.Lock()
	u, ok := s.users[name]
	s.mu.Unlock()
	if !ok || bcrypt.CompareHashAndPassword(u.password, []byte(password)) != nil {
		return nil, false
	}
	token := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[sha256.Sum256([]byte(token))] = visit{user: u, ends: s.now().Add(sessionFor)}
	return newCookie(token, sessionFor), true
}

// newCookie returns a cookie that scripts cannot read and that other sites' forms do not send.
func newCookie(value string, lasts time.Duration) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: int(lasts.Seconds()), Secure: true,
		HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func (s *site) join(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := s.add(r.FormValue("name"), r.FormValue("password"), false); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.login(w, r)
}

func (s *site) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	cookie, ok := s.begin(r.FormValue("name"), r.FormValue("password"))
	if !ok {
		http.Error(w, "There is no such user, or the password is another.", http.StatusForbidden)
		return
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		delete(s.sessions, sha256.Sum256([]byte(cookie.Value)))
		s.mu.Unlock()
	}
	http.SetCookie(w, newCookie("", -time.Second))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

const form = `<form method=post action=/login>
<input name=name placeholder=name> <input name=password type=password placeholder=password>
<button>Sign in</button> <button formaction=/join>Join</button></form>`

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, "<!doctype html><title>A blog</title><h1>A blog</h1>\n")
	if cookie, err := r.Cookie(cookieName); err == nil {
		if u, ok := s.visitor(cookie.Value); ok {
			fmt.Fprintf(w, "<p>You are %s. <form method=post action=/logout><button>Sign out</button></form>\n",
				html.EscapeString(u.name))
			fmt.Fprint(w,
				"<p>The API knows you, too: <a href=/blog/api/contents/>contents</a>, <a href=/blog/api/docs/>docs</a>.\n")
			return
		}
		http.SetCookie(w, newCookie("", -time.Second)) // it has ended
	}
	fmt.Fprint(w, form)
}
