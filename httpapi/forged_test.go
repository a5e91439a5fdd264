package httpapi_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/httpapi"
	"github.com/khodnevis/khodnevis/internal/testutil"
)

// The kinds of tasks, as their identifiers say them.
const (
	taskRate        = 1
	taskWithdraw    = 2
	taskRecalculate = 3
)

// madeUp is the identifier of a task as anybody can make it who has seen one of his own.
type madeUp struct {
	kind   byte
	ids    []string // UUIDs: the content, the rater but for a recalculation, who asked but for a rating
	beyond uint64   // how far behind the position of the one that was seen
}

// like returns the identifier, with the time and about the position of the task that was seen.
func (m madeUp) like(t *testing.T, seen string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(seen)
	if err != nil {
		t.Fatal(err)
	}
	rest := b[1:]
	at, n := binary.Uvarint(rest)
	rest = rest[n:]
	offset, n := binary.Uvarint(rest)
	rest = rest[n:]
	stream := rest[1 : 1+int(rest[0])]
	out := []byte{m.kind}
	out = binary.AppendUvarint(out, at)
	out = binary.AppendUvarint(out, offset+m.beyond)
	out = append(append(out, byte(len(stream))), stream...)
	for _, id := range m.ids {
		raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
		if err != nil || len(raw) != 16 {
			t.Fatalf("%q is no UUID", id)
		}
		out = append(append(out, 0), raw...)
	}
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
	return base64.RawURLEncoding.EncodeToString(out)
}

// Z1: who makes up the identifier of a task learns nothing that is not his, whomever it names,
// whether he waits or not. What it says gives no right.
func TestForgedTasks(t *testing.T) {
	onStores(t, func(t *testing.T, open opener) {
		s := serve(t, setup{open: open})
		film := s.write(t, "Stalker")
		s.rate(t, ada, film, 5)
		other := s.write(t, "Solaris") // that nobody has rated
		seen := s.do(t, request{method: "POST", path: "ratings/", as: ben, body: fmt.Sprintf(`{"content":%q,"score":4}`,
			film)}).text(t, "task")
		a, b, staff := s.ids[ada], s.ids[ben], s.ids[sam]
		for what, x := range map[string]struct {
			task      madeUp
			nobody    int
			ben, boss int
		}{
			"the very one that was seen":               {madeUp{kind: taskRate, ids: []string{film, b}}, 401, 200, 200},
			"a rating of his own that was never given": {madeUp{kind: taskRate, ids: []string{other, b}}, 401, 200, 200},
			"a withdrawal of his own": {madeUp{kind: taskWithdraw, ids: []string{film, b, b}}, 401, 200,
				200},
			"a rating of another":                      {madeUp{kind: taskRate, ids: []string{film, a}}, 401, 404, 200},
			"a rating of another that was never given": {madeUp{kind: taskRate, ids: []string{other, a}}, 401, 404, 200},
			"a withdrawal of another's, by him": {madeUp{kind: taskWithdraw, ids: []string{film, a, b}}, 401, 404,
				200},
			"a withdrawal of another's, by the other": {madeUp{kind: taskWithdraw, ids: []string{film, a, a}}, 401, 404,
				200},
			"a withdrawal of his own, by staff": {madeUp{kind: taskWithdraw, ids: []string{film, b, staff}}, 401, 404,
				200},
			"a recalculation by him": {madeUp{kind: taskRecalculate, ids: []string{film, b}}, 401, 404,
				200},
			"a recalculation by staff": {madeUp{kind: taskRecalculate, ids: []string{film, staff}}, 401, 404,
				200},
			"a rating of his own that nothing was yet": {madeUp{kind: taskRate, ids: []string{film, b}, beyond: 1}, 401, 404,
				404},
			"a withdrawal far beyond the end": {madeUp{kind: taskWithdraw, ids: []string{film, b, b},
				beyond: 1 << 40}, 401, 404, 404},
			"a recalculation by staff, beyond the end": {madeUp{kind: taskRecalculate, ids: []string{film, staff}, beyond: 1},
				401, 404, 404},
			"a rating of a content that is not there":   {madeUp{kind: taskRate, ids: []string{a, b}}, 401, 200, 200},
			"a rating of another on a content that not": {madeUp{kind: taskRate, ids: []string{b, a}}, 401, 404, 200},
		} {
			for as, want := range map[string]int{nobody: x.nobody, ben: x.ben, sam: x.boss} {
				for _, prefer := range []string{"", "wait=1"} {
					if want == 200 && prefer != "" { // it would wait
						continue
					}
					if got := s.do(t, request{path: "tasks/" + x.task.like(t, seen) + "/", as: as,
						prefer: prefer}); got.status != want {
						t.Errorf("%s, asked for by %q, %q: %s, want %d", what, as, prefer, got, want)
					}
				}
			}
		}
	})
}

// Eight accounts wait 32 times each for tasks that they made up. Whoever waits for a rating of his
// own, or for a task that he was given, still finds a place, and the places of the eight are few.
func TestMadeUpTasksKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	const crowd, each, strangers = 8, httpapi.WaitsOfUser, 32
	s := serve(t, setup{idle: true, config: func(c *khodnevis.Config) { c.Limits.PrefixInFlight = 512 }})
	film := s.write(t, "Stalker")
	rate := request{method: "POST", path: "ratings/", as: ben, body: fmt.Sprintf(`{"content":%q,"score":4}`, film)}
	seen := s.do(t, rate).text(t, "task")
	var all sync.WaitGroup
	returned := make(chan struct{}, crowd*each)
	for n := range crowd {
		name := fmt.Sprint("eve-", n)
		s.join(t, name)
		token := s.tokens[name]
		forged := madeUp{kind: taskRate, ids: []string{film, s.ids[name]}}.like(t, seen)
		beyond := madeUp{kind: taskRate, ids: []string{film, s.ids[name]}, beyond: 1000}.like(t, seen)
		if a := s.do(t, request{path: "tasks/" + beyond + "/", as: name, prefer: "wait=10"}); a.status != 404 {
			t.Errorf("a task beyond the end: %s", a)
		}
		wait := request{path: "tasks/" + forged + "/", header: bearer(token), prefer: "wait=10"}
		for range each { // one after the other, so that they are no storm
			before := s.app.Ratings.Waiting()
			all.Go(func() {
				if a, err := s.send(t, wait); err != nil || a.status != 200 {
					t.Errorf("a task that is made up: %s, %v", a, err)
				}
				returned <- struct{}{}
			})
			testutil.Eventually(t, 30*time.Second, "it waits, or is answered", func() bool {
				select {
				case <-returned:
					return true
				default:
					return s.app.Ratings.Waiting() > before
				}
			})
		}
	}
	if n := s.app.Ratings.Waiting(); n > strangers {
		t.Errorf("%d wait for what they made up, want at most %d", n, strangers)
	}
	for range 16 {
		all.Go(func() {
			got, err := s.send(t, request{method: "PUT", path: "contents/" + film + "/rating/", as: ben, body: `{"score":2}`,
				prefer: "wait=10"})
			if err != nil || got.status != 201 && got.status != 200 {
				t.Errorf("one who waits for a rating of his own: %s, %v", got, err)
			}
		})
		all.Go(func() {
			got, err := s.send(t, request{path: "tasks/" + seen + "/", as: ben, prefer: "wait=10"})
			if err != nil || got.status != 200 || got.text(t, "state") != "SUCCESS" {
				t.Errorf("one who waits for his task: %s, %v", got, err)
			}
		})
	}
	testutil.Eventually(t, 30*time.Second, "they wait", func() bool { return s.app.Ratings.Waiting() >= 32 })
	s.work()
	all.Wait()
}
