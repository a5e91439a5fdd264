package pgstore

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/lib/pq"

	"github.com/khodnevis/khodnevis/internal/address"
)

// errDSN says that a connection string is of neither form.
var errDSN = errors.New("pgstore: the connection string is neither a URL that begins with postgres:// or " +
	"postgresql://, nor pairs of the form host=… user=… password='…'")

// parse reads a connection string. Its errors quote no value, and nothing of a string that it
// cannot split: any part of it may belong to a password. The driver gets only pairs that parse has
// understood: it takes anything with an equals sign for a pair, and would send a password in it to
// the server that the environment names.
func parse(dsn string) (pq.Config, error) {
	if _, err := pq.NewConfig(""); err != nil {
		return pq.Config{}, fmt.Errorf("pgstore: the environment: %w", err)
	}
	all, err := split(dsn)
	if err != nil {
		return pq.Config{}, err
	}
	if err := all.check(); err != nil {
		return pq.Config{}, err
	}
	settings, err := pq.NewConfig(all.String())
	if err == nil {
		return settings, nil
	}
	for _, one := range all {
		if _, err := pq.NewConfig(pairs{one}.String()); err != nil {
			return pq.Config{}, one.meaningless()
		}
	}
	// Parameters contradict each other, and the driver names them.
	return pq.Config{}, fmt.Errorf("pgstore: connection string: %w", err)
}

// pair is a parameter of a connection string.
type pair struct {
	name, value string
	delimited   bool // by characters that neither name nor value can have
}

type pairs []pair

// String returns p in the form of the driver.
func (p pairs) String() string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var s strings.Builder
	for _, one := range p {
		fmt.Fprintf(&s, "%s='%s' ", one.name, escape.Replace(one.value))
	}
	return s.String()
}

func split(dsn string) (pairs, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return splitURL(dsn)
	}
	return splitPairs([]rune(dsn))
}

// splitURL reads a URL, which may have several hosts, each with a port of its own.
func splitURL(dsn string) (pairs, error) {
	u, err := address.Parse(dsn, "postgres", "postgresql")
	if err != nil {
		return nil, fmt.Errorf("pgstore: connection string: %w", err)
	}
	var names, ports []string
	withPort := false
	for _, h := range u.Hosts {
		withPort = withPort || h.Port != ""
		if h.Port == "" {
			h.Port = "5432"
		}
		names, ports = append(names, h.Name), append(ports, h.Port)
	}
	if !withPort {
		ports = nil // the query or the environment may say it
	}
	var all pairs
	for _, one := range []pair{
		{"user", u.User, true}, {"password", u.Password, true}, {"dbname", u.Path, true},
		{"host", strings.Join(names, ","), true}, {"port", strings.Join(ports, ","), true},
	} {
		if one.value != "" {
			all = append(all, one)
		}
	}
	for entry := range strings.SplitSeq(u.Query, "&") {
		if entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		value, err := url.QueryUnescape(value)
		if !ok || err != nil {
			return nil, fmt.Errorf("pgstore: connection string: %w", address.ErrForm)
		}
		all = append(all, pair{name: name, value: value})
	}
	return all, nil
}

// splitPairs reads what libpq reads: name=value, separated by white space, a value with white space
// in single quotes, a backslash before any character that is meant as such.
func splitPairs(text []rune) (all pairs, err error) {
	skip := func() {
		for len(text) > 0 && unicode.IsSpace(text[0]) {
			text = text[1:]
		}
	}
	for skip(); len(text) > 0; skip() {
		end := slices.IndexFunc(text, func(r rune) bool { return r == '=' || unicode.IsSpace(r) })
		if end < 0 {
			return nil, errDSN
		}
		one := pair{name: string(text[:end])}
		if text = text[end:]; !plain.MatchString(one.name) {
			return nil, errDSN
		}
		if skip(); len(text) == 0 || text[0] != '=' {
			return nil, errDSN
		}
		text = text[1:]
		skip()
		quoted := len(text) > 0 && text[0] == '\''
		if quoted {
			text = text[1:]
		}
		var value []rune
		for len(text) > 0 && (quoted && text[0] != '\'' || !quoted && !unicode.IsSpace(text[0])) {
			if text[0] == '\\' {
				text = text[1:]
			}
			if len(text) == 0 {
				return nil, errDSN
			}
			value, text = append(value, text[0]), text[1:]
		}
		if quoted {
			if len(text) == 0 || len(text) > 1 && !unicode.IsSpace(text[1]) {
				return nil, errDSN
			}
			text = text[1:]
		}
		one.value = string(value)
		all = append(all, one)
	}
	return all, nil
}

// plain is what names of parameters are made of.
var plain = regexp.MustCompile(`^[a-z_]{1,63}$`)

// known are the parameters of a connection string: those of the driver, and the settings of the
// server that Open sets.
var known = func() map[string]bool {
	names := map[string]bool{"random_page_cost": true, "jit": true,
		"statement_timeout": true, "lock_timeout": true, "idle_in_transaction_session_timeout": true}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[pq.Config]()) {
		if name := f.Tag.Get("postgres"); name != "" && name != "-" {
			names[name] = true
		}
	}
	return names
}()

// check reports the first parameter that is unknown or has a value that it cannot have. What
// follows a password may be a part of it, and is not named.
func (p pairs) check() error {
	for i, one := range p {
		secret := slices.ContainsFunc(p[:i], func(b pair) bool { return b.name == "password" && !b.delimited })
		switch {
		case known[one.name]:
		case secret || !plain.MatchString(one.name):
			return errors.New("pgstore: the connection string has a parameter that is unknown, and may be a " +
				"part of " +
				"its password: put a password in single quotes, or in a URL escape what is special in it")
		default:
			return fmt.Errorf("pgstore: the connection string has the parameter %s, which is unknown; "+
				"settings of the server go into options, as in options='-c work_mem=64MB'", one.name)
		}
		if !one.sound() {
			return one.meaningless()
		}
	}
	return nil
}

func (p pair) meaningless() error {
	return fmt.Errorf("pgstore: the connection string has a parameter %s with a value that has no meaning", p.name)
}

// sound reports whether the value of p, which servers, resolvers and the driver quote in errors,
// can be what its name says.
func (p pair) sound() bool {
	switch p.name {
	case "host":
		for host := range strings.SplitSeq(p.value, ",") {
			if host != "" && !address.IsHost(host) && !strings.HasPrefix(host, "/") && !strings.HasPrefix(host, "@") {
				return false
			}
		}
	case "port":
		for port := range strings.SplitSeq(p.value, ",") {
			if !address.IsPort(port) {
				return false
			}
		}
	case "user":
		return !strings.Contains(p.value, ":")
	case "dbname":
		return !strings.Contains(p.value, "://")
	}
	return true
}
