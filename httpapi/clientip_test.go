package httpapi_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/httpapi"
)

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// A15: the client is the peer or, behind trusted proxies, the last address that one of them saw and
// that is no trusted proxy's.
func TestClientIP(t *testing.T) {
	t.Parallel()
	lb := prefixes("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32")
	for _, x := range []struct {
		name    string
		trusted []netip.Prefix
		peer    string
		seen    []string
		want    string
	}{
		{"no proxy", nil, "203.0.113.9:4000", nil, "203.0.113.9"},
		{"no proxy is trusted", nil, "10.0.0.1:4000", []string{"203.0.113.9"}, "10.0.0.1"},
		{"the peer is no proxy", lb, "203.0.113.9:4000", []string{"198.51.100.1"}, "203.0.113.9"},
		{"one proxy", lb, "10.0.0.1:4000", []string{"203.0.113.9"}, "203.0.113.9"},
		{"one proxy that saw nothing", lb, "10.0.0.1:4000", nil, "10.0.0.1"},
		{"what the client sent itself stands before", lb, "10.0.0.1:4000", []string{"198.51.100.1, 203.0.113.9"},
			"203.0.113.9"},
		{"and claims to be a proxy's", lb, "10.0.0.1:4000", []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		{"in a line of its own", lb, "10.0.0.1:4000", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		{"two proxies", lb, "10.0.0.1:4000", []string{"198.51.100.1, 203.0.113.9,10.0.0.2"}, "203.0.113.9"},
		{"nobody but proxies", lb, "10.0.0.1:4000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage", lb, "10.0.0.1:4000", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"garbage behind a proxy", lb, "10.0.0.1:4000", []string{"x, 10.0.0.2"}, "10.0.0.2"},
		{"an empty entry", lb, "10.0.0.1:4000", []string{"203.0.113.9,"}, "10.0.0.1"},
		{"an empty header", lb, "10.0.0.1:4000", []string{""}, "10.0.0.1"},
		{"with a port", lb, "10.0.0.1:4000", []string{"203.0.113.9:55"}, "203.0.113.9"},
		{"IPv6", lb, "[2001:db8:1::1]:4000", []string{"2001:db8:2::9"}, "2001:db8:2::9"},
		{"IPv6 with a port", lb, "[2001:db8:1::1]:4000", []string{"[2001:db8:2::9]:55"}, "2001:db8:2::9"},
		{"IPv4 in IPv6", lb, "[::ffff:10.0.0.1]:4000", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"a zone", lb, "[fe80::1%eth0]:4000", []string{"203.0.113.9"}, "fe80::1"},
		{"no address at all", lb, "@", []string{"203.0.113.9"}, "invalid IP"},
	} {
		if got := httpapi.ClientIP(x.trusted, x.peer, x.seen).String(); got != x.want {
			t.Errorf("%s: %v saw %q: %s, want %s", x.name, x.peer, x.seen, got, x.want)
		}
	}
}

// FuzzClientIP holds the address to what must be so whatever is sent: it is the peer's, or that of
// an entry behind which there are trusted proxies only.
func FuzzClientIP(f *testing.F) {
	f.Add("10.0.0.1:1", "203.0.113.9, 10.0.0.2")
	f.Add("203.0.113.9:1", "10.0.0.1")
	f.Add("[::1]:80", "::ffff:10.0.0.1,[fe80::1%x]:1")
	trusted := prefixes("10.0.0.0/8", "::1/128")
	f.Fuzz(func(t *testing.T, peer, seen string) {
		got := httpapi.ClientIP(trusted, peer, []string{seen})
		if got.Zone() != "" || got.Is4In6() {
			t.Errorf("%s is not in its one form", got)
		}
		first, err := netip.ParseAddrPort(peer)
		if err != nil {
			if got.IsValid() {
				t.Errorf("%q is no address, and %s was made of it", peer, got)
			}
			return
		}
		hops := []netip.Addr{first.Addr().Unmap().WithZone("")}
		entries := strings.Split(seen, ",")
		slices.Reverse(entries)
		for _, e := range entries {
			if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(hops[len(hops)-1]) }) {
				break
			}
			if got == hops[len(hops)-1] {
				return // it may have stopped here: what comes is no address
			}
			ip, err := netip.ParseAddr(strings.Trim(e, " \t[]"))
			if err != nil {
				at, err := netip.ParseAddrPort(strings.Trim(e, " \t"))
				if err != nil {
					break
				}
				ip = at.Addr()
			}
			hops = append(hops, ip.Unmap().WithZone(""))
		}
		if got != hops[len(hops)-1] {
			t.Errorf("%s saw %q: %s, want %s", peer, seen, got, hops[len(hops)-1])
		}
	})
}

// A15: a spoofed header changes no bucket, that of logins neither.
func TestSpoofedHeaderChangesNoBucket(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		trusted []netip.Prefix
		sent    func(n int) string // the header as the peer sends it
	}{
		"no proxy is trusted":          {nil, spread},
		"the peer is no trusted proxy": {prefixes("10.0.0.0/8"), spread},
		"behind a proxy": {prefixes("127.0.0.1/32"), func(n int) string {
			return spread(n) +
				", 203.0.113.9"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, setup{config: func(c *khodnevis.Config) {
				c.Auth.LimitsOff = false
				c.TrustedProxies = x.trusted
			}})
			for n := range 6 {
				a := s.do(t, request{method: "POST", path: "users/login/", body: `{"username":"ada","password":"wrong"}`,
					header: map[string]string{"X-Forwarded-For": x.sent(n)}})
				if want := http.StatusUnauthorized; n < 5 && a.status != want {
					t.Fatalf("wrong login %d: %s", n, a)
				}
				if n == 5 && a.status != http.StatusTooManyRequests {
					t.Errorf("the sixth wrong login from one place: %s", a)
				}
			}
			if x.trusted == nil {
				return
			}
			if _, err := s.app.Users.Login(t.Context(), auth.Credentials{Username: ada, Password: password},
				auth.Source{IP: netip.MustParseAddr("192.0.2.1")}); err != nil {
				t.Errorf("elsewhere: %v", err)
			}
		})
	}
}

// spread is an address in a prefix of its own for each n.
func spread(n int) string {
	return netip.AddrFrom4([4]byte{198, 51, byte(n), 7}).String()
}

func TestTrustedProxiesAreChecked(t *testing.T) {
	t.Parallel()
	for _, bad := range []netip.Prefix{{}, netip.MustParsePrefix("::ffff:10.0.0.0/104")} {
		if _, err := khodnevis.New(khodnevis.Config{TrustedProxies: []netip.Prefix{bad}}); err == nil ||
			!strings.Contains(err.Error(), "TrustedProxies") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// Whoever forgets to name the proxy is told, once, and not because a client sends a header.
func TestUnknownProxyIsLogged(t *testing.T) {
	t.Parallel()
	f := &faults{}
	s := serve(t, setup{config: f.into})
	for range 3 {
		s.do(t, request{path: "contents/", header: map[string]string{"X-Forwarded-For": "203.0.113.9"}})
	}
	if n := strings.Count(f.log.String(), "TrustedProxies"); n != 1 {
		t.Errorf("told %d times: %s", n, f.log.String())
	}
}
