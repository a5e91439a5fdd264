package auth_test

import (
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/internal/counter"
	"github.com/khodnevis/khodnevis/internal/docsection"
)

var update = flag.Bool("update", false, "write the generated sections of documents anew")

// T8: the limits and lifetimes in SECURITY.md are those of the code.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	c, err := auth.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	prefix, account, pair, register, reauth := auth.Rules()
	right, rightPrefix, busy := auth.LoadRules()
	var b strings.Builder
	b.WriteString("| accounts | limit | adjusted by |\n|---|---|---|\n")
	row := func(what, by, format string, args ...any) {
		if by != "" {
			by = "`Auth." + by + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", what, fmt.Sprintf(format, args...), by)
	}
	row("password", "PasswordMin", "%d to %d code points, %d bytes; take 15 where nothing else guards an account",
		c.PasswordMin, auth.MaxPassword, auth.MaxPasswordBytes)
	row("username", "", "%d to %d code points", auth.MinUsername, auth.MaxUsername)
	row("e-mail address", "", "%d bytes, optional, not verified", auth.MaxEmail)
	row("hash", "Hash", "argon2id, %d KiB, %d passes, %d lane", c.Hash.Memory, c.Hash.Time, c.Hash.Threads)
	row("hashes at once", "MaxHashes", "half of the processors, at least 1; %d callers wait up to %s, others get 503",
		c.HashQueue, span(c.HashWait))
	row("places to hash or wait of one network (/24, /48), and of one user", "HashQueue", "%d, the next ones get 503",
		c.HashQueue/auth.ShareOfQueue)
	row("memory of hashing", "Hash, MaxHashes",
		"%d MiB for each hash at once; the heap grows to three times as much at most", c.Hash.Memory>>10)
	row("access token", "AccessTTL", "%s", span(c.AccessTTL))
	row("session that is not refreshed", "RefreshIdle", "%s", span(c.RefreshIdle))
	row("session", "SessionTTL", "%s", span(c.SessionTTL))
	row("sessions of a user", "MaxSessions", "%d, the oldest ends", c.MaxSessions)
	row("a spent refresh token", "Grace",
		"works for %s more while its successor is unused, %d times; after that it ends its session", span(c.Grace),
		auth.MaxSiblings)
	row("tokens that a session keeps", "", "those of its last %d refreshes; any former refresh token still ends it",
		auth.KeptGenerations)
	row("end of a session", "Counter", "at once; on other nodes within %s, with a shared cache that takes writes %s, "+
		"also while their store is down; with both down as below", span(auth.KnownFor), span(auth.EndsWithin))
	row("while the store is down", "StaleTokens",
		"a token that was checked passes for %s, never past its expiry; any other is 503", span(c.StaleTokens))
	row("remembered checks", "", "%d good tokens for %s, %d unknown ones for %s", auth.MaxKnown, span(auth.KnownFor),
		auth.MaxUnknown, span(auth.UnknownFor))
	row("a prefix, wherever it is counted", "",
		"an IPv4 /24 or an IPv6 /64; an IPv6 /48 may have %d times what a /64 has",
		counter.GroupsOf(netip.IPv6Loopback())[1].Factor)
	row("wrong logins, one account from one prefix", "", "%d, then one after %s, doubling to %s", pair.First,
		span(pair.Pause), span(auth.MaxDelay))
	row("wrong logins from one prefix", "", "%d in %s", prefix.First, span(prefix.Window))
	row("wrong logins, one account from everywhere", "",
		"%d in %s, then one in %s; prefixes of a success in the last %s are not counted, and its very address (or /64) "+
			"has a bound of its own", account.First, span(account.Window), span(account.Pause), span(auth.TrustFor))
	row("places that one account makes trusted", "", "%d a day", auth.NewPlaces)
	row("right passwords of one account, from one prefix", "", "%d, %d in %s", right.First, rightPrefix.First,
		span(right.Window))
	row("attempts from one prefix that there was no place for", "", "%d in %s", busy.First, span(busy.Window))
	row("registrations from one prefix", "", "%d, then one in %s", register.First, span(register.Pause))
	row("wrong current passwords", "", "%d, then one after %s, doubling to %s", reauth.First, span(reauth.Pause),
		span(auth.MaxDelay))
	row("counts kept in process", "",
		"%d of each kind, the least used go first; those of accounts are never forgotten, beyond as many they are shared",
		auth.MaxCounts)
	docsection.Check(t, filepath.Join("..", "SECURITY.md"), "accounts", b.String(), *update)
}

// span writes a duration as people do.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := d / u.unit; d%u.unit == 0 && n > 1 {
			return fmt.Sprintf("%d %ss", n, u.name)
		} else if d == u.unit {
			return "1 " + u.name
		}
	}
	return fmt.Sprintf("%g s", d.Seconds())
}
