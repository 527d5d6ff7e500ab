package certificate

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// Format is what a statement begins with.
const Format = "holdall migration certificate 1"

// signedPrefix keeps a signature from meaning anything else.
const signedPrefix = "holdall migration certificate 1\x00"

// maxCertificate bounds a certificate, in bytes: most of it are exceptions.
const maxCertificate = 256 << 20

// Statement is what is signed.
type Statement struct {
	Format    string `json:"format"`
	Cell      string `json:"cell"`
	Namespace string `json:"namespace"`
	Bucket    string `json:"bucket"`

	SourceEndpoint string `json:"source_endpoint"` // "" = AWS
	SourceBucket   string `json:"source_bucket"`

	RaftIndex uint64 `json:"raft_index"` // the bucket as it stood there
	Objects   int64  `json:"objects"`
	Bytes     int64  `json:"bytes"`
	Verified  int64  `json:"verified"` // of the objects, those read in full on both sides
	Mirrored  int64  `json:"mirrored"` // those written to both since
	Excepted  int64  `json:"excepted"`
	Root      Digest `json:"root"` // of the tree over the leaves

	Passes     uint32        `json:"passes"` // clean full verifications in a row
	CleanRun   time.Duration `json:"clean_run_ns"`
	CleanSince time.Time     `json:"clean_since"`
	Exceptions []Exception   `json:"exceptions"`
	Code       string        `json:"code"` // version of the binary
	Created    time.Time     `json:"created"`
}

// Exception is a key that is not equal on both sides, or was not compared, and
// who took the responsibility.
type Exception struct {
	Key      []byte    `json:"key"` // base64: keys are bytes
	What     string    `json:"what"`
	Reason   string    `json:"reason"`
	SignedBy string    `json:"signed_by"`
	At       time.Time `json:"at"`
}

// seal is the second line of a certificate.
type seal struct {
	Algorithm string `json:"algorithm"`
	PublicKey string `json:"public_key"` // hex
	Signature string `json:"signature"`  // hex
}

// Sign returns the certificate: the statement and the seal, a line each.
func Sign(s *Statement, key ed25519.PrivateKey) ([]byte, error) {
	s.Format = Format
	if s.Exceptions == nil {
		s.Exceptions = []Exception{}
	}
	line, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	public := key.Public().(ed25519.PublicKey)
	second, err := json.Marshal(seal{"ed25519", hex.EncodeToString(public), hex.EncodeToString(ed25519.Sign(key, signed(line)))})
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return append(append(append(line, '\n'), second...), '\n'), nil
}

func signed(line []byte) []byte { return append([]byte(signedPrefix), line...) }

// DigestOf returns what metadata keep of a certificate.
func DigestOf(certificate []byte) Digest { return holdall.HashBlock(certificate) }

// Verify checks a certificate's form and signature, and returns what it states
// and who signed it. trusted, if not nil, is the key that must have. Errors wrap
// ErrCorrupt.
func Verify(certificate []byte, trusted ed25519.PublicKey) (*Statement, ed25519.PublicKey, error) {
	bad := func(err error) (*Statement, ed25519.PublicKey, error) {
		return nil, nil, fmt.Errorf("certificate: %v: %w", err, holdall.ErrCorrupt)
	}
	if len(certificate) > maxCertificate {
		return bad(fmt.Errorf("%d bytes, the most is %d", len(certificate), maxCertificate))
	}
	line, rest, ok := bytes.Cut(certificate, []byte("\n"))
	second, rest, sealed := bytes.Cut(rest, []byte("\n"))
	if !ok || !sealed || len(rest) != 0 {
		return bad(errors.New("want two lines, each with its end: cut short, or added to"))
	}
	var on seal
	if err := strict(second, &on); err != nil {
		return bad(fmt.Errorf("second line: %w", err))
	}
	public, err := hex.DecodeString(on.PublicKey)
	if err != nil || on.Algorithm != "ed25519" || len(public) != ed25519.PublicKeySize {
		return bad(errors.New("second line: not an ed25519 key"))
	}
	signature, err := hex.DecodeString(on.Signature)
	if err != nil || !ed25519.Verify(public, signed(line), signature) {
		return bad(errors.New("the signature is not this key's for this statement: it was changed after it was signed"))
	}
	if trusted != nil && !trusted.Equal(ed25519.PublicKey(public)) {
		return bad(fmt.Errorf("signed by key %s, not by the one that is trusted, %s", Fingerprint(public), Fingerprint(trusted)))
	}
	s := new(Statement)
	if err := strict(line, s); err != nil {
		return bad(fmt.Errorf("first line: %w", err))
	}
	if s.Format != Format {
		return bad(fmt.Errorf("format %q, this binary reads %q", s.Format, Format))
	}
	return s, public, nil
}

// Matches says whether leaves come to what the statement says.
func (s *Statement) Matches(t Totals) error {
	if got := (Totals{s.Objects, s.Bytes, s.Verified, s.Mirrored, s.Excepted, s.Root}); got != t {
		return fmt.Errorf("certificate: states %+v, the leaves come to %+v: %w", got, t, holdall.ErrCorrupt)
	}
	return nil
}

// Fingerprint returns a public key in hex, in groups that people can compare.
func Fingerprint(key ed25519.PublicKey) string {
	id := holdall.HashBlock(key)
	h := hex.EncodeToString(id[:16])
	var b []byte
	for i := 0; i < len(h); i += 4 {
		if i > 0 {
			b = append(b, '-')
		}
		b = append(b, h[i:i+4]...)
	}
	return string(b)
}

// strict decodes one JSON value without unknown fields, which must be written as
// this package would write it: there are no two ways to say the same.
func strict(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	again, err := json.Marshal(into)
	if err == nil && !bytes.Equal(again, line) {
		err = errors.New("not written as certificates are")
	}
	return err
}
