package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// settings are what the environment and the flags say.
type settings struct {
	addr        string
	data        string
	postgres    string
	kafka       string
	kafkaTLS    string
	kafkaCA     string
	kafkaCert   string
	kafkaKey    string
	sasl        string
	user        string
	password    string
	passwordIn  string
	topic       string
	group       string
	redis       string
	redisPrefix string
	role        string
	recalculate string
	recount     string
	workers     int
	batch       int
	log         string
	limits      string
	proxies     string
	metrics     string
	// doubts are what may be meant otherwise. They are logged as warnings.
	doubts []string
}

// defaultData is where the data is kept unless somebody says otherwise.
const defaultData = "khodnevis.db"

// prefix is what the settings begin with in the environment.
const prefix = "KHODNEVIS_"

// foreign are variables with the prefix that are not meant for the server: those of tests, and what
// Kubernetes tells every pod of services whose names begin with khodnevis.
var foreign = regexp.MustCompile(
	`^KHODNEVIS_(TEST_|(.+_)?(SERVICE_HOST=|SERVICE_PORT(_.+)?=|PORT_\d+_(TCP|UDP|SCTP)|PORT=(tcp|udp|sctp)://))`)

// readSettings reads the environment, then the flags, which win. It returns the arguments that are
// no flags. Asked for help, it prints the usage to stdout and returns flag.ErrHelp.
func readSettings(args, environ []string, stdout io.Writer) (settings, []string, error) {
	var s settings
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is returned
	setting := func(target *string, name, fallback, usage string) {
		flags.StringVar(target, name, fallback, usage+" ("+variable(name)+")")
	}
	count := func(target *int, name string, fallback int, usage string) {
		flags.IntVar(target, name, fallback, usage+" ("+variable(name)+")")
	}
	setting(&s.addr, "addr", "127.0.0.1:8000", "address to listen on")
	setting(&s.data, "data", defaultData, "file to keep the data in")
	setting(&s.postgres, "postgres", "", "connection string of a PostgreSQL database; unset: the file")
	setting(&s.kafka, "kafka", "", "addresses of Kafka brokers, separated by commas; unset: the file")
	setting(&s.kafkaTLS, "kafka-tls", "off", "on encrypts the connections to the brokers, and checks their certificates")
	setting(&s.kafkaCA, "kafka-ca", "",
		"file with the certificates (PEM) of who signs those of the brokers; unset: those that the system trusts")
	setting(&s.kafkaCert, "kafka-cert", "",
		"file with the certificate (PEM) that this process shows to the brokers; unset: none")
	setting(&s.kafkaKey, "kafka-key", "", "file with the key (PEM) of -kafka-cert")
	setting(&s.sasl, "kafka-sasl", "", "how to log in to the brokers: plain, scram-sha-256 or scram-sha-512; unset: not")
	setting(&s.user, "kafka-user", "", "user to log in to the brokers with")
	setting(&s.password, "kafka-password", "", "password of -kafka-user")
	setting(&s.passwordIn, "kafka-password-file", "", "file whose first line is the password of -kafka-user")
	setting(&s.topic, "kafka-topic", "",
		"topic of accepted ratings; unset: khodnevis.ratings.ID, where ID is the identity of the database")
	setting(&s.group, "kafka-group", "", "consumer group of the workers; unset: khodnevis.ID")
	setting(&s.redis, "redis", "", "address or URL of a Redis server; unset: memory")
	setting(&s.redisPrefix, "redis-prefix", "khodnevis:",
		"what the keys in Redis begin with; the identity of the database follows it in any case")
	setting(&s.role, "role", "all", "what this process does: all, api or worker")
	setting(&s.recalculate, "recalculate", "@every 30s", "cron spec of the recalculation, in UTC")
	setting(&s.recount, "recount", "0 3 * * *", "cron spec of the recount of all numbers, in UTC")
	count(&s.workers, "workers", 1, "how many batches of ratings are stored at once")
	count(&s.batch, "batch", 0,
		fmt.Sprintf("ratings in a batch at the most; unset: %d in the file, 1000 in PostgreSQL", embeddedBatch))
	setting(&s.log, "log", "text", "format of the log: text or json")
	setting(&s.limits, "limits", "on", "off lifts rate limits and throttles, for load tests")
	setting(&s.proxies, "trusted-proxies", "",
		"addresses or prefixes of proxies whose X-Forwarded-For is believed, separated by commas")
	setting(&s.metrics, "metrics", "",
		"address to serve /metrics on, for Prometheus; it must not be public; unset: nowhere")
	doubts, err := setFromEnviron(flags, environ)
	errs := []error{err}
	err = flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(stdout, flags)
		return settings{}, nil, err
	}
	if err == nil {
		err = flagsFirst(flags)
	} else {
		err = fmt.Errorf("%w; server -h lists the flags", err)
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return settings{}, nil, err
	}
	s.doubts = doubts
	err = s.validate()
	return s, flags.Args(), err
}

// logFormat returns the format of the log as far as it can be told, whatever else is wrong with
// args and environ: what is wrong is told in it.
func logFormat(args, environ []string) string {
	format := ""
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, variable("log")+"="); ok {
			format = value
		}
	}
	for i, arg := range args {
		switch name, value, given := strings.Cut(arg, "="); {
		case name != "-log" && name != "--log":
		case given:
			format = value
		case i+1 < len(args):
			format = args[i+1]
		}
	}
	return format
}

// variable returns the name that a flag has in the environment.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// setFromEnviron sets the flags that have a variable, and returns doubts about variables without a
// flag. What the environment says is not made the default of the flags: it may be secret, and the
// usage prints defaults.
func setFromEnviron(flags *flag.FlagSet, environ []string) (doubts []string, err error) {
	given := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, prefix) && !foreign.MatchString(entry) {
			given[name] = value
		}
	}
	var known []string
	var errs []error
	flags.VisitAll(func(f *flag.Flag) {
		name := variable(f.Name)
		known = append(known, name)
		if value := given[name]; value != "" && f.Value.Set(value) != nil {
			errs = append(errs, fmt.Errorf("%s %q: give a whole number", name, value))
		}
		delete(given, name)
	})
	for _, name := range slices.Sorted(maps.Keys(given)) {
		doubts = append(doubts, unknown(name, known))
	}
	return doubts, errors.Join(errs...)
}

// unknown tells of a variable that is ignored, and names the one that it may have been meant for.
func unknown(name string, known []string) string {
	var near []string
	for _, k := range known {
		if strings.HasPrefix(name, k) || strings.HasPrefix(k, name) {
			near = append(near, k)
		}
	}
	if len(near) == 1 {
		return fmt.Sprintf("%s is no setting: did you mean %s?", name, near[0])
	}
	return fmt.Sprintf("%s is no setting: there are %s", name, strings.Join(known, ", "))
}

// flagsFirst refuses flags after the command, where they would be taken for what it works on. After
// "--" nothing is a flag.
func flagsFirst(flags *flag.FlagSet) error {
	for _, arg := range flags.Args() {
		if arg == "--" {
			return nil
		}
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && (flags.Lookup(name) != nil || name == "h" || name == "help") {
			return fmt.Errorf("-%s: flags go before the command: server [flags] %s; after -- nothing is a flag",
				name, flags.Arg(0))
		}
	}
	return nil
}

// usage prints the commands and the flags.
func usage(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(w, "Usage: server [flags] [command]\n\nCommands:\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-17s %s\n", c.usage, c.about)
	}
	fmt.Fprint(w, "\nFlags, each with the environment variable that it wins over:\n")
	flags.SetOutput(w)
	flags.PrintDefaults()
}

func (s *settings) validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(s.addr); err != nil {
		errs = append(errs, fmt.Errorf("-addr %q: give host:port", s.addr))
	}
	if _, _, err := net.SplitHostPort(s.metrics); err != nil && s.metrics != "" {
		errs = append(errs, fmt.Errorf("-metrics %q: give host:port", s.metrics))
	}
	// It is not quoted, because it may hold a password.
	if s.data == "" || s.data == ":memory:" || strings.Contains(s.data, "://") {
		errs = append(errs, errors.New("-data: give the path of a file"))
	}
	if s.kafka == "" && (s.topic != "" || s.group != "") {
		s.doubts = append(s.doubts, "-kafka-topic and -kafka-group mean nothing without -kafka")
	}
	errs = append(errs, s.validateKafka())
	if s.redisPrefix == "" {
		errs = append(errs, errors.New("-redis-prefix: give at least one character"))
	}
	switch {
	case s.role != "all" && s.role != "api" && s.role != "worker":
		errs = append(errs, fmt.Errorf("-role %q: give all, api or worker", s.role))
	case s.role != "all" && s.postgres != "" && s.kafka == "":
		// With both in the file, all processes are on one host.
		why := fmt.Sprintf("-role %s with -postgres: the queue is the file %s, which other hosts do not see, "+
			"so that what one accepts might never be stored: set -kafka as well, or give -role all", s.role, s.data)
		if s.data == defaultData {
			errs = append(errs, errors.New(why+"; or name the file with -data, if all processes are on this host"))
		} else {
			s.doubts = append(s.doubts, why)
		}
	}
	if s.workers < 1 { // 0 would be the default
		errs = append(errs, fmt.Errorf("-workers %d: give 1 or more", s.workers))
	}
	if s.log != "text" && s.log != "json" {
		errs = append(errs, fmt.Errorf("-log %q: give text or json", s.log))
	}
	if s.limits != "on" && s.limits != "off" {
		errs = append(errs, fmt.Errorf("-limits %q: give on or off", s.limits))
	}
	if _, err := parsePrefixes(s.proxies); err != nil {
		errs = append(errs, fmt.Errorf("-trusted-proxies: %w", err))
	}
	return errors.Join(errs...)
}

// brokers returns the addresses of the brokers, if there are any.
func (s settings) brokers() []string {
	if s.kafka == "" {
		return nil
	}
	all := strings.Split(s.kafka, ",")
	for i, one := range all {
		all[i] = strings.TrimSpace(one)
	}
	return all
}

// parsePrefixes reads addresses and prefixes of addresses.
func parsePrefixes(list string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if ip, err := netip.ParseAddr(entry); err == nil {
			all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			return nil, fmt.Errorf("%q: give addresses such as 10.0.0.1, or prefixes such as 10.0.0.0/8", entry)
		}
		all = append(all, p)
	}
	return all, nil
}
