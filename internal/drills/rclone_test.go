package drills

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// rcloneVersion pins the program; its own go.sum pins the rest of it. It is no
// tool of the tools module, whose graph it would triple.
const rcloneVersion = "v1.76.0"

// TestRcloneThereAndBack copies a tree to a cell with rclone at its defaults,
// whose listings, checksums, uploads in parts and odd names are not those of the
// SDKs' tests, lets rclone compare both sides, and copies the tree back after a
// kill.
func TestRcloneThereAndBack(t *testing.T) {
	if !*full {
		t.Skip("builds rclone: needs -full")
	}
	bin := t.TempDir()
	build := exec.Command("go", "install", "github.com/rclone/rclone@"+rcloneVersion)
	build.Env = append(os.Environ(), "GOBIN="+bin, "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build rclone: %v\n%s", err, out)
	}
	s3 := freeAddr(t)
	c := newCell(t, "--s3", s3)
	c.start()
	var key struct {
		AccessKey string `json:"access_key"`
		Secret    string `json:"secret"`
	}
	c.json(&key, "namespace", "credential", "create")
	rclone := func(args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "rclone"), append(args, "--config", filepath.Join(bin, "none.conf"), "--no-unicode-normalization", "--s3-upload-cutoff", "8M", "--s3-chunk-size", "5M")...)
		cmd.Env = append(os.Environ(), "RCLONE_CONFIG_CELL_TYPE=s3", "RCLONE_CONFIG_CELL_PROVIDER=Other", "RCLONE_CONFIG_CELL_ENDPOINT=http://"+s3,
			"RCLONE_CONFIG_CELL_ACCESS_KEY_ID="+key.AccessKey, "RCLONE_CONFIG_CELL_SECRET_ACCESS_KEY="+key.Secret, "RCLONE_CONFIG_CELL_REGION=us-east-1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("rclone %v: %v\n%s", args, err, out)
		}
	}
	tree, back := t.TempDir(), t.TempDir()
	writeTree(t, tree)
	rclone("mkdir", "cell:tree")
	rclone("copy", tree, "cell:tree")
	rclone("check", tree, "cell:tree", "--download")
	rclone("sync", tree, "cell:tree", "--checksum")
	c.kill()
	c.start()
	rclone("copyto", "cell:tree/sub/big", "cell:tree/sub/big copied") // by the server
	rclone("copy", "cell:tree", back)
	if out, err := exec.Command("diff", "-r", "--exclude", "big copied", tree, back).CombinedOutput(); err != nil {
		t.Errorf("what came back differs: %v\n%s", err, out)
	}
	rclone("purge", "cell:tree")
}

func writeTree(t *testing.T, root string) {
	t.Helper()
	r := rand.NewChaCha8([32]byte{1})
	names := []string{"empty", "a b", "100%", "é", "e\u0301", "plus+plus", "sub/one", "sub/sub/two", "#hash", "quote'\"", "new\nline"}
	for i := range 200 {
		names = append(names, fmt.Sprintf("many/%04d", i))
	}
	for _, name := range append(names, "sub/big") {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		size := len(name) * 1000
		switch name {
		case "empty":
			size = 0
		case "sub/big":
			size = 33<<20 + 1
		}
		body := make([]byte, size)
		r.Read(body)
		if err := os.WriteFile(path, body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
