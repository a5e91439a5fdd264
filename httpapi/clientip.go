package httpapi

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// proxies finds the address of the client.
type proxies struct {
	trusted []netip.Prefix
	log     *slog.Logger
	warned  sync.Once
}

// client returns the address of the client: the peer's or, as long as that is a trusted proxy's,
// the one before it in X-Forwarded-For. A trusted proxy that wrote no valid address counts itself.
// Without a valid peer address it is the zero Addr.
func (p *proxies) client(r *http.Request) netip.Addr {
	ip := peerAddr(r.RemoteAddr)
	seen := r.Header.Values("X-Forwarded-For")
	if len(p.trusted) == 0 {
		if len(seen) > 0 && (ip.IsLoopback() || ip.IsPrivate()) {
			p.warned.Do(func() {
				p.log.Warn("httpapi: a proxy that is not in Config.TrustedProxies hands requests over: all of its clients "+
					"count as one", "proxy", ip)
			})
		}
		return ip
	}
	for list := strings.Join(seen, ","); list != "" && p.trusts(ip); {
		last := list
		if i := strings.LastIndexByte(list, ','); i >= 0 {
			list, last = list[:i], list[i+1:]
		} else {
			list = ""
		}
		next, ok := parseForwarded(last)
		if !ok {
			break
		}
		ip = next
	}
	return ip
}

func (p *proxies) trusts(ip netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(ip) })
}

func peerAddr(remote string) netip.Addr {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return plain(peer.Addr())
}

// parseForwarded reads one entry of X-Forwarded-For. Some proxies add the port.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.Trim(entry, " \t")
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]")); err == nil {
		return plain(ip), true
	}
	ip := peerAddr(entry)
	return ip, ip.IsValid()
}

// plain returns the canonical form of an address.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
