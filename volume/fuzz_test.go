package volume

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// Each target takes any bytes, and again with their checksums made right, so
// that what lies behind the checksums is fuzzed too. What a decoder accepts, the
// encoder must give back, byte for byte.

func FuzzRecordHeader(f *testing.F) {
	h := exampleRecord()
	seed := make([]byte, SectorSize)
	h.encode(seed)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		for range 2 {
			var h RecordHeader
			if h.Decode(b) == nil {
				again := make([]byte, SectorSize)
				if h.encode(again); !bytes.Equal(again, b) {
					t.Fatal("decoded header encodes to other bytes")
				}
				_ = h.verify(make([]byte, h.Length), 0)
				_ = h.Stripe()
			}
			if len(b) < SectorSize {
				return
			}
			b = bytes.Clone(b[:SectorSize])
			stampSector(b)
		}
	})
}

func FuzzZoneHeader(f *testing.F) {
	h := exampleZone()
	f.Add(sectorOf(&h))
	f.Fuzz(func(t *testing.T, b []byte) {
		for range 2 {
			var h ZoneHeader
			if h.Decode(b) == nil && !bytes.Equal(sectorOf(&h), b) {
				t.Fatal("decoded header encodes to other bytes")
			}
			if len(b) < SectorSize {
				return
			}
			b = bytes.Clone(b[:SectorSize])
			stampSector(b)
		}
	})
}

func FuzzFooter(f *testing.F) {
	h, tab := exampleFooter()
	f.Add(append(sectorOf(&h), tab.buf...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < SectorSize {
			_ = new(FooterHeader).Decode(b)
			return
		}
		for range 2 {
			var h FooterHeader
			if h.Decode(b[:SectorSize]) == nil {
				if !bytes.Equal(sectorOf(&h), b[:SectorSize]) {
					t.Fatal("decoded header encodes to other bytes")
				}
				if int(h.Body) <= len(b)-SectorSize {
					_, _ = h.parseBody(b[SectorSize:][:h.Body])
				}
			}
			b = bytes.Clone(b)
			binary.LittleEndian.PutUint32(b[ftBody:], uint32(len(b)-SectorSize))
			binary.LittleEndian.PutUint32(b[ftBodySum:], checksum(b[SectorSize:]))
			stampSector(b[:SectorSize])
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add(uint16(2), exampleTable().buf)
	f.Fuzz(func(t *testing.T, count uint16, body []byte) {
		tab, err := parseTable(3, int(count), exampleScheme, body)
		if err != nil {
			return
		}
		again := newTable(3)
		if tab.count > 0 {
			r := tab.block(0)
			for e := (stripeEntry{}); r.next(&e); {
				if err := again.fits(e.number, e.epoch, e.shards[:3]); err != nil {
					t.Fatalf("parsed stripe does not fit: %v", err)
				}
				again.put(e.number, e.epoch, e.shards[:3], e.running)
			}
		}
		if !bytes.Equal(again.buf, body) {
			t.Fatal("parsed table encodes to other bytes")
		}
		for m := range 3 {
			var e stripeEntry
			tab.at(m, tab.ends[m]/2, &e)
		}
	})
}

func FuzzDirectory(f *testing.F) {
	f.Add(examplePayload())
	f.Fuzz(func(t *testing.T, b []byte) {
		for range 2 {
			if entries, err := ParseDirectory(b); err == nil {
				blocks := len(b) - DirectorySize(len(entries))
				if again := AppendDirectory(bytes.Clone(b[:blocks]), entries); !bytes.Equal(again, b) {
					t.Fatal("parsed directory encodes to other bytes")
				}
			}
			if len(b) < dirTailSize {
				return
			}
			b = bytes.Clone(b)
			tail := b[len(b)-dirTailSize:]
			size := int64(binary.LittleEndian.Uint32(tail[dirTailCount:]))*dirEntrySize + dirTailSize
			if size > int64(len(b)) {
				return
			}
			binary.LittleEndian.PutUint32(tail[dirTailSum:], checksum(b[int64(len(b))-size:len(b)-4]))
		}
	})
}

// restampFrame makes the checksums of a frame right, and returns its body.
func restampFrame(b []byte) []byte {
	body := b[frSize:]
	binary.LittleEndian.PutUint32(b[frBody:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[frBodySum:], checksum(body))
	binary.LittleEndian.PutUint32(b[frSum:], checksum(b[:frSum]))
	return body
}

func FuzzSuperblockEntry(f *testing.F) {
	head, body := exampleEntry()
	f.Add(append(framed(head, nil)[:frSize], body...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if new(frame).decode(b) != nil && len(b) < frSize {
			return
		}
		b = bytes.Clone(b)
		body := restampFrame(b)
		var f frame
		if f.decode(b) != nil {
			return
		}
		changes, err := parseEntry(&f, body)
		if err != nil {
			return
		}
		var again []byte
		c := newCatalog(Identity{ZoneSize: 1 << 20})
		for i := range changes {
			again = appendChange(again, &changes[i])
			if c.check(&changes[i]) == nil && changes[i].zone < 1<<16 {
				c.apply(&changes[i])
			}
		}
		if !bytes.Equal(again, body) {
			t.Fatal("parsed changes encode to other bytes")
		}
	})
}

func FuzzSuperblockCheckpoint(f *testing.F) {
	head, body := exampleCheckpoint(f)
	f.Add(append(framed(head, nil)[:frSize], body...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if new(frame).decode(b) != nil && len(b) < frSize {
			return
		}
		b = bytes.Clone(b)
		body := restampFrame(b)
		var f frame
		if f.decode(b) != nil {
			return
		}
		c, err := parseCheckpoint(&f, body)
		if err != nil {
			return
		}
		// Extents may come in any order; sorted, they parse to the same.
		again := encodeCheckpoint(c)
		if len(again) != len(body) {
			t.Fatalf("parsed checkpoint of %d bytes encodes to %d", len(body), len(again))
		}
		f.body, f.bodySum = uint32(len(again)), checksum(again)
		if _, err := parseCheckpoint(&f, again); err != nil {
			t.Fatalf("encoded checkpoint does not parse: %v", err)
		}
	})
}
