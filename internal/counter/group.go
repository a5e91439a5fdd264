package counter

import "net/netip"

// siteFactor is how many times the limit of a /64 holds for a /48: a customer of IPv6 has one or
// the other.
const siteFactor = 4

// Group is what an address is counted as.
type Group struct {
	// Name is the prefix, such as 203.0.113.0/24, or "unknown".
	Name string
	// Factor is how many times the limit of a /24 or a /64 the group has.
	Factor int64
}

// GroupsOf returns the groups that an address is counted in, the narrowest first: the /24 of an
// IPv4 address, also of one that is mapped into IPv6; the /64 and the /48 of an IPv6 address, the
// latter with four times the limit. All who have no address are one group. Whatever is limited by
// address is limited in each of its groups.
func GroupsOf(ip netip.Addr) []Group {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid():
		return []Group{{"unknown", 1}}
	case ip.Is4():
		return []Group{{prefix(ip, 24), 1}}
	}
	return []Group{{prefix(ip, 64), 1}, {prefix(ip, 48), siteFactor}}
}

func prefix(ip netip.Addr, bits int) string { return netip.PrefixFrom(ip, bits).Masked().String() }
