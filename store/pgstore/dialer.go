package pgstore

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// Dialer opens connections that give up on a silent server. It is for hosts that open their own
// database handle:
//
//	connector, err := pq.NewConnector(dsn)
//	connector.Dialer(pgstore.Dialer{Silence: 10 * time.Second})
//	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
//
// Such a host also sets what Open sets; see there.
type Dialer struct {
	// Silence is how long one read or one write may wait. It must be longer than the server's
	// statement_timeout: a statement that runs says nothing until it is done. Zero: 9 seconds.
	Silence time.Duration
}

// Dial implements pq.Dialer.
func (d Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout implements pq.Dialer.
func (d Dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Silence == 0 {
		d.Silence = OpenConfig{}.orDefault().silence()
	}
	dialer := net.Dialer{Timeout: d.Silence, KeepAlive: min(d.Silence, 15*time.Second)}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, silence: d.Silence}, nil
}

// conn is a connection whose every read and write has a deadline of its own, and that which the
// driver sets if it is earlier.
type conn struct {
	net.Conn
	silence time.Duration
	limit   atomic.Pointer[time.Time] // the driver's, while it connects
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.limit.Store(&t)
	return c.Conn.SetDeadline(t)
}

func (c *conn) deadline() time.Time {
	t := time.Now().Add(c.silence)
	if limit := c.limit.Load(); limit != nil && !limit.IsZero() && limit.Before(t) {
		return *limit
	}
	return t
}
