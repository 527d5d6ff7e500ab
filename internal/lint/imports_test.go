package lint

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the packages of the module, bottom first. A package imports only
// from layers below its own; see ARCHITECTURE.md. Tests may reach further.
var layers = [][]string{
	{"."},
	{"internal/buffer", "internal/config", "internal/lint", "proto/holdall/v1", "migration/pace", "migration/catalogue", "migration/s3test", "migration/s3fault"},
	{"erasure", "placement", "internal/packer", "internal/manifest", "volume", "metadata", "migration/source"},
	{"volume/devicetest", "internal/faultdisk", "client", "migration", "migration/ledger", "migration/certificate", "migration/assess", "internal/verify", "internal/fsck", "internal/console"},
	{"internal/gateway", "internal/upkeep", "migration/mirror"},
	{"internal/object"},
	{"migration/door"},
	{"migration/worker"},
	{"internal/wire", "internal/s3front"},
	{"internal/node", "internal/sim", "internal/drills"},
	{"bench"},
	{"cmd/holdall"},
}

// doors are the dependencies that only some packages may import. The first entry
// that matches a path decides.
var doors = []struct {
	path  string // an import path, or the first elements of one
	doors []string
}{
	{"github.com/klauspost/reedsolomon", []string{"erasure"}},
	{"github.com/zeebo/blake3", []string{".", "bench"}},
	{"github.com/cockroachdb/pebble/v2/vfs", []string{"metadata", "bench", "internal/sim"}}, // its crashable file system
	{"github.com/cockroachdb", []string{"metadata", "bench"}},
	{"github.com/hashicorp", []string{"metadata"}},
	{"google.golang.org/grpc", []string{"internal/wire", "client", "bench", "proto/holdall/v1"}},
	{"google.golang.org/protobuf", []string{"internal/wire", "client", "bench", "proto/holdall/v1"}},
	{"google.golang.org/genproto", []string{"internal/wire", "client"}},
	{module + "/proto", []string{"internal/wire", "client", "bench"}},
	{"github.com/spf13", []string{"cmd/holdall"}},
	{"github.com/vbauerster", []string{"cmd/holdall"}},
	{"github.com/jedib0t", []string{"cmd/holdall"}},
	{"github.com/pelletier", []string{"internal/config", "migration/assess"}},
	{"github.com/aws", []string{"migration", "migration/source", "migration/mirror", "migration/s3test", "internal/s3front"}},
	{"modernc.org/sqlite", []string{"migration/catalogue"}},
	{"unsafe", []string{"volume", "internal/buffer", "internal/faultdisk"}},
	{"C", nil},
}

// pure packages do arithmetic: what they may import of the standard library has
// no files, no network, no clock and no chance of its own.
var pure = map[string][]string{
	"erasure":         {"bytes", "cmp", "errors", "fmt", "math", "math/bits", "slices", "strings", "sync"},
	"placement":       {"cmp", "errors", "fmt", "maps", "math", "math/rand/v2", "slices", "strings"},
	"internal/packer": {"cmp", "errors", "fmt", "math", "slices", "time"},
	"migration/pace":  {"cmp", "errors", "fmt", "math", "math/rand/v2", "slices", "strconv", "strings", "sync", "time"},

	"internal/manifest": {"encoding/binary", "errors", "fmt", "math", "slices", "strings", "time", "unicode/utf8"},
}

func layerOf(dir string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, dir) })
}

func TestImportsPointDown(t *testing.T) {
	unknown := map[string]bool{}
	each(t, func(f file, path string) {
		own := layerOf(f.dir)
		if own < 0 {
			unknown[f.dir] = true
			return
		}
		if path != module && !strings.HasPrefix(path, module+"/") {
			return
		}
		other := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if other == "" {
			other = "."
		}
		if layerOf(other) >= own {
			t.Errorf("%s imports %s, which is not below it", f.path, other)
		}
	})
	for dir := range unknown {
		t.Errorf("package %s is in no layer; add it to layers and to ARCHITECTURE.md", dir)
	}
}

func TestOneDoorPerDependency(t *testing.T) {
	each(t, func(f file, path string) {
		for _, d := range doors {
			if path != d.path && !strings.HasPrefix(path, d.path+"/") {
				continue
			}
			if !slices.Contains(d.doors, f.dir) {
				t.Errorf("%s imports %s, whose doors are %v", f.path, path, d.doors)
			}
			return
		}
	})
}

func TestPurePackagesImportNothingElse(t *testing.T) {
	each(t, func(f file, path string) {
		allowed, ok := pure[f.dir]
		if first, _, _ := strings.Cut(path, "/"); ok && !strings.Contains(first, ".") && !slices.Contains(allowed, path) {
			t.Errorf("%s imports %s: %s is pure", f.path, path, f.dir)
		}
	})
}

// each calls f with every import of every file that is not a test.
func each(t *testing.T, f func(file, string)) {
	t.Helper()
	for _, s := range load(t) {
		if s.test {
			continue
		}
		for _, i := range s.ast.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			f(s, path)
		}
	}
}
