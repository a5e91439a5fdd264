package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/khodnevis/khodnevis/queue"
)

// certificate makes one for loopback, and the files that it and its key are in.
func certificate(t *testing.T) (pair tls.Certificate, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return pair, cert, key
}

// T7: what the adapter can, the settings can: brokers with TLS that ask for a certificate and a
// login of each kind.
func TestKafkaSettings(t *testing.T) {
	t.Parallel()
	pair, cert, key := certificate(t)
	trusted := x509.NewCertPool()
	trusted.AddCert(pair.Leaf)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("word 9\r\nand more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
				kfake.Superuser(strings.ToUpper(mechanism), "ana", "word 9"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusted,
					ClientAuth: tls.RequireAndVerifyClientCert}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			args := []string{"-kafka", cluster.ListenAddrs()[0], "-kafka-tls", "on", "-kafka-ca", cert, "-kafka-cert", cert,
				"-kafka-key", key,
				"-kafka-sasl", mechanism, "-kafka-user", "ana"}
			for extra, works := range map[string]bool{"-kafka-password-file=" + password: true, "-kafka-password=word 9": true,
				"-kafka-password=word 8": false} {
				s, _, err := readSettings(append(args, extra, "-data", filepath.Join(t.TempDir(), "data.db")), nil, io.Discard)
				if err != nil || len(s.doubts) != 0 {
					t.Fatal(err, s.doubts)
				}
				b, err := open(s)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.cfg.Queue.Publish(t.Context(), queue.Message{Key: "k", Body: []byte("0")}); works != (err == nil) {
					t.Errorf("%s: %v", extra, err)
				} else if err != nil && strings.Contains(err.Error(), "word") {
					t.Errorf("it prints the password: %v", err)
				}
				if err := b.close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Settings of the brokers that do not fit together are refused by their names, without any
// password.
func TestKafkaSettingsFit(t *testing.T) {
	t.Parallel()
	_, cert, key := certificate(t)
	for line, want := range map[string]string{
		"-kafka-tls maybe":                  "-kafka-tls \"maybe\"",
		"-kafka-ca " + cert:                 "-kafka-tls on",
		"-kafka-tls on -kafka-cert " + cert: "give both or none",
		"-kafka-user ana":                   "-kafka-sasl: give",
		"-kafka-password word9":             "-kafka-sasl: give",
		"-kafka-sasl word9":                 "-kafka-sasl: give plain",
		"-kafka-sasl plain -kafka-user ana": "either -kafka-password or -kafka-password-file",

		"-kafka-sasl plain -kafka-user ana -kafka-password word9 -kafka-password-file none": "either -kafka-password or",

		"-kafka-sasl plain -kafka-password word9":                              "give -kafka-user",
		"-kafka-tls on -kafka-ca none.pem":                                     "-kafka-ca: open none.pem",
		"-kafka-tls on -kafka-ca " + key:                                       "-kafka-ca: there is no certificate",
		"-kafka-tls on -kafka-cert none -kafka-key none":                       "-kafka-cert and -kafka-key: open none",
		"-kafka-sasl plain -kafka-user ana -kafka-password-file none":          "-kafka-password-file: open none",
		"-kafka-sasl plain -kafka-user ana -kafka-password-file " + os.DevNull: "its first line is empty",
	} {
		s, _, err := readSettings(append([]string{"-kafka", "127.0.0.1:1"}, strings.Fields(line)...), nil, io.Discard)
		if err == nil {
			_, err = plan(s, false, slog.New(slog.DiscardHandler))
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "word9") {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if _, _, err := readSettings([]string{"-kafka-tls", "on"}, nil, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "without -kafka") {
		t.Errorf("without brokers: %v", err)
	}
	s, _, err := readSettings([]string{"-kafka", "h:1", "-kafka-sasl", "plain", "-kafka-user", "u", "-kafka-password",
		"word9"}, nil, io.Discard)
	if err != nil || len(s.doubts) != 1 || strings.Contains(s.doubts[0], "word9") {
		t.Errorf("a password that all may read: %v, %q", err, s.doubts)
	}
}
