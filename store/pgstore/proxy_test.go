package pgstore_test

import (
	"net/url"
	"testing"

	"github.com/khodnevis/khodnevis/internal/faultproxy"
	"github.com/khodnevis/khodnevis/internal/testserver"
)

// proxy stands between a test and the server.
type proxy struct {
	*faultproxy.Proxy
	dsn string // leads to the server by way of the proxy
}

// newProxy starts a proxy that ends with the test. The test is skipped without a server that is
// reached by TCP without TLS.
func newProxy(t *testing.T) proxy {
	t.Helper()
	u, err := url.Parse(testserver.Postgres(t))
	if err != nil || u.Port() == "" || u.Query().Get("sslmode") != "disable" {
		// the proxy takes their place and reads; make test allows both
		t.Skip("the server's address is no URL with a port and sslmode=disable")
	}
	p := faultproxy.New(t, u.Host)
	u.Host = p.Addr()
	return proxy{p, u.String()}
}
