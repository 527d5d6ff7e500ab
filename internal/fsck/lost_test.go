package fsck

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/volume"
)

// TestZoneOfALostEntryIsRead: the newest superblock entry rotted. The zone that
// it gave is told, and read as what its header says: the same as a start of the
// disk finds.
func TestZoneOfALostEntryIsRead(t *testing.T) {
	id, two := holdall.ExtentID{Volume: 7, Created: 1}, holdall.Scheme{Kind: holdall.Copies, Data: 1, Global: 1}
	for _, image := range []bool{false, true} {
		path := makeDisk(t, image, id, two)
		spoilLastEntry(t, path, image)

		m, err := openMedium(path)
		if err != nil {
			t.Fatal(err)
		}
		d, findings := readSuper(m)
		if d == nil || len(findings) > 0 || d.extents[id] != nil {
			t.Fatalf("%v, findings %v: the entry is not lost", d, findings)
		}
		if findings = d.readLost(); len(findings) != 1 || findings[0].Zone != 2 {
			t.Fatalf("findings %+v", findings)
		}
		e := d.extents[id]
		if e == nil || len(e.zones) != 1 || e.limit != 1<<20 || e.scheme != two {
			t.Fatalf("extent %+v", e)
		}
		if len(d.readLost()) != 0 {
			t.Fatal("told twice")
		}
		_ = m.close()

		disk := openDisk(t, openDevice(t, path, image), buffer.NewPool(64<<20))
		all, err := disk.Extents(t.Context())
		if err != nil || len(all) != 1 || all[0].Extent != id || all[0].Limit != e.limit || all[0].End != holdall.RecordSize(100) {
			t.Fatalf("a start of the disk finds %+v, %v", all, err)
		}
		_ = disk.Close()
	}
}

// openDevice opens the image or the directory at path.
func openDevice(t *testing.T, path string, image bool) (dev volume.Device) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if image {
		dev, err = volume.OpenBlock(path, volume.BlockConfig{ZoneSize: 1 << 20, Logger: quiet})
	} else {
		dev, err = volume.OpenDir(path, volume.DirConfig{ZoneSize: 1 << 20, Capacity: 8 << 20, Logger: quiet})
	}
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// openDisk opens the disk that dev is.
func openDisk(t *testing.T, dev volume.Device, pool *buffer.Pool) *volume.Disk {
	t.Helper()
	d, err := volume.OpenDisk(t.Context(), dev, volume.DiskConfig{Pool: pool, ReserveZones: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// makeDisk makes a disk with an extent of one record, in zone 2, and returns its
// path.
func makeDisk(t *testing.T, image bool, id holdall.ExtentID, two holdall.Scheme) string {
	t.Helper()
	path := t.TempDir()
	if image {
		path = filepath.Join(path, "image")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 8<<20)); err != nil {
			t.Fatal(err)
		}
	}
	dev := openDevice(t, path, image)
	if err := volume.Format(dev, volume.Identity{Cell: holdall.CellID{1}, Disk: holdall.DiskID{2}}); err != nil {
		t.Fatal(err)
	}
	pool := buffer.NewPool(64 << 20)
	disk := openDisk(t, dev, pool)
	record := pool.Take(int(holdall.RecordSize(100)))
	defer record.Release()
	clear(record.Bytes())
	a := &volume.Append{Extent: id, Epoch: 1, Shard: holdall.MemberShard(1, 0, 2), Record: record,
		Stripe: holdall.Stripe{Volume: 7, Epoch: 1, Number: 1, Scheme: two, Shards: []holdall.ShardPlace{{Length: 100}, {Length: 100}}}}
	for _, step := range []func() error{
		func() error { return disk.Mount(1) },
		func() error {
			return disk.CreateExtent(t.Context(), volume.Grant{Disk: holdall.DiskID{2}, Extent: id, Scheme: two, Limit: 1 << 20})
		},
		func() error { return disk.Append(t.Context(), a) },
		disk.Close,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// spoilLastEntry flips a bit of the newest frame of the superblock log.
func spoilLastEntry(t *testing.T, path string, image bool) {
	t.Helper()
	newest, name, at := uint64(0), "", 0
	for zone := range 2 {
		file, from := path, zone<<20
		if !image {
			file, from = filepath.Join(path, []string{"zone-000000", "zone-000001"}[zone]), 0
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for off := from; off+sector <= min(len(b), from+1<<20); off += sector {
			if string(b[off:off+8]) == volume.SuperMagic && u64(b[off:], 48) > newest {
				newest, name, at = u64(b[off:], 48), file, off
			}
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at+1] ^= 8
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
