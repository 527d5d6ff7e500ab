package certificate

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdall/holdall"
)

// The leaves lie in a file of their own, in the order of their keys: a magic
// line, then each as its length and the bytes that are hashed.
const leavesMagic = "holdall migration leaves 1\n"

// maxLeaf bounds a leaf, in bytes: a key of holdall.MaxKeySize, an ETag, a version
// id, and what has a fixed size.
const maxLeaf = 4 << 10

// Writer writes leaves, and sums them up.
type Writer struct {
	w     *bufio.Writer
	tree  Tree
	last  string
	total Totals
	buf   []byte
}

// Totals are what leaves come to.
type Totals struct {
	Objects  int64
	Bytes    int64
	Verified int64 // of Objects, those read in full on both sides
	Mirrored int64
	Excepted int64
	Root     Digest
}

// NewWriter begins a file of leaves.
func NewWriter(w io.Writer) (*Writer, error) {
	b := bufio.NewWriterSize(w, 1<<20)
	_, err := b.WriteString(leavesMagic)
	return &Writer{w: b}, err
}

// Add writes the next leaf, whose key must be above the last one's.
func (w *Writer) Add(l *Leaf) error {
	if err := l.check(); err != nil {
		return err
	}
	if w.total.Objects > 0 && l.Key <= w.last {
		return fmt.Errorf("certificate: key %q does not come after %q: %w", l.Key, w.last, holdall.ErrInvalid)
	}
	w.last = l.Key
	w.total.add(l)
	w.tree.Add(l)
	w.buf = l.append(w.buf[:0])
	if _, err := w.w.Write(binary.AppendUvarint(nil, uint64(len(w.buf)))); err != nil {
		return err
	}
	_, err := w.w.Write(w.buf)
	return err
}

// Finish writes what is buffered, and returns what the leaves come to. The caller
// syncs and closes the file.
func (w *Writer) Finish() (Totals, error) {
	w.total.Root = w.tree.Root()
	return w.total, w.w.Flush()
}

func (t *Totals) add(l *Leaf) {
	t.Objects++
	t.Bytes += l.Size
	switch l.Evidence {
	case Verified:
		t.Verified++
	case Mirrored:
		t.Mirrored++
	case Excepted:
		t.Excepted++
	}
}

func (l *Leaf) check() error {
	bad := func(why string) error {
		return fmt.Errorf("certificate: key %.80q: %s: %w", l.Key, why, holdall.ErrInvalid)
	}
	switch {
	case holdall.CheckKey(l.Key) != nil:
		return holdall.CheckKey(l.Key)
	case l.Size < 0 || l.Size > holdall.MaxObjectSize:
		return bad(fmt.Sprintf("has %d bytes", l.Size))
	case l.Evidence < Verified || l.Evidence > Excepted:
		return bad(fmt.Sprintf("evidence %d is of no known kind", l.Evidence))
	case l.At.UnixMilli() < 0:
		return bad("was proved before 1970")
	case len(l.ETag) > 1<<10 || len(l.SourceVersion) > 1<<10+1:
		return bad("its ETag or version id is too long")
	}
	return nil
}

// ReadLeaves calls each for every leaf of a file, in order, and returns what they
// come to. Errors wrap ErrCorrupt for a file that is not one, was cut short or has
// its keys out of order.
func ReadLeaves(r io.Reader, each func(*Leaf) error) (Totals, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	magic := make([]byte, len(leavesMagic))
	if _, err := io.ReadFull(b, magic); err != nil || string(magic) != leavesMagic {
		return Totals{}, fmt.Errorf("certificate: not a file of leaves: %w", holdall.ErrCorrupt)
	}
	var w Writer
	buf := make([]byte, maxLeaf)
	for n := int64(1); ; n++ {
		l, err := readLeaf(b, buf)
		if err == io.EOF {
			w.total.Root = w.tree.Root()
			return w.total, nil
		}
		if err == nil && n > 1 && l.Key <= w.last {
			err = fmt.Errorf("key %q does not come after %q", l.Key, w.last)
		}
		if err != nil {
			return Totals{}, fmt.Errorf("certificate: leaf %d: %v: %w", n, err, holdall.ErrCorrupt)
		}
		w.last = l.Key
		w.total.add(l)
		w.tree.Add(l)
		if each != nil {
			if err := each(l); err != nil {
				return Totals{}, err
			}
		}
	}
}

// readLeaf returns io.EOF only between two leaves.
func readLeaf(b *bufio.Reader, buf []byte) (*Leaf, error) {
	if _, err := b.Peek(1); err == io.EOF {
		return nil, io.EOF
	}
	size, err := binary.ReadUvarint(b)
	if err != nil || size > uint64(len(buf)) {
		return nil, errors.New("its length cannot be")
	}
	if _, err := io.ReadFull(b, buf[:size]); err != nil {
		return nil, errors.New("the file ends in the middle of it")
	}
	return parseLeaf(buf[:size])
}

// parseLeaf reads what append wrote, and nothing else.
func parseLeaf(b []byte) (*Leaf, error) {
	d := leafReader{b: b}
	l := &Leaf{Key: d.text(), Version: holdall.Version(d.number()), Size: int64(d.number())}
	d.bytes(l.Content[:])
	l.ETag, l.SourceVersion = d.text(), d.text()
	var evidence [1]byte
	d.bytes(evidence[:])
	l.Evidence, l.At = Evidence(evidence[0]), time.UnixMilli(int64(d.number())).UTC()
	if d.bad || len(d.b) != 0 || string(l.append(nil)) != string(b) {
		return nil, errors.New("its bytes are not those of a leaf")
	}
	return l, l.check()
}

// leafReader takes fields off the front of a leaf.
type leafReader struct {
	b   []byte
	bad bool
}

func (d *leafReader) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *leafReader) bytes(to []byte) {
	if len(d.b) < len(to) {
		d.bad = true
		return
	}
	copy(to, d.b)
	d.b = d.b[len(to):]
}

func (d *leafReader) text() string {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad = true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
