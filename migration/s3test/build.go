package s3test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/holdall/holdall"
)

// tool is the program's name in tools/go.mod.
const tool = "versitygw"

// Build returns the path of the S3 server's program, which Go builds from the
// version pinned in tools/go.mod if its build cache does not have it. The first
// build takes minutes and needs the module proxy, or the modules in GOFLAGS'
// module cache. The working directory has to lie in this repository.
func Build(ctx context.Context) (string, error) {
	root, err := repository(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "-modfile="+filepath.Join("tools", "go.mod"), tool)
	cmd.Dir = root
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the S3 server that tests run against: %v\n%s\nrun `%s` in %s and see why: %w",
			err, complaints.Bytes(), strings.Join(cmd.Args, " "), root, holdall.ErrUnavailable)
	}
	return strings.TrimSpace(string(out)), nil
}

// repository returns the directory of this module's go.mod.
func repository(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir := filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(dir, "tools", "go.mod")); err != nil {
		return "", fmt.Errorf("the S3 server is built from the repository's tools/go.mod: run this inside the repository: %w", err)
	}
	return dir, nil
}
