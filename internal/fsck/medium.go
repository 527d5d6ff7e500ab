package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

const sector = volume.SectorSize

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func u16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

func zeros(b []byte) bool { return strings.Trim(string(b), "\x00") == "" }

func pad(n int64) int64 { return (n + sector - 1) / sector * sector }

// medium is the bytes of one disk, by zone, only to be read. A directory has a
// file a zone, an image has its zones one after another.
type medium struct {
	path string
	dir  bool
	zone int64 // bytes; known once a checkpoint was read
	file *os.File
	open map[int]*os.File // of a directory; a few at a time
	pool *buffer.Pool     // aligned memory for direct reads
}

// maxOpenZones bounds the zone files that are open at once.
const maxOpenZones = 64

func openMedium(path string) (*medium, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	m := &medium{path: path, dir: st.IsDir(), open: map[int]*os.File{}, pool: buffer.NewPool(1 << 20)}
	if !m.dir {
		m.file, err = openDirect(path)
	}
	return m, err
}

// openDirect opens a file around the page cache, where the filesystem can: what
// counts is what the medium holds.
func openDirect(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return os.Open(path)
	}
	return f, err
}

func (m *medium) close() error {
	var errs []error
	if m.file != nil {
		errs = append(errs, m.file.Close())
	}
	for _, f := range m.open {
		errs = append(errs, f.Close())
	}
	m.file, m.open = nil, nil
	return errors.Join(errs...)
}

func (m *medium) zoneFile(zone int) (*os.File, error) {
	if f := m.open[zone]; f != nil {
		return f, nil
	}
	if len(m.open) >= maxOpenZones {
		for z, f := range m.open {
			f.Close() // only read: nothing is lost
			delete(m.open, z)
		}
	}
	f, err := openDirect(filepath.Join(m.path, fmt.Sprintf("zone-%06d", zone)))
	if err != nil {
		return nil, err
	}
	m.open[zone] = f
	return f, nil
}

// errEnd is of bytes that were never written, as far as the medium can tell.
var errEnd = errors.New("nothing was written there")

// read fills buf, of whole sectors and aligned, from off of a zone.
func (m *medium) read(zone int, off int64, buf []byte) error {
	f, at := m.file, off+int64(zone)*m.zone
	if m.dir {
		var err error
		if f, err = m.zoneFile(zone); errors.Is(err, os.ErrNotExist) {
			return errEnd
		} else if err != nil {
			return err
		}
		at = off
	}
	n, err := f.ReadAt(buf, at)
	if n == len(buf) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errEnd
	}
	return fmt.Errorf("read zone %d at %d: %w", zone, off, err)
}

// extent is an extent as the superblock log describes it.
type extent struct {
	id         holdall.ExtentID
	scheme     holdall.Scheme
	epoch      holdall.Epoch
	limit      int64
	sealed     bool
	trashed    bool
	end        int64
	last       uint64
	footer     int64
	footerSize uint32
	zones      []int
}

// disk is what the superblock log of one medium says.
type disk struct {
	medium      *medium
	cell        holdall.CellID
	id          holdall.DiskID
	incarnation uint64
	state       uint8
	reason      string
	gens        map[int]uint32 // generation of each zone that was ever given
	extents     map[holdall.ExtentID]*extent
}

// zoneOf returns the zone that holds offset off of e, or -1.
func (d *disk) zoneOf(e *extent, off int64) int {
	if e == nil || off < 0 || off/(d.medium.zone-sector) >= int64(len(e.zones)) {
		return -1
	}
	return e.zones[off/(d.medium.zone-sector)]
}

// capacity is the bytes that fit in the zones that e has.
func (d *disk) capacity(e *extent) int64 { return int64(len(e.zones)) * (d.medium.zone - sector) }

// written is about how much of e there is to read.
func (d *disk) written(e *extent) int64 {
	if e.sealed {
		return e.end
	}
	return d.capacity(e)
}

// read fills buf from offset off of e, over as many zones as that takes.
func (d *disk) read(e *extent, off int64, buf []byte) error {
	room := d.medium.zone - sector
	for len(buf) > 0 {
		place, at := off/room, off%room
		if place >= int64(len(e.zones)) {
			return errEnd
		}
		n := min(int64(len(buf)), room-at)
		if err := d.medium.read(e.zones[place], sector+at, buf[:n]); err != nil {
			return err
		}
		buf, off = buf[n:], off+n
	}
	return nil
}

// finding is one about d, at a zone or at none.
func (d *disk) finding(kind string, zone int) Finding {
	return Finding{Kind: kind, Disk: d.id.String(), Path: d.medium.path, Zone: zone, Member: -1}
}
