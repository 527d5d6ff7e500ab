package metadata

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// randomID returns the id of block i of a fill.
func randomID(i uint64) (id holdall.BlockID) {
	rng := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24), byte(i >> 32)})
	rng.Read(id[:])
	return id
}

// fill commits n blocks, in stripes of up to 6 × 170, through apply.
func fill(r *rig, n int) {
	r.t.Helper()
	s := holdall.DefaultScheme
	disks := make([]holdall.DiskID, s.N())
	for i := range disks {
		disks[i] = disk(i)
	}
	var v volumeResult
	create := &createVolume{Scheme: s, Limit: 4 << 28, Disks: disks, Gateway: "g", Lease: time.Minute}
	for next := uint64(0); next < uint64(n); {
		if v.Volume.ID == 0 || v.Volume.Members[0].End > 3<<28 {
			r.ok(create, &v)
		}
		vol := &v.Volume
		c := &commitStripe{StripeCommit{Volume: vol.ID, Epoch: vol.Epoch, Stripe: vol.Last + 1}}
		for m := range vol.Members {
			at := vol.Members[m].End
			c.Ends = append(c.Ends, at+4096+4<<20)
			c.ShardBytes += 4096 + 4<<20
			for i := 0; m < s.K() && i < 170 && next < uint64(n); i++ {
				size := uint32(20_000 + next%4000)
				c.Blocks = append(c.Blocks, PutBlock{Namespace: 1, ID: randomID(next), Member: uint8(m), Offset: at + 4096 + int64(i)*24_000, Length: size})
				c.PackBytes += int64(size)
				next++
			}
		}
		r.ok(c, new(commitAnswer))
		vol.Last++
		for m := range vol.Members {
			vol.Members[m].End = c.Ends[m]
		}
	}
	r.ok(&flushChanges{r.cell().LastChange}, noResult{})
}

// compactAll flushes and compacts the whole state and returns its bytes on disk.
func compactAll(t testing.TB, db *pebble.DB) int64 {
	t.Helper()
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(t.Context(), []byte{0}, []byte{0xff}, true); err != nil {
		t.Fatal(err)
	}
	return int64(db.Metrics().Total().TableBytesIn+0) + 0
}

func benchRows(t testing.TB, dflt int) int {
	if s := os.Getenv("HOLDALL_METADATA_ROWS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return dflt
}

func BenchmarkLookup(b *testing.B) {
	n := benchRows(b, 300_000)
	cacheBytes := int64(64 << 20)
	if s := os.Getenv("HOLDALL_METADATA_CACHE"); s != "" {
		fmt.Sscan(s, &cacheBytes)
	}
	dir := os.Getenv("HOLDALL_METADATA_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	o := &pebble.Options{FS: vfs.Default, Logger: quiet{b}, Cache: cache, MemTableSize: 32 << 20, MemTableStopWritesThreshold: 4, MaxOpenFiles: 1000}
	layoutState(o)
	db, err := pebble.Open(dir, o)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r := &rig{t: b, db: db, now: day}
	r.reload()
	if r.m.sys.Blocks == 0 {
		r.ok(&initCell{Cell: holdall.CellID{1}}, noResult{})
		for i := range 9 {
			r.ok(&addDisk{Disk{ID: disk(i), State: holdall.DiskActive}}, noResult{})
		}
		start := time.Now()
		fill(r, n)
		b.Logf("filled %d rows in %v", n, time.Since(start))
		compactAll(b, db)
	}
	size, _ := db.EstimateDiskUsage([]byte{0}, []byte{0xff})
	b.Logf("%d rows, %.1f bytes a row", r.m.sys.Blocks, float64(size)/float64(r.m.sys.Blocks))
	rng := rand.New(rand.NewPCG(1, 2))
	dst := make([]Block, 0, 1000)
	ids := make([]holdall.BlockID, 1000)
	found := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		for i := range ids {
			ids[i] = randomID(rng.Uint64N(2 * uint64(r.m.sys.Blocks)))
		}
		b.StartTimer()
		snap := db.NewSnapshot()
		if dst, err = lookup(snap, 1, ids, dst[:0]); err != nil {
			b.Fatal(err)
		}
		snap.Close()
		for i := range dst {
			if dst[i].Found {
				found++
			}
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "ids/s")
	b.ReportMetric(float64(found)/float64(b.N)/1000, "found")
}
