// Package address reads addresses of servers. An address may hold a password, at a place where
// nobody expects one if it is malformed: so no error quotes any part of an address.
package address

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Host is a server's name or IP address, or, beginning with a slash, the folder of a socket, with a
// port, or "" without one.
type Host struct{ Name, Port string }

// URL is one of the form scheme://user:password@host:port,host:port/path?query.
type URL struct {
	Scheme         string
	User, Password string // decoded; "" if there is none
	Hosts          []Host // none if the URL has none
	Path           string // decoded, without the slash that it begins with
	Query          string // as it stands
}

// ErrForm says that a text is no such URL. It says what helps most often.
var ErrForm = errors.New("it is no URL of the form scheme://user:password@host:port/path; " +
	"in a user or a password, write %40 for @, %3A for :, %2F for /, %3F for ? and %23 for #")

// Parse reads a URL with one of some schemes, which are compared letter by letter. More than one @
// or any # is refused, since what is before it may be a part of the password. ErrForm: s is no such
// URL.
func Parse(s string, schemes ...string) (URL, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	known := false
	for _, one := range schemes {
		known = known || scheme == one
	}
	if !ok || !known || strings.ContainsFunc(rest, unprintable) || strings.Contains(rest, "#") {
		return URL{}, ErrForm
	}
	authority, rest := cutBefore(rest, "/?")
	path, query, _ := strings.Cut(rest, "?")
	login, hosts, hasLogin := strings.Cut(authority, "@")
	if !hasLogin {
		login, hosts = "", authority
	}
	if strings.Contains(hosts+path+query, "@") {
		return URL{}, ErrForm
	}
	u := URL{Scheme: scheme, Query: query}
	user, password, _ := strings.Cut(login, ":")
	var errs [3]error
	u.User, errs[0] = url.PathUnescape(user)
	u.Password, errs[1] = url.PathUnescape(password)
	u.Path, errs[2] = url.PathUnescape(strings.TrimPrefix(path, "/"))
	if errors.Join(errs[:]...) != nil {
		return URL{}, ErrForm
	}
	if hosts == "" {
		return u, nil
	}
	for one := range strings.SplitSeq(hosts, ",") {
		h, ok := split(one)
		if !ok {
			return URL{}, ErrForm
		}
		u.Hosts = append(u.Hosts, h)
	}
	return u, nil
}

// cutBefore cuts s before the first of some characters.
func cutBefore(s, characters string) (before, after string) {
	if i := strings.IndexAny(s, characters); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f }

// split reads a host of a URL, with a port or without.
func split(s string) (Host, bool) {
	name, port := s, ""
	if i := strings.LastIndex(s, ":"); i >= 0 && !strings.HasSuffix(s, "]") {
		if name, port = s[:i], s[i+1:]; !IsPort(port) {
			return Host{}, false
		}
	}
	if inside, ok := strings.CutPrefix(name, "["); ok {
		inside, ok = strings.CutSuffix(inside, "]")
		ip, err := netip.ParseAddr(inside)
		return Host{inside, port}, ok && err == nil && ip.Is6()
	}
	name, err := url.PathUnescape(name)
	sound := !strings.Contains(name, ":") && (IsHost(name) || strings.HasPrefix(name, "/"))
	return Host{name, port}, err == nil && sound
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})$`)

// IsHost reports whether s is a host's name or an IP address.
func IsHost(s string) bool {
	ip, err := netip.ParseAddr(s)
	return hostname.MatchString(s) || err == nil && ip.IsValid()
}

// IsPort reports whether s is a port to connect to.
func IsPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// IsHostPort reports whether s is of the form host:port.
func IsHostPort(s string) bool {
	h, ok := split(s)
	return ok && h.Port != "" && !strings.HasPrefix(h.Name, "/")
}
