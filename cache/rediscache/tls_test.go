package rediscache_test

import (
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/khodnevis/khodnevis/cache/rediscache"
)

// A server whose certificate no authority has signed that is trusted here is refused, and the error
// says why.
func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // any server with a certificate of its own making
	t.Cleanup(web.Close)
	c, _ := open(t, "rediss://"+web.Listener.Addr().String(), patient())
	_, err := c.GetMany(t.Context(), []string{"k"})
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("the error is %v", err)
	}
	if errors.Is(err, rediscache.ErrDown) {
		t.Error("it was not even asked")
	}
}
