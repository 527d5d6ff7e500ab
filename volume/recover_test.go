package volume_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// kill restarts the disk's process.
func (r *rig) kill(a *faultdisk.Array) (*faultdisk.Array, *faultdisk.Disk) {
	r.t.Helper()
	a = a.Kill()
	r.dev = a.Disk(0)
	r.open()
	return a, a.Disk(0)
}

// TestFenceTellsTornFromCorrupt damages the end of an extent in many ways, and
// says to the fence that the last stripe was, or was not, committed.
func TestFenceTellsTornFromCorrupt(t *testing.T) {
	const n = 5 // records of 8 sectors each: header, payload
	size := int64(7 * volume.SectorSize)
	at := func(record int, sector int64) int64 { // in the first zone
		return volume.SectorSize + int64(record)*(size+volume.SectorSize) + sector*volume.SectorSize
	}
	for _, x := range []struct {
		name      string
		damage    func(d *faultdisk.Disk, zone int)
		committed int // records
		want      volume.ExtentState
	}{
		{"nothing", func(*faultdisk.Disk, int) {}, n, volume.ExtentOpen},
		{"a surplus record", func(*faultdisk.Disk, int) {}, n - 1, volume.ExtentTorn},
		{"the surplus record's header rots", func(d *faultdisk.Disk, z int) { d.Rot(z, at(n-1, 0)+99, 1) }, n - 1, volume.ExtentTorn},
		{"the surplus record's payload rots", func(d *faultdisk.Disk, z int) { d.Rot(z, at(n-1, 3)+99, 1) }, n - 1, volume.ExtentTorn},
		{"the last record's header rots", func(d *faultdisk.Disk, z int) { d.Rot(z, at(n-1, 0)+99, 1) }, n, volume.ExtentCorrupt},
		{"the last record's payload rots", func(d *faultdisk.Disk, z int) { d.Rot(z, at(n-1, 7)+99, 1) }, n, volume.ExtentCorrupt},
		{"the last record's header cannot be read", func(d *faultdisk.Disk, z int) { d.Unreadable(z, at(n-1, 0)) }, n, volume.ExtentCorrupt},
		{"the last record's payload cannot be read", func(d *faultdisk.Disk, z int) { d.Unreadable(z, at(n-1, 4)) }, n, volume.ExtentCorrupt},
		{"the last record was lost", func(d *faultdisk.Disk, z int) {
			d.Poke(z, at(n-1, 0), make([]byte, 8*volume.SectorSize))
		}, n, volume.ExtentCorrupt},
		{"an earlier record's header rots", func(d *faultdisk.Disk, z int) { d.Rot(z, at(1, 0)+700, 7) }, n, volume.ExtentCorrupt},
		{"two headers in a row rot", func(d *faultdisk.Disk, z int) {
			d.Rot(z, at(1, 0)+700, 7)
			d.Rot(z, at(2, 0)+700, 7)
		}, n, volume.ExtentCorrupt},
		{"the first header rots", func(d *faultdisk.Disk, z int) { d.Rot(z, at(0, 0), 7) }, n, volume.ExtentCorrupt},
		{"two records changed places", func(d *faultdisk.Disk, z int) {
			a, b := d.Peek(z, at(1, 0), 8*volume.SectorSize), d.Peek(z, at(2, 0), 8*volume.SectorSize)
			d.Poke(z, at(1, 0), b)
			d.Poke(z, at(2, 0), a)
		}, n, volume.ExtentCorrupt},
		{"a record was written over another", func(d *faultdisk.Disk, z int) {
			d.Poke(z, at(3, 0), d.Peek(z, at(1, 0), 8*volume.SectorSize))
		}, n, volume.ExtentCorrupt},
	} {
		for _, b := range backends {
			t.Run(x.name+", "+b.name, func(t *testing.T) {
				r, l := damaged(t, b.cfg, x.committed, [2]int{n, int(size) - volume.DirectorySize(1)}, x.damage)
				l.fence(expectTorn(b.cfg, x.want, x.name))
				if x.want == volume.ExtentOpen {
					l.mustAppend(100)
					l.check()
					return
				}
				r.sealsWhatIsGood(l, x.want)
			})
		}
	}
}

// damaged writes records, so many of so many bytes, to an extent, notes the first
// as committed, damages the disk while nobody has it open, and opens it again.
func damaged(t *testing.T, cfg faultdisk.Config, committed int, records [2]int, damage func(*faultdisk.Disk, int)) (*rig, *log) {
	n, size := records[0], records[1]
	array, dev := memory(cfg)
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 1)
	for range committed {
		l.mustAppend(size)
	}
	if committed < n {
		a, _ := l.next(size)
		if err := r.disk.Append(context.Background(), a); err != nil {
			t.Fatal(err)
		}
		a.Record.Release()
	}
	zone := r.zone(l, 0)
	_, dev = r.kill(array)
	_ = r.disk.Close()
	dev = dev.Reopen()
	damage(dev, zone)
	r.dev = dev
	r.open()
	return r, l
}

// expectTorn allows for a device that does not know its pointers: there, a bad
// header at the end is no different from what the medium held before, and is
// written over.
func expectTorn(cfg faultdisk.Config, want volume.ExtentState, name string) volume.ExtentState {
	if cfg.Conventional && want == volume.ExtentTorn && strings.Contains(name, "header") {
		return volume.ExtentOpen
	}
	return want
}

// sealsWhatIsGood checks that a damaged extent takes no appends, can be sealed,
// and then gives every good record and no other.
func (r *rig) sealsWhatIsGood(l *log, state volume.ExtentState) {
	r.t.Helper()
	ctx := context.Background()
	if err := l.append(100); state != volume.ExtentTorn && !errors.Is(err, holdall.ErrStale) {
		r.t.Fatalf("append to what is %v: %v, want ErrStale", state, err)
	}
	if err := r.disk.Seal(ctx, l.id, l.epoch+1, l.last, l.end()); err != nil {
		r.t.Fatalf("seal: %v", err)
	}
	good := map[int64]string{}
	for _, rec := range l.records {
		good[rec.Offset] = string(rec.Payload)
	}
	found := 0
	err := r.disk.Scan(ctx, l.id, func(rec volume.Record) error {
		found++
		if good[rec.Offset] != string(rec.Payload) {
			r.t.Errorf("a record at %d that is not one", rec.Offset)
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, holdall.ErrCorrupt):
		r.t.Fatalf("scan: %v", err)
	case state == volume.ExtentTorn && (err != nil || found != len(l.records)):
		r.t.Fatalf("scan after a tear was sealed: %d records of %d, %v", found, len(l.records), err)
	case state == volume.ExtentCorrupt && found < len(l.records)-2:
		r.t.Fatalf("only %d of %d records are left", found, len(l.records))
	}
}

// TestBadFooterIsReplacedByRecords: stripes are found though the footer rotted,
// and a scan tells of it.
func TestBadFooterIsReplacedByRecords(t *testing.T) {
	for _, where := range []int64{20, volume.SectorSize + 5} { // header, body
		array, dev := memory(faultdisk.Config{})
		r := newRig(t, dev, volume.DiskConfig{})
		l := r.create(7, 0)
		for range 10 {
			l.mustAppend(9000)
		}
		if err := r.disk.Seal(context.Background(), l.id, 2, l.last, l.end()); err != nil {
			t.Fatal(err)
		}
		_, dev = r.kill(array)
		dev.Rot(r.zone(l, 0), volume.SectorSize+l.end()+where, 3)
		for _, rec := range l.records {
			if err := l.verifyRecord(rec); err != nil {
				t.Fatal(err)
			}
		}
		err := r.disk.Scan(context.Background(), l.id, func(volume.Record) error { return nil })
		if !errors.Is(err, holdall.ErrCorrupt) || !strings.Contains(err.Error(), "footer") {
			t.Fatalf("scan: %v, want ErrCorrupt that names the footer", err)
		}
	}
}

// TestReadsOfBadBytesAreDetected: checked reads refuse a chunk that rotted and
// give the others; a record elsewhere than asked for is refused.
func TestReadsOfBadBytesAreDetected(t *testing.T) {
	ctx := context.Background()
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	for range 3 {
		l.mustAppend(300_000)
	}
	rec := l.records[1]
	dev.Rot(r.zone(l, 0), volume.SectorSize+rec.Offset+holdall.RecordHeaderSize+100_000, 0)
	for _, x := range []struct {
		off, n int
		bad    bool
	}{{0, 10, false}, {65_530, 6, false}, {65_530, 7, true}, {99_999, 3, true}, {131_072, 100_000, false}, {200_000, 100_000, false}, {131_071, 1, true}} {
		v, err := r.disk.ReadChecked(ctx, l.id, rec.Offset, x.off, x.n)
		switch {
		case x.bad && !errors.Is(err, holdall.ErrCorrupt):
			t.Errorf("%d bytes at %d: %v, want ErrCorrupt", x.n, x.off, err)
		case !x.bad && err != nil:
			t.Errorf("%d bytes at %d: %v", x.n, x.off, err)
		case !x.bad:
			if string(v.Data) != string(rec.Payload[x.off:x.off+x.n]) {
				t.Errorf("%d bytes at %d: other bytes", x.n, x.off)
			}
			v.Release()
		}
	}
	for name, ask := range map[string]func() error{
		"a record where none begins": func() error { _, err := r.disk.ReadChecked(ctx, l.id, rec.Offset+4096, 0, 10); return err },
		"bytes beyond a record":      func() error { _, err := r.disk.ReadChecked(ctx, l.id, rec.Offset, len(rec.Payload)-5, 6); return err },
		"a record beyond the end":    func() error { _, err := r.disk.ReadChecked(ctx, l.id, l.end(), 0, 1); return err },
		"bytes beyond the zones":     func() error { _, err := r.disk.Read(ctx, l.id, 1<<30, 1); return err },
	} {
		if err := ask(); !errors.Is(err, holdall.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := r.disk.Read(ctx, holdall.ExtentID{Volume: 999}, 0, 1); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("read of an extent that is not here: %v, want ErrNotFound", err)
	}
}

// TestStaleZoneIsNotRead: what an earlier generation of a zone held is never
// taken for the present extent's, on disks that erase nothing at a reset.
func TestStaleZoneIsNotRead(t *testing.T) {
	ctx := context.Background()
	array, dev := memory(faultdisk.Config{Conventional: true})
	r := newRig(t, dev, volume.DiskConfig{})
	old := r.create(7, 0)
	for range 6 {
		old.mustAppend(5000)
	}
	zone := r.zone(old, 0)
	was := dev.Peek(zone, 0, 256<<10)
	if err := errors.Join(r.disk.Trash(ctx, old.id), r.disk.Free(ctx, old.id)); err != nil {
		t.Fatal(err)
	}
	l := r.create(7, 0) // the same id again: only the generation differs
	if got := r.zone(l, 0); got != zone {
		t.Fatalf("zone %d, want %d again", got, zone)
	}
	for range 2 {
		l.mustAppend(5000)
	}
	_ = r.disk.Close()
	dev = dev.Reopen()
	end := volume.SectorSize + l.end()
	dev.Poke(zone, end, was[end:]) // what the reset did not erase
	r.dev = dev
	r.open()
	l.fence(volume.ExtentOpen)
	l.check()
	dev.Poke(zone, volume.SectorSize, was[volume.SectorSize:end]) // a lost write: the old records show
	if err := l.verify(); !errors.Is(err, holdall.ErrCorrupt) {
		t.Fatalf("records of an earlier generation: %v, want ErrCorrupt", err)
	}
	_ = array
}

// TestOlderEpochsAreRefusedForEver: a fenced writer cannot append, before a
// restart or after.
func TestOlderEpochsAreRefusedForEver(t *testing.T) {
	ctx := context.Background()
	array, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	stale := *l
	l.fence(volume.ExtentOpen)
	if err := stale.append(100); !errors.Is(err, holdall.ErrStale) {
		t.Fatalf("append under an older epoch: %v, want ErrStale", err)
	}
	l.mustAppend(100)
	_, _ = r.kill(array)
	stale.rig = r
	if _, err := r.disk.Fence(ctx, l.id, 1, l.end(), l.last); !errors.Is(err, holdall.ErrStale) {
		t.Fatalf("fence to an older epoch after a restart: %v, want ErrStale", err)
	}
	if err := r.disk.Seal(ctx, l.id, 1, l.last, l.end()); !errors.Is(err, holdall.ErrStale) {
		t.Fatalf("seal under an older epoch: %v, want ErrStale", err)
	}
	l.fence(volume.ExtentOpen)
	if err := stale.append(100); !errors.Is(err, holdall.ErrStale) {
		t.Fatalf("append under an older epoch after a restart: %v, want ErrStale", err)
	}
	l.mustAppend(100)
	l.check()
}

// TestIdentityIsChecked: foreign, copied, blank and reused devices are refused
// with a message that says what was found.
func TestIdentityIsChecked(t *testing.T) {
	ctx := context.Background()
	_, dev := memory(faultdisk.Config{})
	if _, err := volume.OpenDisk(ctx, dev, volume.DiskConfig{}); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("open of a blank device: %v, want ErrNotFound", err)
	}
	r := newRig(t, dev, volume.DiskConfig{})
	if err := volume.Format(dev, volume.Identity{Cell: cell, Disk: holdall.DiskID{9}}); !errors.Is(err, holdall.ErrRefused) || !strings.Contains(err.Error(), diskID.String()) {
		t.Errorf("format of a disk: %v, want ErrRefused that names it", err)
	}
	if err := r.disk.Mount(0); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("mount under an older incarnation: %v, want ErrRefused", err)
	}
	s := volume.NewServer(volume.ServerConfig{})
	if err := errors.Join(s.Add(r.disk)); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(r.disk); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("a second disk of one id: %v, want ErrRefused", err)
	}
	_ = r.disk.Close()
	if _, err := volume.OpenDisk(ctx, dev.Reopen(), volume.DiskConfig{Cell: holdall.CellID{7}}); !errors.Is(err, holdall.ErrRefused) || !strings.Contains(err.Error(), cell.String()) {
		t.Errorf("open for another cell: %v, want ErrRefused that names its own", err)
	}
	_, used := memory(faultdisk.Config{Conventional: true})
	used.Poke(0, 8192, []byte(strings.Repeat("x", 4096)))
	if err := volume.Format(used, volume.Identity{Cell: cell, Disk: diskID}); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("format of a device in use: %v, want ErrRefused", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsWrittenBeforeMount: a clone must not be touched before metadata
// has judged it.
func TestNothingIsWrittenBeforeMount(t *testing.T) {
	ctx := context.Background()
	_, dev := memory(faultdisk.Config{})
	r := newRig(t, dev, volume.DiskConfig{})
	l := r.create(7, 0)
	l.mustAppend(5000)
	_ = r.disk.Close()
	dev = dev.Reopen()
	before := dev.Counts()
	d, err := volume.OpenDisk(ctx, dev, r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.disk = d
	l.check()
	if _, err := d.Fence(ctx, l.id, 5, l.end(), l.last); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("fence before mount: %v, want ErrRefused", err)
	}
	if err := d.CreateExtent(ctx, l.grant()); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("create before mount: %v, want ErrRefused", err)
	}
	_ = d.Close()
	if c := dev.Counts(); c.Appends != before.Appends || c.Resets != before.Resets || c.Finishes != before.Finishes || c.Syncs != before.Syncs {
		t.Errorf("calls before mount: %+v, then %+v", before, c)
	}
}
