package rediscache_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/cache/rediscache"
)

// A server that does not know AUTH repeats what it was given, as do proxies and a Redis whose
// command has another name: the error does not.
func TestAnswersDoNotQuoteThePassword(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				fmt.Fprint(conn, "-ERR word9: unknown command 'AUTH', with args beginning with: 'u' 'word\r\n")
			}
			conn.Close()
		}
	}()
	c, _ := open(t, "redis://u:word9@"+l.Addr().String(), patient())
	_, err = c.GetMany(t.Context(), []string{"k"})
	if err == nil || !strings.Contains(err.Error(), "unknown command 'AUTH'") || strings.Contains(err.Error(), "word") {
		t.Errorf("the error is %v", err)
	}
}

func TestOpenRefusesWhatIsNoServer(t *testing.T) {
	t.Parallel()
	for server, ok := range map[string]bool{
		"h": true, "h:1": true, "redis://h": true, "rediss://u:word9@h:1/2": true, "redis://[::1]:1": true,
		"": false, "u:word9@h:1": false, "redis://u:word9@h:x": false, "redis://u:wo rd9@h": false,
		"redis://a,b": false, "redis://h/word9": false, "redis://h?db=word9": false,
		"redis://": false, "http://u:word9@h": false, "redis://u:wo|rd9@h": false,
	} {
		pool, err := rediscache.Open(server, rediscache.Config{})
		if ok != (err == nil) || err != nil &&
			(strings.Contains(err.Error(), "word9") || strings.Contains(err.Error(), "rd9")) {
			t.Errorf("%q: %v", server, err)
		}
		if err == nil {
			pool.Close()
		}
	}
}
