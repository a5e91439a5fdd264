package sqlitefile_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"modernc.org/sqlite"

	"github.com/khodnevis/khodnevis/internal/sqlitefile"
)

// odd are names that SQLite or a URI reads otherwise.
var odd = []string{
	"file:out.db", "file:/out.db", "file:out.db?mode=memory", "x?mode=memory", "x?_pragma=query_only(1)", "a%20b.db",
	"a b.db", "#x.db",
	"a#b.db", "%", "%00", "&", "a'b.db", `a"b.db`, "-x.db", ":memory:.db", "dot.", "دفتر.db", "*",
}

// inFolder makes an empty folder the working one, and returns the folder that a file of a name is
// in. Tests that call it are not parallel.
func inFolder(t *testing.T, name string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// onlyFile checks that a folder holds the file alone, which only its owner may read.
func onlyFile(t *testing.T, folder, name string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Fatalf("%q is not all there is, but %v, %v", name, entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 || info.Size() == 0 {
		t.Errorf("%q: %v, %v", name, info, err)
	}
}

// A path is a path: files and backups of any name are there, readable by their owner, and nowhere
// else.
func TestPathsAreNoURIs(t *testing.T) {
	for _, name := range odd {
		t.Run(name, func(t *testing.T) {
			from := inFolder(t, name)
			f := openAt(t, name)
			if err := f.Write(t.Context(), insert(7)); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			onlyFile(t, from, filepath.Base(name))
			f = openAt(t, "/"+filepath.Join(from, filepath.Base(name))) // absolute, with two slashes
			if got := values(t, f); len(got) != 1 {
				t.Fatalf("by its absolute path it has %v", got)
			}
			to := inFolder(t, name)
			if err := f.Backup(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			onlyFile(t, to, filepath.Base(name))
			if got := values(t, openAt(t, name)); len(got) != 1 {
				t.Errorf("the copy has %v", got)
			}
		})
	}
}

// A backup goes through no link, be its target there or not, and leaves nothing behind where it
// fails.
func TestBackupFollowsNoLink(t *testing.T) {
	f := open(t)
	if err := f.Write(t.Context(), insert(1)); err != nil {
		t.Fatal(err)
	}
	folder := inFolder(t, "")
	for link, target := range map[string]string{"dangling": "nowhere.db", "linked": "there"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("there", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"dangling", "linked", "there", "."} {
		if err := f.Backup(t.Context(), to); !errors.Is(err, fs.ErrExist) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if err := f.Backup(t.Context(), "missing/copy.db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to a folder that is not there: %v", err)
	}
	entries, err := os.ReadDir(folder)
	if kept, _ := os.ReadFile("there"); err != nil || len(entries) != 3 || string(kept) != "mine" {
		t.Errorf("there are %v, %v, and the file has %q", entries, err, kept)
	}
}

// hollow is a driver whose VACUUM INTO does nothing and says nothing.
type hollow struct{ driver.Driver }

type hollowConn struct{ driver.Conn }

func (d hollow) Open(name string) (driver.Conn, error) {
	c, err := d.Driver.Open(name)
	return hollowConn{c}, err
}

func (c hollowConn) Prepare(text string) (driver.Stmt, error) {
	if strings.HasPrefix(text, "VACUUM INTO") {
		text = "SELECT ?"
	}
	return c.Conn.Prepare(text)
}

// register registers the drivers of these tests once, however often they run.
var register = sync.OnceFunc(func() {
	sql.Register("hollow", hollow{&sqlite.Driver{}})
	sql.Register("refusing", refusing{})
})

// A copy that holds nothing is no success, whatever SQLite says.
func TestEmptyBackupFails(t *testing.T) {
	register()
	folder := inFolder(t, "")
	f, err := sqlitefile.Open(filepath.Join(t.TempDir(), "f.db"), sqlitefile.Config{Driver: "hollow"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Backup(t.Context(), "copy.db"); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty copy: %v", err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Errorf("it leaves %v, %v", entries, err)
	}
}

// refusing is a driver that opens nothing.
type refusing struct{}

func (refusing) Open(string) (driver.Conn, error) { return nil, errors.New("refused") }

// An Open that fails makes no file, neither under its path nor elsewhere.
func TestFailedOpenLeavesNoFile(t *testing.T) {
	register()
	folder := inFolder(t, "")
	if err := os.Symlink("target.db", "dangling"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, driver string }{{":memory:", ""}, {"", ""}, {"missing/x.db", ""},
		{"dangling", ""}, {"new.db", "refusing"}} {
		if f, err := sqlitefile.Open(c.path, sqlitefile.Config{Driver: c.driver}); err == nil {
			t.Errorf("%q is open", c.path)
			f.Close()
		}
		if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
			t.Fatalf("%q leaves %v, %v", c.path, entries, err)
		}
	}
}
