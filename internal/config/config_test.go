package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdall.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	src := Sources{
		File:  write(t, "memory = \"2GiB\"\nretention = \"1h\"\nlisten = \"127.0.0.1:1\"\nextent-zones = 8\n"),
		Env:   env(map[string]string{"HOLDALL_RETENTION": "2h", "HOLDALL_LISTEN": "127.0.0.1:2"}),
		Flags: map[string][]string{"listen": {"127.0.0.1:3"}},
	}
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.Retention != 2*time.Hour || c.Memory != 2<<30 || c.ExtentZones != 8 || c.Domain != "disk" {
		t.Errorf("resolved %+v", c)
	}
	origins := map[string]string{}
	for _, e := range c.Show() {
		origins[e.Name] = e.Origin
	}
	want := map[string]string{"listen": "flag --listen", "retention": "environment HOLDALL_RETENTION", "memory": "file " + src.File, "domain": "default"}
	for name, origin := range want {
		if origins[name] != origin {
			t.Errorf("%s came from %q, want %q", name, origins[name], origin)
		}
	}
}

func TestUnknownKeyIsRefusedWithASuggestion(t *testing.T) {
	_, err := Load(Sources{File: write(t, "# x\nzone_size = \"1MiB\"\ncolour = 3\n")})
	if !errors.Is(err, holdall.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{`"zone_size" (line 2)`, `did you mean "zone-size"`, `"colour" (line 3)`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func TestFaultsAreReportedTogether(t *testing.T) {
	_, err := Load(Sources{Flags: map[string][]string{
		"memory": {"1MiB"}, "domain": {"planet"}, "listen": {"0.0.0.0:7420"}, "http": {"nowhere"}, "extent-zones": {"0"}, "zone-size": {"5000"},
		"disk": {"/a", "/a"}, "log-level": {"loud"}, "retention": {"-1s"}, "node": {"a b"},
	}})
	if !errors.Is(err, holdall.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, name := range []string{"memory", "domain", "listen", "http", "extent-zones", "zone-size", "disk", "log-level", "retention", "node"} {
		if !strings.Contains(err.Error(), name+" = ") {
			t.Errorf("%q does not name %s", err, name)
		}
	}
}

func TestValuesThatDoNotParseNameTheirSource(t *testing.T) {
	_, err := Load(Sources{Env: env(map[string]string{"HOLDALL_MEMORY": "lots", "HOLDALL_SCHEME": "rs-0-1"})})
	if !errors.Is(err, holdall.ErrInvalid) || !strings.Contains(err.Error(), "environment HOLDALL_MEMORY") || !strings.Contains(err.Error(), "HOLDALL_SCHEME") {
		t.Fatalf("got %v", err)
	}
}

func TestDiskListsFromEverySource(t *testing.T) {
	file := write(t, `disk = ["/mnt/a:domain=rack1/host1", "/mnt/b"]`)
	c, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Disks) != 2 || c.Disks[0] != (Disk{Path: "/mnt/a", Domain: "rack1/host1"}) || c.Disks[1].Path != "/mnt/b" {
		t.Errorf("from the file: %v", c.Disks)
	}
	c, err = Load(Sources{File: file, Env: env(map[string]string{"HOLDALL_DISK": "/x,/y,/z"})})
	if err != nil || len(c.Disks) != 3 {
		t.Errorf("from the environment: %v, %v", c, err)
	}
	for _, bad := range []string{"", ":domain=a", "/a:domain=", "/a:domain=a//b", "/a:domain=a b"} {
		if _, err := ParseDisk(bad); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("ParseDisk(%q): %v", bad, err)
		}
	}
}

func TestOnlyLoopbackIsServed(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "127.9.9.9:0": true,
		":7420": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "127.0.0.1": false,
	} {
		if _, err := Load(Sources{Flags: map[string][]string{"listen": {addr}}}); (err == nil) != ok {
			t.Errorf("listen %q: %v", addr, err)
		}
	}
}

func TestSizesRoundTrip(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "16MiB": 16 << 20, "20TB": 20e12, "1.5GiB": 3 << 29, "1 KiB": 1024, "7B": 7} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-1", "MiB", "1.5B", "9999999999GiB", "1e400", "NaN", "0x10"} {
		if n, err := ParseSize(bad); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("ParseSize(%q) = %d, %v", bad, n, err)
		}
	}
	for _, n := range []int64{0, 1, 1000, 1024, 1536, 16 << 20, 20e12, 1<<20 + 1} {
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Errorf("FormatSize(%d) = %q reads back as %d, %v", n, FormatSize(n), got, err)
		}
	}
	if FormatSize(1<<30) != "1GiB" || FormatSize(256<<20) != "256MiB" {
		t.Errorf("FormatSize: %s %s", FormatSize(1<<30), FormatSize(256<<20))
	}
}

func TestSplitStaysInsideTheBudget(t *testing.T) {
	for _, memory := range []int64{MinMemory, 1 << 30, 64 << 30} {
		b := (&Config{Memory: memory}).Split()
		outside := b.InFlight + b.Cache
		if pebbleOffHeap {
			outside += b.Pebble
		}
		if b.GoLimit+outside != memory || b.GoLimit < memory/3 {
			t.Errorf("%d splits into %+v", memory, b)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("memory = \"2GiB\"")
	f.Add("disk = [\"a\", 1, [true]]")
	f.Add("[memory]\nx = 1")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "f.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := Load(Sources{File: path}); err == nil && c.Validate() != nil {
			t.Error("Load returned settings that do not validate")
		}
	})
}
