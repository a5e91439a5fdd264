package address_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/internal/address"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]address.URL{
		"db://": {}, "db:///x": {Path: "x"}, "db://h": {Hosts: []address.Host{{Name: "h"}}},
		"db://u:p%40%2f:%3A@h:1/x%20y?a=b&c": {User: "u", Password: "p@/::",
			Hosts: []address.Host{{Name: "h", Port: "1"}}, Path: "x y", Query: "a=b&c"},
		"db://:p@[::1]:1,10.0.0.1,a_b.c:65535": {Password: "p",
			Hosts: []address.Host{{Name: "::1", Port: "1"}, {Name: "10.0.0.1"}, {Name: "a_b.c", Port: "65535"}}},
		"db://u@%2Frun%2Fdb/x?": {User: "u", Hosts: []address.Host{{Name: "/run/db"}}, Path: "x"},
		"db://u@[fe80::1%eth0]": {User: "u", Hosts: []address.Host{{Name: "fe80::1%eth0"}}},
		"db://u:^|\"'p@h":       {User: "u", Password: "^|\"'p", Hosts: []address.Host{{Name: "h"}}},
	} {
		want.Scheme = "db"
		if got, err := address.Parse(text, "other", "db"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "h", "db", "db:", "db:/h", "DB://h", " db://h", "'db://h'", "dbs://h", "x+db://h", "db://h ",
		"db://u:p w@h", "db://u:p/w@h", "db://u:p?w@h",
		"db://u:p#w@h", "db://u:1/w@h", "db://u:1?w@h", "db://h/x#y", "db://u@p@h", "db://u:p@w@h", "db://u:p%zz@h",
		"db://u%@h", "db://h/%", "db://h:", "db://h:0",
		"db://h:65536", "db://h:p", "db://u:p:h", "db://::1", "db://[::1", "db://[h]", "db://[10.0.0.1]", "db://h,",
		"db://,h", "db://h,:1", "db://a:1,b:x", "db://h%3A1",
		"db://-h", "db://.h", "db://h\n", "db://h\x00", "db://h/?x=u@h",
	} {
		if got, err := address.Parse(text, "db"); !errors.Is(err, address.ErrForm) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestIsHostPort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"h:1": true, "10.0.0.1:1": true, "[::1]:1": true, "a-b.c_d:65535": true,
		"": false, "h": false, ":1": false, "h:": false, "h:0": false, "h:x": false, "h:65536": false, "::1": false,
		"::1:1": false, "u@h:1": false, "u:p@h:1": false,
		"http://h:1": false, "h 1:1": false, " h:1": false, "%2Fx:1": false, "h/x:1": false,
	} {
		if got := address.IsHostPort(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// Whatever is before an @ never becomes a host, a path or a query: those are in the errors of
// drivers and of servers.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"db://u:p@h:1/x?y", "db://u:p/w@h", "db://u:1?w=x@h", "db://u:1#w@h", "db://[::1]:1",
		"db://a:1,b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := address.Parse(text, "db")
		if err != nil {
			if !errors.Is(err, address.ErrForm) || err.Error() != address.ErrForm.Error() {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if i := strings.LastIndex(text, "@"); i >= 0 {
			after := text[i+1:]
			if !strings.HasSuffix(after, u.Query) {
				t.Fatalf("%q: the query %q is not behind the last @", text, u.Query)
			}
			for _, h := range u.Hosts {
				if !strings.HasPrefix(h.Name, "/") && !strings.Contains(after, h.Name) && !strings.Contains(after, "%") {
					t.Fatalf("%q: the host %q is not behind the last @", text, h.Name)
				}
			}
		}
	})
}
