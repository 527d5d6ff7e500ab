package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/volume"
)

// footer is what a sealed extent lists.
type footer struct {
	epoch   holdall.Epoch
	last    uint64
	end     int64
	stripes []*holdall.Stripe
	running []uint32 // running checksum after each
}

// parseFooter reads the footer at off of e on d: head is its header sector, body
// what follows, padding included.
func parseFooter(head, body []byte, d *disk, e *extent, off int64) (*footer, error) {
	b := head
	if string(b[:8]) != volume.FooterMagic || sum(b[:sector-4]) != u32(b, sector-4) {
		return nil, errors.New("not a footer")
	}
	id := holdall.ExtentID{Volume: holdall.VolumeID(u64(b, 48)), Member: b[10], Created: holdall.Epoch(u64(b, 56))}
	zone, length := d.zoneOf(e, off), int(u32(b, 12))
	switch {
	case u16(b, 8) != volume.FormatVersion || b[11] != 0 || !zeros(b[120:sector-4]):
		return nil, errors.New("version or reserved bytes differ")
	case holdall.CellID(b[16:32]) != d.cell || holdall.DiskID(b[32:48]) != d.id || id != e.id || int64(u64(b, 80)) != off:
		return nil, fmt.Errorf("of offset %d of extent %v on disk %v", u64(b, 80), id, holdall.DiskID(b[32:48]))
	case int(u32(b, 88)) != zone || u32(b, 92) != d.gens[zone] || scheme(b[96:100]) != e.scheme:
		return nil, fmt.Errorf("of zone %d generation %d, %v", u32(b, 88), u32(b, 92), scheme(b[96:100]))
	case length > len(body) || u32(b, 100) > holdall.MaxVolumeStripes:
		return nil, fmt.Errorf("of %d bytes, %d stripes", length, u32(b, 100))
	case sum(body[:length]) != u32(b, 112) || !zeros(body[length:]):
		return nil, errors.New("checksum of its body differs")
	}
	f := &footer{epoch: holdall.Epoch(u64(b, 64)), last: u64(b, 72), end: int64(u64(b, 104))}
	if err := f.parseBody(body[:length], e, int(u32(b, 100))); err != nil {
		return nil, err
	}
	if n := len(f.running); n > 0 && f.running[n-1] != u32(b, 116) || n == 0 && u32(b, 116) != 0 {
		return nil, errors.New("its running checksum is not that of its last stripe")
	}
	return f, nil
}

// seekFooter looks for the footer of an extent that the superblock log does not
// call sealed: the note of it rides with the log's next entry, which a kill may
// have prevented. It lies after the last record, the uncommitted ones too, or at
// the start of a zone of its own.
func (d *disk) seekFooter(e *extent, from int64) {
	buf := d.medium.pool.Take(sector)
	defer buf.Release()
	room := d.medium.zone - sector
	for b, off := buf.Bytes(), from; off < d.capacity(e); {
		err := d.read(e, off, b)
		switch {
		case err == nil && string(b[:8]) == volume.FooterMagic && sum(b[:sector-4]) == u32(b, sector-4):
			e.sealed, e.footer, e.footerSize = true, off, uint32(pad(sector+int64(u32(b, 12))))
			e.last, e.end = u64(b, 72), int64(u64(b, 104))
			return
		case err != nil || zeros(b):
			off = (off/room + 1) * room // nothing more was written in this zone
		default:
			off += sector
		}
	}
}

// numbers takes varints and checksums off the front of a footer's body.
type numbers struct {
	b   []byte
	bad bool
}

func (n *numbers) u() uint64 {
	v, size := binary.Uvarint(n.b)
	if size <= 0 || size > 1 && n.b[size-1] == 0 {
		n.bad = true
		return 0
	}
	n.b = n.b[size:]
	return v
}

func (n *numbers) four() uint32 {
	if len(n.b) < 4 {
		n.bad = true
		return 0
	}
	v := u32(n.b, 0)
	n.b = n.b[4:]
	return v
}

// blockStripes is how many stripes a block of a footer's body has.
const blockStripes = 64

func (f *footer) parseBody(body []byte, e *extent, count int) error {
	in := &numbers{b: body}
	members := e.scheme.N()
	ends := make([]int64, members)
	var number, epoch uint64
	var running uint32
	for i := range count {
		if i%blockStripes == 0 {
			same := in.u() == number
			same = in.u() == epoch && same
			same = in.four() == running && same
			for m := range ends {
				same = int64(in.u())*sector == ends[m] && same
			}
			if !same || in.bad {
				return fmt.Errorf("the block of stripes at %d does not go on from the one before", i)
			}
		}
		step := in.u()
		number += step
		epoch += in.u()
		running = in.four()
		s := &holdall.Stripe{Volume: e.id.Volume, Epoch: holdall.Epoch(epoch), Number: number, Scheme: e.scheme, Shards: make([]holdall.ShardPlace, members)}
		for shard := range members {
			length := in.u()
			if length > volume.MaxPayload {
				in.bad = true
			}
			if length == 0 || in.bad {
				continue
			}
			m := holdall.ShardMember(number, shard, members)
			at := ends[m] + int64(in.u())*sector
			s.Shards[shard] = holdall.ShardPlace{Offset: at, Length: uint32(length)}
			ends[m] = at + holdall.RecordSize(uint32(length))
		}
		if in.bad || step == 0 {
			return fmt.Errorf("stripe %d of %d cannot be read", i, count)
		}
		if err := checkShape(s); err != nil {
			return err
		}
		f.stripes, f.running = append(f.stripes, s), append(f.running, running)
	}
	if len(in.b) != 0 {
		return fmt.Errorf("%d bytes after its last stripe", len(in.b))
	}
	return nil
}

// chain continues a running checksum with the checksum of a record's header.
func chain(running, header uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], header)
	return crc32.Update(running, castagnoli, b[:])
}
