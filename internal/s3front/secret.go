package s3front

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/holdall/holdall"
)

// Secret is the secret of an access key. However it is printed, logged or
// encoded, it is ***; only Reveal returns it. It is a function because package
// fmt prints what lies in unexported fields without asking.
type Secret struct{ reveal func() string }

// NewSecret returns a Secret that hides text.
func NewSecret(text string) Secret { return Secret{func() string { return text }} }

const hidden = "***"

// Reveal returns the secret in the clear. The zero Secret is empty.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String returns ***.
func (Secret) String() string { return hidden }

// Format writes *** for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// LogValue returns ***.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns ***, which is what JSON shows too.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// NewCredential chooses an access key of 20 characters and a secret of 40. The
// prefix keeps it apart from the keys of other stores, and from those that stand
// for temporary credentials, which this front door does not know.
func NewCredential(random io.Reader) (accessKey string, secret Secret, err error) {
	var b [10 + 30]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", Secret{}, fmt.Errorf("credential: no randomness: %w: %w", err, holdall.ErrUnavailable)
	}
	return "HOLD" + base32.StdEncoding.EncodeToString(b[:10]), NewSecret(base64.RawURLEncoding.EncodeToString(b[10:])), nil
}

// What is sealed: a version byte, the nonce, the secret's ciphertext and its
// tag. The access key is authenticated with it, so that one row's secret cannot
// be put into another's.
const (
	sealVersion = 1
	sealKeySize = 32 // bytes: AES-256
)

// Vault seals the secrets of access keys with AES-256-GCM under a key in a file
// that only this user may read, so that metadata, its snapshots and its backups
// hold no secret in the clear. The file is made when the first secret is sealed.
// It is safe for concurrent use.
type Vault struct {
	path   string
	random io.Reader

	mu  sync.Mutex // guards what follows; held across the one read of the file, on purpose
	key cipher.AEAD
}

// NewVault returns a Vault whose key lies, or will lie, at path.
func NewVault(path string, random io.Reader) *Vault { return &Vault{path: path, random: random} }

// Seal encrypts a secret for metadata.
func (v *Vault) Seal(accessKey string, s Secret) ([]byte, error) {
	key, err := v.open(true)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 1+key.NonceSize(), 1+key.NonceSize()+len(s.Reveal())+key.Overhead())
	sealed[0] = sealVersion
	nonce := sealed[1:]
	if _, err := io.ReadFull(v.random, nonce); err != nil {
		return nil, fmt.Errorf("credential key: no randomness for a nonce: %w: %w", err, holdall.ErrUnavailable)
	}
	return key.Seal(sealed, nonce, []byte(s.Reveal()), []byte(accessKey)), nil
}

// Open decrypts what Seal returned for the same access key. Errors: ErrCorrupt
// (sealed under another key, or changed since), ErrNotFound (the key's file is
// gone).
func (v *Vault) Open(accessKey string, sealed []byte) (Secret, error) {
	key, err := v.open(false)
	if err != nil {
		return Secret{}, err
	}
	if len(sealed) < 1+key.NonceSize() || sealed[0] != sealVersion {
		return Secret{}, fmt.Errorf("credential %s: its secret is not sealed as this program does: %w", accessKey, holdall.ErrCorrupt)
	}
	nonce, text := sealed[1:1+key.NonceSize()], sealed[1+key.NonceSize():]
	plain, err := key.Open(nil, nonce, text, []byte(accessKey))
	if err != nil {
		return Secret{}, fmt.Errorf("credential %s: its secret was sealed under another key than that of %s; put that file back, or make a new credential: %w", accessKey, v.path, holdall.ErrCorrupt)
	}
	return NewSecret(string(plain)), nil
}

// open reads the key once, and makes it if it may.
func (v *Vault) open(create bool) (cipher.AEAD, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key != nil {
		return v.key, nil
	}
	raw, err := readKey(v.path)
	if errors.Is(err, fs.ErrNotExist) && create {
		raw, err = v.make()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("credential key: %s is gone, and with it the secrets of all access keys; put it back, or make new credentials: %w", v.path, holdall.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("credential key: %w", err)
	}
	v.key, err = cipher.NewGCM(block)
	return v.key, err
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("credential key: %s can be read by other users (mode %v): chmod 600 %s: %w", path, info.Mode().Perm(), path, holdall.ErrRefused)
	}
	raw, err := os.ReadFile(path)
	if err == nil && len(raw) != sealKeySize {
		err = fmt.Errorf("credential key: %s has %d bytes, want %d: %w", path, len(raw), sealKeySize, holdall.ErrCorrupt)
	}
	return raw, err
}

// make writes a new key. It is durable before anything is sealed under it.
func (v *Vault) make() ([]byte, error) {
	raw := make([]byte, sealKeySize)
	if _, err := io.ReadFull(v.random, raw); err != nil {
		return nil, fmt.Errorf("credential key: no randomness: %w: %w", err, holdall.ErrUnavailable)
	}
	temp := v.path + ".new" // one left by a crash was never used
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("credential key: %v: %w", err, holdall.ErrUnavailable)
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, v.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(v.path))
	}
	if err != nil {
		return nil, fmt.Errorf("credential key: %w: %w", err, holdall.ErrUnavailable)
	}
	return raw, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
