package pgstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/khodnevis/khodnevis/store/pgstore"
)

// Without the authority that signed its certificate a server is refused, and the error says why;
// with it, the handshake succeeds.
func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shaken := make(chan error, 16)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close() //nolint:errcheck // of a test
				request := make([]byte, 8)
				if _, err := io.ReadFull(conn, request); err != nil {
					return
				}
				_, _ = conn.Write([]byte("S"))
				shaken <- tls.Server(conn,
					&tls.Config{Certificates: web.TLS.Certificates}).HandshakeContext(t.Context())
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	for root, trusted := range map[string]bool{"": false, "&sslrootcert=" + ca: true} {
		db, err := pgstore.Open("postgres://u@"+listener.Addr().String()+"/db?sslmode=verify-full"+root,
			pgstore.OpenConfig{MaxConns: 1})
		if err != nil {
			t.Fatal(err)
		}
		err = db.PingContext(t.Context())
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) == trusted || err == nil {
			t.Errorf("trusted %v: %v", trusted, err)
		}
		if shook := <-shaken; (shook == nil) != trusted {
			t.Errorf("trusted %v: the server's side says %v", trusted, shook)
		}
		_ = db.Close()
	}
}
