package wire

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

func block(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) ^ seed
	}
	return b
}

func TestPutAndGetGiveBackTheBytes(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	var into []byte
	for _, n := range []int{1, 1023, 1024, 1025, 16 << 10, 1 << 20, holdall.MaxBlockSize} {
		data := block(n, 1)
		id, err := c.Put(ctx, data)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if id != holdall.HashBlock(data) {
			t.Errorf("%d bytes: id is %v", n, id)
		}
		if into, err = c.GetInto(ctx, id, into); err != nil || !bytes.Equal(into, data) {
			t.Errorf("%d bytes: got %d bytes, %v", n, len(into), err)
		}
		b, err := c.Fetch(ctx, id, client.GetOptions{})
		if err != nil || b.Verified != client.VerifiedHere || b.Len() != n || b.Size != n || !bytes.Equal(b.AppendTo(nil), data) {
			t.Errorf("%d bytes: fetched %+v, %v", n, b, err)
		}
		b.Release()
		b.Release()
	}
}

func TestWrongBytesAreAskedForAgainAndHashedByTheServer(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	data := block(100000, 9)
	id, err := c.Put(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	f.cell.rot = 1
	if got, err := c.Get(ctx, id); err != nil || !bytes.Equal(got, data) || f.cell.gets != 2 || f.cell.proof != holdall.ProofHash {
		t.Errorf("bytes spoilt once: %d bytes, %v, after %d gets, the last with proof %v", len(got), err, f.cell.gets, f.cell.proof)
	}
	f.cell.rot = 2
	if _, err := c.Get(ctx, id); !errors.Is(err, holdall.ErrCorrupt) || f.cell.gets != 4 {
		t.Errorf("bytes spoilt twice: %v, after %d gets", err, f.cell.gets)
	}
}

func TestRangesSayWhoVerifiedThem(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	data := block(100000, 3)
	id, err := c.Put(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Fetch(ctx, id, client.GetOptions{Offset: 777, Length: 5000})
	if err != nil || b.Verified != client.VerifiedChunks || b.Size != len(data) || !bytes.Equal(b.AppendTo(nil), data[777:5777]) {
		t.Fatalf("got %+v, %v", b, err)
	}
	b.Release()
	if b, err = c.Fetch(ctx, id, client.GetOptions{Offset: 99000}); err != nil || !bytes.Equal(b.AppendTo(nil), data[99000:]) {
		t.Fatalf("got %+v, %v", b, err)
	}
	b.Release()
	for _, o := range []client.GetOptions{{Offset: 99000, Length: 5000}, {Offset: -1}, {Length: holdall.MaxBlockSize + 1}} {
		if _, err := c.Fetch(ctx, id, o); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%+v: %v, want invalid", o, err)
		}
	}
}

func TestBlocksByName(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	a, err := c.Put(ctx, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	b := holdall.HashBlock([]byte("b"))
	both := []holdall.BlockID{a, b}
	for name, call := range map[string]func(context.Context, []holdall.BlockID) ([]holdall.BlockID, error){"missing": c.Missing, "claim": c.Claim} {
		if got, err := call(ctx, both); err != nil || !slices.Equal(got, []holdall.BlockID{b}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if s, err := c.Stat(ctx, a); err != nil || s.Size != 1 || !s.Direct || s.TrashedAt != nil || s.Namespace != "default" || s.Scheme != holdall.DefaultScheme || len(s.Members) != 1 {
		t.Errorf("stat: %+v, %v", s, err)
	}
	if gone, err := c.Delete(ctx, both); err != nil || !slices.Equal(gone, []holdall.BlockID{b}) {
		t.Errorf("delete: %v, %v", gone, err)
	}
	if _, err := c.Get(ctx, a); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("get of a deleted block: %v", err)
	}
	if s, err := c.Stat(ctx, a); err != nil || s.TrashedAt == nil {
		t.Errorf("stat of a deleted block: %+v, %v", s, err)
	}
	if gone, err := c.Undelete(ctx, both); err != nil || !slices.Equal(gone, []holdall.BlockID{b}) {
		t.Errorf("undelete: %v, %v", gone, err)
	}
	if got, err := c.Get(ctx, a); err != nil || string(got) != "a" {
		t.Errorf("get: %q, %v", got, err)
	}
	if _, err := c.Stat(ctx, b); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("stat of nothing: %v", err)
	}
	if got, err := c.Missing(ctx, nil); err != nil || got != nil {
		t.Errorf("missing of nothing: %v, %v", got, err)
	}
}

func TestUnknownAndSystemNamespacesAreRefused(t *testing.T) {
	f := newFront(t, nil)
	ctx := f.ctx()
	for _, name := range []string{"nowhere", "system", string(make([]byte, 256))} {
		c := f.dial(client.Options{Namespace: name})
		if _, err := c.Put(ctx, []byte("x")); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("put in namespace %q: %v, want invalid", name, err)
		}
		if _, err := c.Get(ctx, holdall.BlockID{}); !errors.Is(err, holdall.ErrInvalid) || errors.Is(err, holdall.ErrNotFound) {
			t.Errorf("get in namespace %q: %v, want invalid", name, err)
		}
	}
	if _, err := f.dial(client.Options{Namespace: "photos"}).Put(ctx, []byte("x")); err != nil {
		t.Error(err)
	}
	if f.cell.stored() != 1 {
		t.Errorf("%d blocks are stored, want 1", f.cell.stored())
	}
}

// Every fact crosses the wire: a field that encode or decode forgets comes back
// as zero.
func TestFactsCrossTheWire(t *testing.T) {
	f := newFront(t, nil)
	f.ops.volumes = []holdall.VolumeID{5, 6}
	c, ctx := f.dial(client.Options{}), f.ctx()
	same := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", what, got, err, want)
		}
		for v, i := reflect.Indirect(reflect.ValueOf(want)), 0; v.Kind() == reflect.Struct && i < v.NumField(); i++ {
			if v.Field(i).IsZero() && v.Type().Field(i).Name != "Members" {
				t.Errorf("%s: the test gives no value to %s", what, v.Type().Field(i).Name)
			}
		}
	}
	cell, err := c.CellStatus(ctx)
	same("cell", cell, &aCell, err)
	stats, err := c.ProcessStats(ctx)
	same("stats", stats, &someStats, err)
	purge, err := c.PurgeStatus(ctx)
	same("purge", purge, &aPurge, err)
	disks, err := c.Disks(ctx)
	same("disks", disks, []client.DiskStatus{aDisk}, err)
	for _, name := range []string{aDisk.Path, aDisk.ID.String()} {
		disk, err := c.Disk(ctx, name)
		same("disk", disk, &aDisk, err)
	}
	added, err := c.AddDisk(ctx, "/new", "rack9")
	if err != nil || added.Path != "/new" || added.Domain != "rack9" {
		t.Errorf("add: %+v, %v", added, err)
	}
	var seen []uint64
	readmitted, err := c.ReadmitDisk(ctx, "/p", func(done, _ uint64) { seen = append(seen, done) })
	same("readmit", readmitted, &aDisk, err)
	if !slices.Equal(seen, []uint64{0, 1, 2, 2}) {
		t.Errorf("readmit: progress was %v", seen)
	}
	volume, err := c.Volume(ctx, 5)
	want, _ := f.ops.Volume(ctx, 5)
	same("volume", volume, &want, err)
	if err := errors.Join(c.ReleasePurge(ctx), c.ReleaseMetadata(ctx)); err != nil {
		t.Error(err)
	}
}

func TestVolumesComeInPages(t *testing.T) {
	f := newFront(t, nil)
	for id := range holdall.VolumeID(2*volumePage + 1) {
		f.ops.volumes = append(f.ops.volumes, id+1)
	}
	c, ctx := f.dial(client.Options{}), f.ctx()
	var got []holdall.VolumeID
	err := c.Volumes(ctx, func(v client.VolumeStatus) error { got = append(got, v.ID); return nil })
	if err != nil || !slices.Equal(got, f.ops.volumes) {
		t.Errorf("%d volumes, %v; want %d", len(got), err, len(f.ops.volumes))
	}
	stop := errors.New("enough")
	if err := c.Volumes(ctx, func(client.VolumeStatus) error { return stop }); err != stop {
		t.Errorf("the callback's error comes back as %v", err)
	}
	if _, err := c.SealVolumes(ctx); err != nil || f.ops.sealed != nil {
		t.Errorf("seal all: %v, asked for %v", err, f.ops.sealed)
	}
	if sealed, err := c.SealVolumes(ctx, 3, 4); err != nil || !slices.Equal(sealed, []holdall.VolumeID{3, 4}) {
		t.Errorf("seal: %v, %v", sealed, err)
	}
	if _, err := c.SealVolumes(ctx, 0); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("seal of volume 0: %v", err)
	}
}

func TestDumpAndBackupStreamWholeOrFail(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	var dump, backup bytes.Buffer
	if err := errors.Join(c.DumpMetadata(ctx, &dump), c.BackupMetadata(ctx, &backup)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dump.Bytes(), aDump) || !bytes.Equal(backup.Bytes(), aDump) {
		t.Errorf("%d and %d bytes came, want %d", dump.Len(), backup.Len(), len(aDump))
	}
	f.ops.fail = holdall.ErrUnavailable
	if err := c.DumpMetadata(ctx, &dump); !errors.Is(err, holdall.ErrUnavailable) {
		t.Errorf("a dump that broke off: %v", err)
	}
}
