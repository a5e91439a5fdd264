package main

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/internal/testutil"
	"github.com/khodnevis/khodnevis/rating/task"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	environ := []string{"PATH=/bin", "KHODNEVIS_ADDR=127.0.0.1:9000", "KHODNEVIS_DATA=env.db",
		"KHODNEVIS_TRUSTED_PROXIES=10.0.0.1", "KHODNEVIS_LIMITS=", "KHODNEVIS_WORKERS=3"}
	s, rest, err := readSettings([]string{"-data", "flag.db", "-batch", "20", "staff", "ana"}, environ, io.Discard)
	want := settings{addr: "127.0.0.1:9000", data: "flag.db", kafkaTLS: "off",
		redisPrefix: "khodnevis:",
		role:        "all", recalculate: "@every 30s", recount: "0 3 * * *", workers: 3, batch: 20,
		log: "text", limits: "on", proxies: "10.0.0.1"}
	if err != nil || !reflect.DeepEqual(s, want) || strings.Join(rest, " ") != "staff ana" {
		t.Errorf("%+v %v %v, want %+v", s, rest, err, want)
	}
	_, _, err = readSettings([]string{"-addr", "8000", "-role", "boss", "-limits", "maybe", "-trusted-proxies", "lb",
		"-workers", "0", "-log", "xml",
		"-redis-prefix", ""}, nil, io.Discard)
	for _, name := range []string{"-addr", "-role", "-limits", "-trusted-proxies", "-workers", "-log",
		"-redis-prefix"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not mention %s", err, name)
		}
	}
}

// What is not a setting's to check, the App refuses: so the settings reach it.
func TestSettingsReachTheApp(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"the schedule of " + task.Recalculate: {"-recalculate", "never"},
		"the schedule of " + task.Recount:     {"-recount", "never"},
		"Workers is 10000":                    {"-workers", "10000"},
		"Batch is -1":                         {"-batch", "-1"},
		"-kafka: kafkaqueue: topic \"a b\"":   {"-kafka", "127.0.0.1:1", "-kafka-topic", "a b"},
	} {
		err := run(t.Context(), append([]string{"-data", filepath.Join(t.TempDir(), "data.db")}, args...), nil, nil,
			io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	_, _, err := readSettings(nil, []string{"KHODNEVIS_WORKERS=many", "KHODNEVIS_BATCH=1.5"}, io.Discard)
	want := "KHODNEVIS_BATCH \"1.5\": give a whole number\nKHODNEVIS_WORKERS \"many\": give a whole number"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestLogFormat(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"text": "time=", "json": `{"time":`} {
		var stderr testutil.Log
		// There is no such port, so it ends once it has warned of the variable.
		args := []string{"-data", filepath.Join(t.TempDir(), "data.db"), "-addr", "127.0.0.1:70000", "-log", format}
		if err := run(t.Context(), args, []string{"KHODNEVIS_LIMIT=off"}, nil, io.Discard, &stderr); err == nil ||
			!strings.HasPrefix(stderr.String(), want) {
			t.Errorf("-log %s: %v\n%s", format, err, &stderr)
		}
	}
}

// A variable that is ignored is told, with the name that was meant. Others' variables are let be.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"KHODNEVIS_POSTGRESS=postgres://u:word@host/db": "KHODNEVIS_POSTGRESS is no setting: did you mean " +
			"KHODNEVIS_POSTGRES?",
		"KHODNEVIS_LIMIT=off": "KHODNEVIS_LIMIT is no setting: did you mean KHODNEVIS_LIMITS?",
		"KHODNEVIS_ADR=":      "KHODNEVIS_ADR is no setting: there are KHODNEVIS_ADDR, KHODNEVIS_",
		"KHODNEVIS_=x":        "KHODNEVIS_ is no setting: there are ",
		"KHODNEVIS_PORT=8000": "KHODNEVIS_PORT is no setting: there are ",
		"KHODNEVIS_TESTS=x":   "KHODNEVIS_TESTS is no setting: there are ",
		"KHODNEVIS_TEST_POSTGRES=postgres://u@host/db": "",
		"KHODNEVISES=x": "",
		// A Kubernetes service named khodnevis, and one named khodnevis-kafka.
		"KHODNEVIS_SERVICE_HOST=10.0.0.1":                 "",
		"KHODNEVIS_SERVICE_PORT=8000":                     "",
		"KHODNEVIS_SERVICE_PORT_HTTP=8000":                "",
		"KHODNEVIS_PORT=tcp://10.0.0.1:8000":              "",
		"KHODNEVIS_PORT_8000_TCP_ADDR=10.0.0.1":           "",
		"KHODNEVIS_KAFKA_SERVICE_HOST=10.0.0.2":           "",
		"KHODNEVIS_KAFKA_PORT=tcp://10.0.0.2:9092":        "",
		"KHODNEVIS_KAFKA_PORT_9092_TCP=tcp://10.0.0.2:92": "",
	} {
		s, _, err := readSettings(nil, []string{entry}, io.Discard)
		if got := strings.Join(s.doubts, "\n"); err != nil || (got == "") != (want == "") || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, %v, want %q", entry, got, err, want)
		}
	}
	if s, _, err := readSettings([]string{"-kafka-group", "g"}, nil, io.Discard); err != nil || len(s.doubts) != 1 {
		t.Errorf("a group without Kafka: %q, %v", s.doubts, err)
	}
	var stderr testutil.Log
	args := []string{"-data", filepath.Join(t.TempDir(), "data.db"), "-addr", "127.0.0.1:70000"} // there is no such port
	if err := run(t.Context(), args, []string{"KHODNEVIS_LIMIT=off"}, nil, io.Discard, &stderr); err == nil ||
		!strings.Contains(stderr.String(), "level=WARN msg=\"KHODNEVIS_LIMIT is no setting") {
		t.Errorf("%v\n%s", err, &stderr)
	}
}

// Roles are for processes that share a queue. In a file of one host they do only together with the
// store.
func TestRolesShareAQueue(t *testing.T) {
	t.Parallel()
	const postgres = "postgres://u@127.0.0.1/db"
	for _, c := range []struct {
		args []string
		ok   bool
		told bool
	}{
		{[]string{"-role", "api"}, true, false},
		{[]string{"-role", "worker"}, true, false},
		{[]string{"-role", "all", "-postgres", postgres}, true, false},
		{[]string{"-role", "api", "-postgres", postgres, "-kafka", "127.0.0.1:9092"}, true, false},
		{[]string{"-role", "worker", "-postgres", postgres, "-kafka", "127.0.0.1:9092"}, true, false},
		{[]string{"-role", "api", "-postgres", postgres}, false, false},
		{[]string{"-role", "worker", "-postgres", postgres}, false, false},
		{[]string{"-role", "api", "-postgres", postgres, "-data", "/srv/k.db"}, true, true},
	} {
		s, _, err := readSettings(c.args, nil, io.Discard)
		if c.ok != (err == nil) || !c.ok && !strings.Contains(err.Error(), "-kafka") || c.told != (len(s.doubts) == 1) &&
			c.ok {
			t.Errorf("%q: %v, %q", c.args, err, s.doubts)
		}
	}
}

// What cannot be the address of a server is refused at once, by the name of its setting.
func TestServersHaveAddresses(t *testing.T) {
	t.Parallel()
	for name, addresses := range map[string]map[string]bool{
		"-kafka": {
			"": true, "kafka:9092": true, "10.0.0.1:9092,[::1]:9092": true, "a:9092, b:9092": true,
			"foo": false, "kafka:9092,foo": false, "kafka:9092,": false, ":9092": false, "kafka:": false,
			"kafka:port": false, "kafka:0": false, "kafka:70000": false,
			"::1": false, "::1:9092": false, "http://kafka:9092": false, "a:9092 b:9092": false,
			"u:Wrd9@kafka:9092": false, "Wrd9@kafka:9092": false,
		},
		"-redis": {
			"": true, "redis": true, "redis:6379": true, "[::1]:6379": true, "redis://:Wrd9@redis": true,
			"rediss://u:Wrd9@redis:6380/2": true, "redis://[::1]/0": true,
			"::": false, "::1": false, ":6379": false, "redis:": false, "redis:port": false, "redis:70000": false,
			"redis://": false, "redis://u:Wrd9@/0": false, "redis://redis::6379": false,
			"redis://a,b": false, "redis://redis/x": false, "redis://redis?db=1": false, "http://redis": false,
			"REDIS://redis": false, " redis://redis": false, "redis://%2Ftmp": false,
		},
		"-postgres": {
			"": true, "postgres://": true, "postgresql://u:Wrd9@db/x": true,
			"postgres://u@a:1,b,[::1]:2/x?target_session_attrs=read-write": true,
			"host=a,b port=1,2 user=u password='Wr\\'d9' dbname = x":       true, " host=a\n": true, "host='' user=u": true,
			"postgres://u@%2Frun%2Fdb/x":                                         true,
			"postgres://u@h/x?random_page_cost=2&jit=on":                         true,
			"postgres://u@h/x?min_protocol_version=3.2&max_protocol_version=3.2": true,
			"db": false, "db:5432": false, "POSTGRES://u:Wrd9@db": false, " postgres://u:Wrd9@db": false,
			"'postgres://u:Wrd9@db'": false, `"host=db"`: false,
			"postgresql+psycopg2://u:Wrd9@db/x?sslmode=require": false, "psql postgres://u:Wrd9@db": false,
			"jdbc:postgresql://db/x?user=u&password=Wrd9": false,
			"postgres:/u:Wrd9@db":                         false, "postgres://u:Wr/d9@db": false,
			"postgres://u@db/x?pgbouncer=true": false,
			"postgres://u@db?sslmode=maybe":    false, "host=db port=x": false,
			"postgres://u@db/x?sslmode=": false, "host=db password=Wr d9=x": false, "host": false,
			"host=u:Wrd9@db": false, "password='Wrd9": false, "user=a:Wrd9": false,
			"postgres://a,b/x?port=1,2,3": false, "work_mem=64MB": false, "postgres://u@db?a;b": false,
			"dbname=postgres://u:Wrd9@db": false, "host=db=x": false,
		},
	} {
		for address, ok := range addresses {
			s, _, err := readSettings([]string{name, address}, nil, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			b, err := plan(s, false, slog.New(slog.DiscardHandler))
			if ok != (err == nil) || err != nil &&
				(!strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), "Wr") ||
					strings.Contains(err.Error(), "d9")) {
				t.Errorf("%s %q: %v", name, address, err)
			}
			if err == nil {
				err = b.close()
			}
			if ok && err != nil {
				t.Error(err)
			}
		}
	}
	if got := (settings{kafka: "a:9092, b:9092"}).brokers(); strings.Join(got, " ") != "a:9092 b:9092" {
		t.Errorf("brokers %q", got)
	}
}

func TestParsePrefixes(t *testing.T) {
	t.Parallel()
	got, err := parsePrefixes("10.0.0.1, 192.168.0.0/16,2001:db8::/32,")
	if want := "[10.0.0.1/32 192.168.0.0/16 2001:db8::/32]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v %v, want %s", got, err, want)
	}
	for _, bad := range []string{"lb", "10.0.0.0/33", "10.0.0.1:80"} {
		if got, err := parsePrefixes(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
