package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/khodnevis/khodnevis/queue/kafkaqueue"
)

// validateKafka checks how the settings say to reach the brokers, as far as that goes without a
// file.
func (s *settings) validateKafka() error {
	var errs []error
	wrong := func(text string) { errs = append(errs, errors.New(text)) }
	secured := s.kafkaTLS == "on"
	if !secured && s.kafkaTLS != "off" {
		errs = append(errs, fmt.Errorf("-kafka-tls %q: give on or off", s.kafkaTLS))
	}
	if !secured && s.kafkaCA+s.kafkaCert+s.kafkaKey != "" {
		wrong("-kafka-ca, -kafka-cert and -kafka-key need -kafka-tls on")
	}
	if (s.kafkaCert == "") != (s.kafkaKey == "") {
		wrong("-kafka-cert and -kafka-key: give both or none")
	}
	login := s.user != "" || s.password != "" || s.passwordIn != ""
	switch s.sasl {
	case "":
		if login {
			wrong("-kafka-sasl: give plain, scram-sha-256 or scram-sha-512, as the brokers ask for, to log in with -kafka-user")
		}
	case "plain", "scram-sha-256", "scram-sha-512":
		if s.user == "" || (s.password == "") == (s.passwordIn == "") {
			wrong("-kafka-sasl: give -kafka-user, and either -kafka-password or -kafka-password-file")
		}
	default:
		wrong("-kafka-sasl: give plain, scram-sha-256 or scram-sha-512")
	}
	if s.sasl == "plain" && !secured {
		s.doubts = append(s.doubts,
			"-kafka-sasl plain without -kafka-tls on: the password is sent to the brokers for all to read who see the traffic")
	}
	if s.kafka == "" && (s.kafkaTLS == "on" || s.sasl != "" || login) {
		wrong("-kafka-tls and -kafka-sasl mean nothing without -kafka")
	}
	return errors.Join(errs...)
}

// kafkaSecurity returns what the connections to the brokers are made with; a nil TLS means that
// they are not encrypted.
func (s *settings) kafkaSecurity() (*tls.Config, kafkaqueue.SASL, error) {
	login := kafkaqueue.SASL{Mechanism: strings.ToUpper(s.sasl), User: s.user, Password: s.password}
	if s.passwordIn != "" {
		text, err := os.ReadFile(s.passwordIn)
		if err != nil {
			return nil, login, fmt.Errorf("-kafka-password-file: %w", err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if login.Password = strings.TrimSuffix(first, "\r"); login.Password == "" {
			return nil, login, errors.New("-kafka-password-file: its first line is empty")
		}
	}
	if s.kafkaTLS != "on" {
		return nil, login, nil
	}
	security := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.kafkaCA != "" {
		text, err := os.ReadFile(s.kafkaCA)
		if err != nil {
			return nil, login, fmt.Errorf("-kafka-ca: %w", err)
		}
		if security.RootCAs = x509.NewCertPool(); !security.RootCAs.AppendCertsFromPEM(text) {
			return nil, login, errors.New("-kafka-ca: there is no certificate (PEM) in the file")
		}
	}
	if s.kafkaCert != "" {
		certificate, err := tls.LoadX509KeyPair(s.kafkaCert, s.kafkaKey)
		if err != nil {
			return nil, login, fmt.Errorf("-kafka-cert and -kafka-key: %w", err)
		}
		security.Certificates = []tls.Certificate{certificate}
	}
	return security, login, nil
}
