package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// encoder appends fields.
type encoder struct {
	b   []byte
	err error
}

func (e *encoder) field(tag byte, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > MaxAttributes {
		e.err = fmt.Errorf("a field of %d bytes, at most %d", n, MaxAttributes)
		return
	}
	e.b = append(e.b, tag, byte(n), byte(n>>8))
	for _, p := range parts {
		e.b = append(e.b, p...)
	}
}

// errShape is the error of a field whose length is not that of what it holds.
var errShape = errors.New("has the wrong length")

// ParseAttributes reads encoded attributes; no bytes are the zero Attributes. It
// keeps nothing of b. Errors are ErrCorrupt; there is one encoding of every
// Attributes, others are refused.
func ParseAttributes(b []byte) (Attributes, error) {
	var a Attributes
	if len(b) == 0 {
		return a, nil
	}
	if b[0] != version || len(b) == 1 || len(b) > MaxAttributes {
		return Attributes{}, corrupt("attributes", "of version %d in %d bytes", b[0], len(b))
	}
	texts := a.texts()
	last := byte(0)
	for rest := b[1:]; len(rest) > 0; {
		if len(rest) < 3 {
			return Attributes{}, corrupt("attributes", "end with %d bytes", len(rest))
		}
		tag, n := rest[0], int(binary.LittleEndian.Uint16(rest[1:]))
		many := tag == tagUser || tag == tagChecksum || tag == tagPartRun
		if tag < last || tag == last && !many || n > len(rest)-3 {
			return Attributes{}, corrupt("attributes", "field %d of %d bytes after field %d, %d bytes before the end", tag, n, last, len(rest))
		}
		var err error
		if text := texts[tag]; text != nil {
			if *text = string(rest[3:][:n]); n == 0 {
				err = errShape
			}
		} else {
			err = a.parseField(tag, rest[3:][:n])
		}
		if err != nil {
			return Attributes{}, corrupt("attributes", "field %d: %v", tag, err)
		}
		last, rest = tag, rest[3+n:]
	}
	if err := a.check(); err != nil {
		return Attributes{}, corrupt("attributes", "%v", err)
	}
	return a, nil
}

func (a *Attributes) parseField(tag byte, v []byte) error {
	le := binary.LittleEndian
	switch tag {
	case tagUser:
		if len(v) < 2 || int(le.Uint16(v)) > len(v)-2 {
			return errShape
		}
		n := int(le.Uint16(v))
		a.User = append(a.User, Field{string(v[2:][:n]), string(v[2+n:])})
	case tagChecksum:
		if len(v) < 2 || int(v[1]) > len(v)-2 {
			return errShape
		}
		n := int(v[1])
		a.Checksums = append(a.Checksums, Checksum{string(v[2:][:n]), ChecksumKind(v[0]), append([]byte(nil), v[2+n:]...)})
	case tagParts:
		if len(v) != 4 || le.Uint32(v) == 0 {
			return errShape
		}
		a.Parts = int(le.Uint32(v))
	case tagPartRun:
		if len(v) != 12 {
			return errShape
		}
		a.PartSizes = append(a.PartSizes, PartRun{int(le.Uint32(v)), int64(le.Uint64(v[4:]))})
	case tagSourceModified:
		if len(v) != 12 || le.Uint32(v[8:]) >= 1e9 {
			return errShape
		}
		if a.SourceModified = time.Unix(int64(le.Uint64(v)), int64(le.Uint32(v[8:]))).UTC(); a.SourceModified.IsZero() {
			return errShape
		}
	default:
		return errors.New("is not known")
	}
	return nil
}
