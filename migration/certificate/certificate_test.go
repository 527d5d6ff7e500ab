package certificate

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func testLeaf(i int) *Leaf {
	return &Leaf{
		Key: fmt.Sprintf("key-%06d", i), Version: holdall.Version(i + 1), Size: int64(i * 7), Content: holdall.HashBlock([]byte{byte(i)}),
		ETag: "e", SourceVersion: "v", Evidence: Evidence(i%3 + 1), At: time.UnixMilli(int64(1000 + i)).UTC(),
	}
}

// recursive is the definition of RFC 6962, 2.1.
func recursive(hashes []Digest) Digest {
	switch len(hashes) {
	case 0:
		return holdall.HashBlock(nil)
	case 1:
		return hashes[0]
	}
	k := 1
	for k*2 < len(hashes) {
		k *= 2
	}
	return join(recursive(hashes[:k]), recursive(hashes[k:]))
}

func TestRootIsThatOfTheDefinition(t *testing.T) {
	var tree Tree
	var hashes []Digest
	for n := range 70 {
		if got, want := tree.Root(), recursive(hashes); got != want {
			t.Fatalf("%d leaves: root %v, want %v", n, got, want)
		}
		l := testLeaf(n)
		tree.Add(l)
		hashes = append(hashes, holdall.HashBlock(l.append([]byte{leafPrefix})))
	}
}

// written returns a file of n leaves.
func written(t *testing.T, n int) ([]byte, Totals) {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file)
	for i := range n {
		if err == nil {
			err = w.Add(testLeaf(i))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	total, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), total
}

func TestLeavesComeBack(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000} {
		file, total := written(t, n)
		i := 0
		got, err := ReadLeaves(bytes.NewReader(file), func(l *Leaf) error {
			if *l != *testLeaf(i) {
				t.Errorf("leaf %d: %+v", i, l)
			}
			i++
			return nil
		})
		if err != nil || got != total || i != n {
			t.Errorf("%d leaves: read %d, %+v, want %+v: %v", n, i, got, total, err)
		}
	}
}

func TestLeavesThatWereChangedDoNotMatch(t *testing.T) {
	file, total := written(t, 20)
	for at := range file {
		for bit := range 8 {
			bad := slices.Clone(file)
			bad[at] ^= 1 << bit
			if got, err := ReadLeaves(bytes.NewReader(bad), nil); err == nil && got == total {
				t.Fatalf("bit %d of byte %d changed, and nothing shows it", bit, at)
			}
		}
		if got, err := ReadLeaves(bytes.NewReader(file[:at]), nil); err == nil && got == total {
			t.Fatalf("cut to %d bytes, and nothing shows it", at)
		}
	}
}

func TestLeavesAreWrittenInOrderOnce(t *testing.T) {
	w, err := NewWriter(new(bytes.Buffer))
	if err == nil {
		err = w.Add(testLeaf(5))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{5, 4} {
		if err := w.Add(testLeaf(i)); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("leaf %d after leaf 5: %v", i, err)
		}
	}
}

func signedStatement(t *testing.T) ([]byte, ed25519.PrivateKey) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	c, err := Sign(&Statement{
		Cell: "c", Bucket: "photos", Objects: 3, Bytes: 21, Root: holdall.HashBlock(nil), CleanRun: time.Minute, Created: time.UnixMilli(5).UTC(),
		Exceptions: []Exception{{Key: []byte{0xff, 0}, What: "tags", Reason: "r", SignedBy: "ann"}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func TestCertificateVerifies(t *testing.T) {
	c, key := signedStatement(t)
	s, by, err := Verify(c, key.Public().(ed25519.PublicKey))
	if err != nil || s.Bucket != "photos" || !by.Equal(key.Public()) {
		t.Fatalf("%+v %v: %v", s, by, err)
	}
	if err := s.Matches(Totals{Objects: 3, Bytes: 21, Root: holdall.HashBlock(nil)}); err != nil {
		t.Error(err)
	}
	if err := s.Matches(Totals{Objects: 3, Bytes: 22, Root: holdall.HashBlock(nil)}); !errors.Is(err, holdall.ErrCorrupt) {
		t.Errorf("leaves of another size: %v", err)
	}
}

func TestForgedEditedAndTruncatedCertificatesAreRejected(t *testing.T) {
	c, key := signedStatement(t)
	trusted := key.Public().(ed25519.PublicKey)
	for at := range c {
		bad := slices.Clone(c)
		bad[at] ^= 1
		if _, _, err := Verify(bad, trusted); !errors.Is(err, holdall.ErrCorrupt) {
			t.Fatalf("byte %d changed: %v", at, err)
		}
		if _, _, err := Verify(c[:at], nil); !errors.Is(err, holdall.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", at, err)
		}
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	s, _, err := Verify(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := Sign(s, other)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Verify(forged, trusted); err == nil || !strings.Contains(err.Error(), Fingerprint(trusted)) {
		t.Errorf("signed by another key: %v", err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "a line more": append(slices.Clone(c), "x\n"...)} {
		if _, _, err := Verify(bad, trusted); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadLeaves(f *testing.F) {
	f.Add([]byte(leavesMagic))
	f.Add(append([]byte(leavesMagic), append([]byte{byte(len(testLeaf(1).append(nil)))}, testLeaf(1).append(nil)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		w, err := NewWriter(&again)
		if err != nil {
			t.Fatal(err)
		}
		total, err := ReadLeaves(bytes.NewReader(b), func(l *Leaf) error { return w.Add(l) })
		if err != nil {
			return
		}
		if got, err := w.Finish(); err != nil || got != total {
			t.Errorf("written again: %+v, want %+v: %v", got, total, err)
		}
	})
}
