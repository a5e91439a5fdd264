package rediscache

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// ErrDown says that Redis did not answer lately and was not asked this time.
var ErrDown = errors.New("rediscache: Redis does not answer and was not asked again")

// ask sends one command and returns its answer.
func (c *Cache) ask(ctx context.Context, command string, args []any) (any, error) {
	return c.guard(ctx, func(conn redis.Conn, timeout time.Duration) (any, error) {
		return redis.DoWithTimeout(conn, timeout, command, args...)
	})
}

// run runs a script. Args begin with the number of keys.
func (c *Cache) run(ctx context.Context, s script, args []any) (any, error) {
	return c.guard(ctx, func(conn redis.Conn, timeout time.Duration) (any, error) {
		reply, err := redis.DoWithTimeout(conn, timeout, "EVALSHA", append([]any{s.hash}, args...)...)
		if e, ok := errors.AsType[redis.Error](err); ok && strings.HasPrefix(string(e), "NOSCRIPT") {
			// Redis is new, or somebody flushed its scripts. EVAL also remembers the script.
			return redis.DoWithTimeout(conn, timeout, "EVAL", append([]any{s.source}, args...)...)
		}
		return reply, err
	})
}

// guard calls do with a connection, unless the circuit breaker is open, and reports the outcome to
// the breaker.
//
// It avoids redigo's methods that take a context: they leave a goroutine behind that reads the
// arguments after they have returned, and the arguments may be the caller's again by then.
func (c *Cache) guard(ctx context.Context, do func(conn redis.Conn, timeout time.Duration) (any, error)) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !c.breaker.Allows(time.Now()) {
		return nil, ErrDown
	}
	conn, err := c.connect(ctx)
	if err != nil {
		// A full pool and a caller that left say nothing about Redis.
		if !errors.Is(err, redis.ErrPoolExhausted) && !errors.Is(err, context.Canceled) {
			c.breaker.Failed(time.Now())
		}
		return nil, err
	}
	defer conn.Close() // it can only fail with what do has failed with
	reply, err := do(conn, left(ctx, c.timeout))
	refusal, answered := errors.AsType[redis.Error](err)
	if err == nil || answered {
		c.breaker.Succeeded()
	} else {
		c.breaker.Failed(time.Now())
	}
	if answered && strings.Contains(string(refusal), "READONLY ") { // Redis 6 puts something before it
		spoil(conn)
	}
	return reply, err
}

// spoil makes the pool close conn, because it leads to a server that has become a replica: a new
// connection may lead to the new primary. redigo closes connections after network failures only,
// such as a timeout that has passed already.
func spoil(conn redis.Conn) { _, _ = redis.DoWithTimeout(conn, time.Nanosecond, "PING") }

func (c *Cache) connect(ctx context.Context) (redis.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.pool.GetContext(ctx)
}

// left returns how much of timeout ctx leaves: never zero, which means no bound to redigo.
func left(ctx context.Context, timeout time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(end))
	}
	return max(timeout, time.Microsecond)
}
