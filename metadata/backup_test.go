package metadata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// commitStripes commits stripes first to last of v, of three blocks each.
func commitStripes(t testing.TB, s *Store, v *Volume, first, last uint64) {
	t.Helper()
	for n := first; n <= last; n++ {
		if _, err := s.CommitStripe(context.Background(), stripeOf(v, n, testID(3*n), testID(3*n+1), testID(3*n+2))); err != nil {
			t.Fatal(err)
		}
	}
}

func dumpOf(t testing.TB, dump func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func storeDump(t testing.TB, s *Store) string {
	return dumpOf(t, func(b *bytes.Buffer) error { return s.Dump(context.Background(), b) })
}

// TestBackupIsWhatItsManifestSays takes a backup of a cell that goes on, and
// looks at it with nothing but its manifest and Pebble.
func TestBackupIsWhatItsManifestSays(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	s := openTest(t, testConfig(t, fs))
	v := testVolume(t, s)
	commitStripes(t, s, &v, 1, 20)
	want := storeDump(t, s)
	before, err := s.Cell()
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Backup(ctx, "/backups/monday")
	if err != nil {
		t.Fatal(err)
	}
	commitStripes(t, s, &v, 21, 30)
	if _, err := s.Backup(ctx, "/backups/monday"); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("backup over a backup: %v", err)
	}
	closeTest(t, s)

	var read Manifest
	f, err := fs.Open("/backups/monday/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&read); err != nil {
		t.Fatal(err)
	}
	if read.Cell != before.ID || read.Incarnation != before.Incarnation || read.Index != m.Index || read.Blocks != 60 {
		t.Errorf("manifest %+v of cell %+v", read, before)
	}
	for _, f := range read.Files {
		if got, err := hashFile(ctx, fs, "/backups/monday/state/"+f.Name); err != nil || got.Size != f.Size || got.Hash != f.Hash {
			t.Errorf("file %+v is %+v, %v", f, got, err)
		}
	}
	o := &pebble.Options{FS: fs, ReadOnly: true}
	layoutState(o)
	db, err := pebble.Open("/backups/monday/state", o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got := dumpOf(t, func(b *bytes.Buffer) error { return dump(db, b) }); got != want {
		t.Errorf("backup holds\n%s\nwant\n%s", got, want)
	}
}

// TestReadOnlyAppliesTheTailInMemory reads what a crash left: entries that are
// in the log alone.
func TestReadOnlyAppliesTheTailInMemory(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewCrashableMem()
	cfg := testConfig(t, fs)
	s := openTest(t, cfg)
	v := testVolume(t, s)
	commitStripes(t, s, &v, 1, 10)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	commitStripes(t, s, &v, 11, 20)
	if _, err := s.Delete(ctx, holdall.DefaultNamespace, []holdall.BlockID{testID(3), testID(60)}); err != nil {
		t.Fatal(err)
	}
	want := storeDump(t, s)
	image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30, RNG: rand.New(rand.NewPCG(1, 1))})
	closeTest(t, s)

	before := image.String()
	r, err := OpenReadOnly(cfg.Dir, image)
	if err != nil {
		t.Fatal(err)
	}
	if got := dumpOf(t, func(b *bytes.Buffer) error { return r.Dump(b) }); got != want {
		t.Errorf("offline dump differs from the one before the crash:\n%s\nwant\n%s", got, want)
	}
	if r.Tail != 11 {
		t.Errorf("applied %d entries of the log, want 11", r.Tail)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if after := image.String(); after != before {
		t.Errorf("reading changed the directory:\n%s\nwas\n%s", after, before)
	}
	for line := range strings.Lines(want) {
		var row struct {
			Table string `json:"table"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Table == "" {
			t.Errorf("line %q: table %q, %v", line, row.Table, err)
		}
	}
}

func TestReadOnlyRefusesARunningServer(t *testing.T) {
	cfg := testConfig(t, nil)
	cfg.Dir = t.TempDir()
	s := openTest(t, cfg)
	if _, err := OpenReadOnly(cfg.Dir, nil); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("read while a server runs: %v", err)
	}
	want := storeDump(t, s)
	closeTest(t, s)
	r, err := OpenReadOnly(cfg.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := dumpOf(t, func(b *bytes.Buffer) error { return r.Dump(b) }); got != want {
		t.Errorf("dump of a closed store:\n%s\nwant\n%s", got, want)
	}
}

// TestRebuildReplaysToTheSameState makes a cell, writes down what its disks and
// its journal would hold, and rebuilds it from that.
func TestRebuildReplaysToTheSameState(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	cfg := testConfig(t, fs)
	s := openTest(t, cfg)
	v := testVolume(t, s)
	commitStripes(t, s, &v, 1, 10)
	for _, do := range []error{
		second(s.Delete(ctx, holdall.DefaultNamespace, []holdall.BlockID{testID(3), testID(4), testID(5)})),
		second(s.Undelete(ctx, holdall.DefaultNamespace, []holdall.BlockID{testID(4)})),
		second(s.Claim(ctx, holdall.DefaultNamespace, []holdall.BlockID{testID(5)})),
	} {
		if do != nil {
			t.Fatal(do)
		}
	}
	disks, err := s.Disks()
	if err != nil {
		t.Fatal(err)
	}
	changes, err := s.Changes(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := s.Cell()
	var want []Block
	for n := uint64(3); n < 33; n++ {
		want = append(want, found(t, s, testID(n)))
	}
	closeTest(t, s)

	cfg.Dir, cfg.Bootstrap = "/rebuilt", false
	b, err := NewRebuilder(cfg, RebuildConfig{Cell: old.ID, Incarnation: old.Incarnation, Retention: DefaultRetention, Reason: "rebuilt from disks"})
	if err != nil {
		t.Fatal(err)
	}
	replay(t, b, v, disks, changes)
	if _, err := b.Seal(v.ID); err != nil {
		t.Fatal(err)
	}
	c, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != old.ID || c.Incarnation != old.Incarnation+1 || c.Quarantine != "rebuilt from disks" {
		t.Errorf("rebuilt %+v of %+v", c, old)
	}
	s = openTest(t, cfg)
	defer closeTest(t, s)
	for i := range want {
		if got := found(t, s, want[i].ID); got != want[i] {
			t.Errorf("rebuilt %+v, was %+v", got, want[i])
		}
	}
	if got, err := s.Volume(v.ID); err != nil || got.State != holdall.VolumeSealed || got.Last != 10 || got.Rows != 30 {
		t.Errorf("rebuilt volume %+v, %v", got, err)
	}
}

// replay loads disks, the volume as it was made, and what the journal lists, in
// its order.
func replay(t *testing.T, b *Rebuilder, v Volume, disks []Disk, changes []Change) {
	t.Helper()
	for _, d := range disks {
		if err := b.AddDisk(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.AddVolume(v); err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.Kind == ChangeStripe {
			ids := []holdall.BlockID{testID(3 * c.Stripe), testID(3*c.Stripe + 1), testID(3*c.Stripe + 2)}
			if _, err := b.AddStripe(FoundStripe{StripeCommit: stripeOf(&v, c.Stripe, ids...), Journaled: true, Time: c.Time}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Replay([]Change{c}); err != nil {
			t.Fatal(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestAbortedRebuildLeavesNothing(t *testing.T) {
	fs := vfs.NewMem()
	cfg := testConfig(t, fs)
	b, err := NewRebuilder(cfg, RebuildConfig{Cell: holdall.CellID{1}, Retention: time.Hour, Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Abort(); err != nil {
		t.Fatal(err)
	}
	cfg.Bootstrap = false
	if _, err := Open(context.Background(), cfg); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("after an abort: %v", err)
	}
}
