package worker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/migration/certificate"
)

// A verification writes what it proved to a file of the data directory, of which
// the certificate is made: a magic line, then records of a kind (1), a length, and
// fields. Keys come in order, but for those that had to be looked at again.
const factsMagic = "holdall migration facts 1\n"

const (
	factEqual = 1 // a leaf
	factLate  = 2 // a key that was being written: its own fact comes later
)

// maxFact bounds a record, in bytes: a key, an ETag and a version id, each of at
// most some 1,024, and what has a fixed size.
const maxFact = 8 << 10

// leaf is a key that was proved equal.
type leaf = certificate.Leaf

// proofs is the file of a verification under way.
type proofs struct {
	f      *os.File
	w      *bufio.Writer
	length int64
}

// factsDir is where the files of a bucket's migration lie.
func factsDir(dir string, bucket holdall.BucketID) string {
	return filepath.Join(dir, "migration", fmt.Sprint(uint64(bucket)))
}

func factsPath(dir string, bucket holdall.BucketID, run runID) string {
	return filepath.Join(factsDir(dir, bucket), fmt.Sprintf("facts-%x", run[:]))
}

// openFacts goes on with a file after its first length bytes, or begins one.
// ErrNotFound: this machine does not have them.
func openFacts(path string, length int64) (*proofs, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("worker: %v: %w", err, holdall.ErrUnavailable)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("worker: %v: %w", err, holdall.ErrUnavailable)
	}
	st, err := f.Stat()
	if err == nil && st.Size() < length {
		err = fmt.Errorf("worker: %s has %d bytes, %d were noted: %w", path, st.Size(), length, holdall.ErrNotFound)
	}
	if err == nil {
		err = f.Truncate(length)
	}
	if err == nil {
		_, err = f.Seek(length, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	out := &proofs{f: f, w: bufio.NewWriterSize(f, 64<<10), length: length}
	if length == 0 {
		return out, out.write([]byte(factsMagic))
	}
	return out, nil
}

func (f *proofs) write(b []byte) error {
	n, err := f.w.Write(b)
	f.length += int64(n)
	return err
}

func (f *proofs) add(kind byte, fields []byte) error {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(fields)))
	return f.write(append(head, fields...))
}

// equal adds a key that is equal on both sides.
func (f *proofs) equal(l *certificate.Leaf) error { return f.add(factEqual, appendFact(nil, l)) }

// late adds a key that is to be looked at again.
func (f *proofs) late(key string) error { return f.add(factLate, []byte(key)) }

// sync makes what was added durable, and returns how long the file is.
func (f *proofs) sync() (int64, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.length, f.f.Sync()
}

func (f *proofs) close() error { return errors.Join(f.w.Flush(), f.f.Close()) }

func appendFact(b []byte, l *certificate.Leaf) []byte {
	for _, s := range []string{l.Key, l.ETag, l.SourceVersion} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendUvarint(b, uint64(l.Version))
	b = binary.AppendUvarint(b, uint64(l.Size))
	b = binary.AppendUvarint(b, uint64(l.At.UnixMilli()))
	return append(b, l.Content[:]...)
}

func parseFact(b []byte) (l certificate.Leaf, err error) {
	bad := fmt.Errorf("worker: a fact of %d bytes is none: %w", len(b), holdall.ErrCorrupt)
	number := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = bad, nil
			return 0
		}
		b = b[n:]
		return v
	}
	for _, s := range []*string{&l.Key, &l.ETag, &l.SourceVersion} {
		n := number()
		if n > uint64(len(b)) {
			return l, bad
		}
		*s, b = string(b[:n]), b[n:]
	}
	l.Version, l.Size, l.At, l.Evidence = holdall.Version(number()), int64(number()), time.UnixMilli(int64(number())).UTC(), certificate.Verified
	if err == nil && len(b) != len(l.Content) {
		err = bad
	}
	copy(l.Content[:], b)
	return l, err
}

// readFacts calls equal and late for the records of a file, in their order. A
// record that is cut short ends the file: it was never noted.
func readFacts(path string, length int64, equal func(leaf) error, late func(key string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("worker: facts of a verification: %v: %w", err, holdall.ErrNotFound)
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.LimitReader(f, length), 64<<10)
	magic := make([]byte, len(factsMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != factsMagic {
		return fmt.Errorf("worker: %s is no file of facts: %w", path, holdall.ErrCorrupt)
	}
	for {
		kind, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		size, err2 := binary.ReadUvarint(r)
		if err != nil || err2 != nil || size > maxFact {
			return fmt.Errorf("worker: %s: a record is cut short or too long: %w", path, holdall.ErrCorrupt)
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("worker: %s: a record is cut short: %w", path, holdall.ErrCorrupt)
		}
		switch kind {
		case factEqual:
			var l certificate.Leaf
			if l, err = parseFact(b); err == nil {
				err = equal(l)
			}
		case factLate:
			err = late(string(b))
		default:
			err = fmt.Errorf("worker: %s: a record of kind %d: %w", path, kind, holdall.ErrCorrupt)
		}
		if err != nil {
			return err
		}
	}
}
