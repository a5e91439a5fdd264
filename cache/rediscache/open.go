package rediscache

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/khodnevis/khodnevis/internal/breaker"
)

const (
	// idleTimeout is how long a connection is kept that nobody needs.
	idleTimeout = time.Minute
	// testAfter is how long a connection must have been idle to be tried before it is lent. It is shorter than
	// breaker.ProbeInterval, so that a probe finds out which connections the end of a Redis has left dead.
	testAfter = breaker.ProbeInterval / 2
)

// Open returns a pool for New that waits for no longer than cfg.Timeout in any place. The server is "host:port" or
// "redis://user:password@host:port/database", with rediss:// for TLS. Open does not connect: a Redis that is not there yet
// may come later. The caller closes the pool.
func Open(server string, cfg Config) (*redis.Pool, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if !strings.Contains(server, "://") {
		server = "redis://" + server
	}
	if err := checkURL(server); err != nil {
		return nil, err
	}
	return &redis.Pool{
		MaxActive: cfg.MaxConns, MaxIdle: cfg.MaxConns, Wait: true, IdleTimeout: idleTimeout,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialURLContext(ctx, server,
				redis.DialConnectTimeout(cfg.Timeout), redis.DialTLSHandshakeTimeout(cfg.Timeout),
				redis.DialReadTimeout(cfg.Timeout), redis.DialWriteTimeout(cfg.Timeout))
		},
		// With a silent server, the first idle connection takes all the time there is, and the others are given up at once.
		TestOnBorrowContext: func(ctx context.Context, conn redis.Conn, lastUsed time.Time) error {
			if time.Since(lastUsed) < testAfter {
				return nil
			}
			_, err := redis.DoWithTimeout(conn, left(ctx, cfg.Timeout), "PING")
			return err
		},
	}, nil
}

var database = regexp.MustCompile(`^/?[0-9]*$`)

// checkURL finds early what redigo would say at every call. It repeats nothing of the URL, which may hold a password.
func checkURL(server string) error {
	u, err := url.Parse(server)
	switch {
	case err != nil:
		return errors.New("rediscache: the server is neither host:port nor a URL")
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return errors.New("rediscache: the URL of the server must begin with redis:// or rediss://")
	case u.Host == "":
		return errors.New("rediscache: the server has no host")
	case !database.MatchString(u.Path):
		return errors.New("rediscache: the path of the server's URL must be the number of a database")
	}
	return nil
}
