package rediscache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis/internal/address"
	"github.com/khodnevis/khodnevis/internal/breaker"
)

const (
	// idleTimeout is how long a connection is kept that nobody needs.
	idleTimeout = time.Minute
	// testAfter is how long a connection must have been idle to be tested before it is used. It is
	// shorter than breaker.ProbeInterval, so that a probe finds the connections that are dead since
	// Redis ended.
	testAfter = breaker.ProbeInterval / 2
)

// Open returns a pool for New that waits for no longer than cfg.Timeout in any place. The server is
// "host:port" or "redis://user:password@host:port/database", with rediss:// for TLS. Open does not
// connect: a Redis that is not there yet may come later. The caller closes the pool. No error
// quotes a password.
func Open(server string, cfg Config) (*redis.Pool, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if address.IsHost(server) || address.IsHostPort(server) {
		server = "redis://" + server
	}
	password, err := checkURL(server)
	if err != nil {
		return nil, err
	}
	return &redis.Pool{
		MaxActive: cfg.MaxConns, MaxIdle: cfg.MaxConns, Wait: true, IdleTimeout: idleTimeout,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			conn, err := redis.DialURLContext(ctx, server,
				redis.DialConnectTimeout(cfg.Timeout), redis.DialTLSHandshakeTimeout(cfg.Timeout),
				redis.DialReadTimeout(cfg.Timeout), redis.DialWriteTimeout(cfg.Timeout))
			return conn, withoutPassword(err, password)
		},
		// With a silent server, the first idle connection takes all the time there is, and the
		// others are given up at once.
		TestOnBorrowContext: func(ctx context.Context, conn redis.Conn, lastUsed time.Time) error {
			if time.Since(lastUsed) < testAfter {
				return nil
			}
			_, err := redis.DoWithTimeout(conn, left(ctx, cfg.Timeout), "PING")
			return err
		},
	}, nil
}

var database = regexp.MustCompile(`^[0-9]*$`)

// checkURL reports early what redigo would report at every call, and returns the password. Its
// errors quote nothing of the URL.
func checkURL(server string) (password string, err error) {
	u, err := address.Parse(server, "redis", "rediss")
	_, taken := url.Parse(server) // by redigo, which is stricter about what is in a password
	switch {
	case err != nil:
		return "", fmt.Errorf("rediscache: the server is neither host:port nor a URL with redis:// or rediss://: %w", err)
	case taken != nil:
		return "", errors.New("rediscache: the URL of the server has a character that must be escaped")
	case len(u.Hosts) != 1 || !address.IsHost(u.Hosts[0].Name):
		return "", errors.New("rediscache: the URL of the server must have one host")
	case !database.MatchString(u.Path):
		return "", errors.New("rediscache: the path of the server's URL must be the number of a database")
	case u.Query != "":
		return "", errors.New("rediscache: the URL of the server has parameters, and there are none")
	}
	return u.Password, nil
}

// withoutPassword removes a password from the answer of a server to AUTH: a server that does not
// know the command quotes its arguments, cut off somewhere.
func withoutPassword(err error, password string) error {
	answer, ok := errors.AsType[redis.Error](err)
	if !ok || password == "" {
		return err
	}
	text, _, _ := strings.Cut(string(answer), "with args")
	return redis.Error(strings.ReplaceAll(text, password, "…"))
}
