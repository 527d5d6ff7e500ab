package metadata

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
	"golang.org/x/sys/unix"
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
	size, err := db.EstimateDiskUsage([]byte{0}, []byte{0xff})
	if err != nil {
		t.Fatal(err)
	}
	return int64(size)
}

// maxRowBytes is what a block may cost on disk, all tables counted.
const maxRowBytes = 64

func TestRowsAreSmallOnDisk(t *testing.T) {
	r := newCell(t, 9)
	fill(r, 40_000)
	if per := float64(compactAll(t, r.db)) / float64(r.cell().Blocks); per > maxRowBytes {
		t.Errorf("%.1f bytes a block, want at most %d", per, maxRowBytes)
	}
}

// setting returns an environment variable as a number.
func setting(b *testing.B, name string, dflt int) int {
	s := os.Getenv(name)
	if s == "" {
		return dflt
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkLookup looks up 1,000 random ids at a time, half of them absent, in
// HOLDALL_METADATA_ROWS rows on real files, with a cache of
// HOLDALL_METADATA_CACHE bytes. HOLDALL_METADATA_DIR keeps the rows for the next
// run. The figure that counts is ids per second of processor time.
func BenchmarkLookup(b *testing.B) {
	dir := os.Getenv("HOLDALL_METADATA_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	cache := pebble.NewCache(int64(setting(b, "HOLDALL_METADATA_CACHE", DefaultCacheBytes)))
	defer cache.Unref()
	db, err := pebble.Open(dir, stateOptions(vfs.Default, cache, newFatality(nil, slog.New(slog.DiscardHandler))))
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
		fill(r, setting(b, "HOLDALL_METADATA_ROWS", 300_000))
		compactAll(b, db)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	batches := make([][]holdall.BlockID, 512)
	for i := range batches {
		for range 1000 {
			batches[i] = append(batches[i], randomID(rng.Uint64N(2*uint64(r.m.sys.Blocks))))
		}
	}
	size, err := db.EstimateDiskUsage([]byte{0}, []byte{0xff})
	if err != nil {
		b.Fatal(err)
	}
	var dst []Block
	n := 0
	start := cpuTime(b)
	for b.Loop() {
		if dst, err = lookup(db, holdall.DefaultNamespace, batches[n%len(batches)], dst[:0]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)*1000/(cpuTime(b)-start).Seconds(), "ids/cpu-s")
	b.ReportMetric(float64(size)/float64(r.m.sys.Blocks), "B/row")
}

// BenchmarkApply applies commits of one block each.
func BenchmarkApply(b *testing.B) {
	r := newCell(b, 3)
	s := r.session()
	h := header{Session: s, Time: r.now}
	v := r.volume()
	var entries [][]byte
	for i := range b.N {
		if v.Last == holdall.MaxVolumeStripes || v.Members[0].End > 1<<28-1<<20 {
			v.ID, v.Last, v.Members = v.ID+1, 0, make([]Member, 3)
		}
		h.Seq++
		h.Lowest = h.Seq
		c := stripe(&v, randomID(uint64(i)))
		entry, err := encodeCommand(h, c)
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, entry)
		v.Last++
		for m := range v.Members {
			v.Members[m].End = c.Ends[m]
		}
	}
	for range v.ID.Counter() - 1 {
		r.volume()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, entry := range entries {
		r.index++
		if answer, err := r.m.apply(r.index, 1, entry); err != nil || answer[0] != 0 {
			b.Fatal(string(answer), err)
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
