package drills

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdall/holdall"
)

// TestRandomBytesOnThreeDisksAreFoundAndOutvoted overwrites random bytes on
// three disks of a stopped cell and reads everything back.
func TestRandomBytesOnThreeDisksAreFoundAndOutvoted(t *testing.T) {
	for seed := range uint64(pick(1, 5)) {
		c := newCell(t)
		c.start()
		cl := c.dial()
		l := &ledger{}
		l.put(t, cl, 200, 16, 300_000)
		c.must("volume", "seal", "--all")
		l.put(t, cl, 200, 16, 300_000) // in extents that are open when the server stops
		c.stop()
		if r := c.run("fsck", "--data", c.dir); r.code != 0 {
			t.Fatalf("fsck of a sound cell: exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		for _, d := range rng.Perm(9)[:3] {
			smashDisk(t, rng, c.diskDirs[d])
		}
		r := c.run("fsck", "--data", c.dir)
		if r.code != 6 {
			t.Errorf("seed %d: fsck of a smashed cell: exit %d, want 6\n%.3000s%s", seed, r.code, r.stdout, r.stderr)
		}
		for _, word := range []string{"disk", "zone", "record"} {
			if !strings.Contains(r.stdout, word) {
				t.Errorf("seed %d: fsck names no %s:\n%.3000s", seed, word, r.stdout)
			}
		}
		c.start()
		mustReadAll(t, c.dial(), l.ids(), "with three smashed disks")
		c.stop()
	}
}

// smashDisk overwrites bytes all over a disk directory: 32 of them every 100 kB
// of each zone file, its first sector (superblocks, zone headers) and its last
// (footers, last records) included.
func smashDisk(t *testing.T, rng *rand.Rand, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		offsets := []int64{rng.Int64N(min(512, info.Size())), info.Size() - 1 - rng.Int64N(min(3000, info.Size()))}
		for at := int64(0); at < info.Size(); at += 100_000 {
			offsets = append(offsets, at+rng.Int64N(min(100_000, info.Size()-at)))
		}
		for _, at := range offsets {
			junk := make([]byte, min(32, info.Size()-at))
			for i := range junk {
				junk[i] = byte(rng.Uint32())
			}
			if _, err := f.WriteAt(junk, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestThreeBadShardsInTheSameRangeStillReadRight spoils a block's own shard and
// two of its stripe-mates in the range that a rebuild needs.
func TestThreeBadShardsInTheSameRangeStillReadRight(t *testing.T) {
	c := newCell(t)
	c.start()
	cl := c.dial()
	l := &ledger{}
	l.put(t, cl, 48, 16, 1<<20)
	c.must("volume", "seal", "--all")
	id := l.ids()[20]
	stat, err := cl.Stat(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for i := range 3 { // the block's own member and the two after it
		d, err := cl.Disk(t.Context(), stat.Members[(stat.Member+i)%len(stat.Members)].Disk.String())
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, d.Path)
	}
	c.stop()
	for _, path := range paths {
		spoilPayloads(t, path)
	}
	c.start()
	cl = c.dial()
	got, err := cl.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get with three bad shards in the range: %v", err)
	}
	if holdall.HashBlock(got) != id {
		t.Fatal("get returned bytes that do not hash to the id")
	}
	mustReadAll(t, cl, l.ids(), "with three members spoilt")
}

// spoilPayloads flips a bit in every 4 KiB of the payloads on a disk directory.
func spoilPayloads(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "zone-*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%s holds %d zone files: %v", dir, len(files), err)
	}
	for _, file := range files[2:] { // zones 0 and 1 are the superblock log
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for at := 2*holdall.RecordHeaderSize + 100; at < len(b); at += 4096 {
			b[at] ^= 0x40
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
