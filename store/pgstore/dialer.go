package pgstore

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// Dialer opens connections that give up on a silent server. It is for hosts that open their own database handle:
//
//	connector, err := pq.NewConnector(dsn)
//	connector.Dialer(pgstore.Dialer{Silence: 10 * time.Second})
//	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
//
// Such a host also sets what Open sets; see there.
type Dialer struct {
	// Silence is how long one read or one write may wait. It must be longer than the server's statement_timeout: a statement
	// that runs says nothing until it is done. Zero: 9 seconds.
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
	dialer := net.Dialer{Timeout: d.Silence, KeepAlive: d.Silence}
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, silence: d.Silence}, nil
}

// conn is a connection whose every read and write has a deadline of its own, and that which the driver sets if it is earlier.
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

// migrating is how many migrations run in this process. A server that makes an index says nothing for as long as that takes, on a
// connection that the driver keeps to itself.
var migrating atomic.Int32

// migrationSilence is how long a server may say nothing while migrations run. One that is gone is noticed sooner, by keep-alive.
const migrationSilence = time.Hour

func (c *conn) deadline() time.Time {
	silence := c.silence
	if migrating.Load() > 0 {
		silence = max(silence, migrationSilence)
	}
	t := time.Now().Add(silence)
	if limit := c.limit.Load(); limit != nil && !limit.IsZero() && limit.Before(t) {
		return *limit
	}
	return t
}
