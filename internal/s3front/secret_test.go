package s3front

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdall/holdall"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "open-sesame"
	s := NewSecret(text)
	type row struct {
		Key    string
		Secret Secret
		hidden Secret
	}
	r := row{"k", s, s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, r, &r)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("made", "secret", s, "row", r)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("made", "secret", s, "row", r)
	if err := json.NewEncoder(&out).Encode(r); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) || !strings.Contains(got, hidden) {
		t.Errorf("printed:\n%s", got)
	}
	if s.Reveal() != text || (Secret{}).Reveal() != "" {
		t.Errorf("reveals %q", s.Reveal())
	}
}

func TestVaultKeepsSecretsOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credential.key")
	access, secret, err := NewCredential(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if len(access) != 20 || len(secret.Reveal()) != 40 {
		t.Errorf("access key %q, a secret of %d characters", access, len(secret.Reveal()))
	}
	sealed, err := NewVault(path, rand.Reader).Seal(access, secret)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte(secret.Reveal())) {
		t.Error("the secret is in what was sealed")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	again := NewVault(path, rand.Reader)
	if got, err := again.Open(access, sealed); err != nil || got.Reveal() != secret.Reveal() {
		t.Errorf("opened %v", err)
	}
	if _, err := again.Open("HOLDANOTHER", sealed); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("under another access key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := again.Open(access, bad); !errors.Is(err, holdall.ErrCorrupt) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for n := range sealed {
		if _, err := again.Open(access, sealed[:n]); !errors.Is(err, holdall.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func TestVaultNeverMakesAKeyToOpenWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credential.key")
	if _, err := NewVault(path, rand.Reader).Open("HOLD", []byte("x")); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}

func TestVaultRefusesAKeyThatOthersCanRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credential.key")
	for _, c := range []struct {
		mode os.FileMode
		size int
		want error
	}{{0o640, sealKeySize, holdall.ErrRefused}, {0o604, sealKeySize, holdall.ErrRefused}, {0o600, sealKeySize - 1, holdall.ErrCorrupt}, {0o600, sealKeySize, nil}} {
		if err := os.WriteFile(path, make([]byte, c.size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := NewVault(path, rand.Reader).Seal("HOLD", NewSecret("x")); !errors.Is(err, c.want) {
			t.Errorf("mode %v, %d bytes: %v, want %v", c.mode, c.size, err, c.want)
		}
	}
}
