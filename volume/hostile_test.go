package volume

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/buffer"
)

// TestHeaderThatClaimsMoreThanThereIsIsCorrupt: a header with a right checksum
// can still name more payload than its extent has bytes.
func TestHeaderThatClaimsMoreThanThereIsIsCorrupt(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	dev, err := OpenDir(dir, DirConfig{ZoneSize: 1 << 20, Capacity: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Cell: holdall.CellID{1}, Disk: holdall.DiskID{2}}
	if err := Format(dev, id); err != nil {
		t.Fatal(err)
	}
	pool := buffer.NewPool(1 << 20)
	d, err := OpenDisk(ctx, dev, DiskConfig{Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	scheme := holdall.Scheme{Kind: holdall.Copies, Data: 1, Global: 1}
	ext := holdall.ExtentID{Volume: 7, Member: 1, Created: 1} // shard 0 of stripe 1
	rec := pool.Take(2 * SectorSize)
	clear(rec.Bytes())
	place := holdall.ShardPlace{Length: 100}
	a := &Append{Extent: ext, Epoch: 1, Shard: 0, Record: rec,
		Stripe: holdall.Stripe{Volume: 7, Epoch: 1, Number: 1, Scheme: scheme, Shards: []holdall.ShardPlace{place, place}}}
	err = errors.Join(d.Mount(1), d.CreateExtent(ctx, Grant{Disk: id.Disk, Extent: ext, Scheme: scheme, Limit: 1 << 20}), d.Append(ctx, a))
	if err != nil {
		t.Fatal(err)
	}
	var h RecordHeader
	if err := h.Decode(rec.Bytes()[:SectorSize]); err != nil {
		t.Fatal(err)
	}
	rec.Release()
	h.Length = 1 << 20
	h.Shards[0].Length, h.Shards[1].Length = h.Length, h.Length
	f, err := os.OpenFile(filepath.Join(dir, zoneFileName(int(h.Zone))), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(sectorOf(&h2{&h}), SectorSize); err != nil {
		t.Fatal(err)
	}
	if v, err := d.ReadChecked(ctx, ext, 0, 0, 100); !errors.Is(err, holdall.ErrCorrupt) {
		v.Release()
		t.Fatalf("%v, want ErrCorrupt", err)
	}
}

// h2 is a RecordHeader as sectorOf takes one.
type h2 struct{ h *RecordHeader }

func (x *h2) encode(b []byte) { x.h.encode(b) }
