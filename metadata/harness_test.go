package metadata

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdall/holdall"
)

// A rig is a machine in memory and what a test needs to drive it.
type rig struct {
	t     testing.TB
	fs    vfs.FS
	db    *pebble.DB
	m     *machine
	index uint64
	now   instant
	all   [][]byte // entries applied, by index
}

// day is when tests begin.
const day instant = 1_800_000_000_000

func openTestState(t testing.TB, fs vfs.FS, dir string) *pebble.DB {
	t.Helper()
	o := &pebble.Options{FS: fs, Logger: quiet{t}}
	layoutState(o)
	db, err := pebble.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

type quiet struct{ t testing.TB }

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (q quiet) Fatalf(f string, args ...any) { q.t.Fatalf(f, args...) }

// newRig returns a machine with an empty state.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, fs: vfs.NewMem(), now: day}
	r.db = openTestState(t, r.fs, "state")
	t.Cleanup(func() { r.db.Close() })
	r.reload()
	return r
}

func (r *rig) reload() {
	r.t.Helper()
	m, err := newMachine(r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	r.m = m
}

// newCell returns a machine with a cell of n disks.
func newCell(t testing.TB, n int) *rig {
	t.Helper()
	r := newRig(t)
	r.ok(&initCell{Cell: holdall.CellID{1}, Retention: DefaultRetention}, noResult{})
	for i := range n {
		r.ok(&addDisk{Disk{ID: disk(i), State: holdall.DiskActive, Capacity: 1 << 40, ZoneSize: 1 << 20}}, noResult{})
	}
	return r
}

func disk(i int) (d holdall.DiskID) { d[0], d[15] = byte(i), 1; return d }

func id(i int) (b holdall.BlockID) {
	binary.BigEndian.PutUint64(b[:], uint64(i)*0x9e3779b97f4a7c15)
	return b
}

// do applies c under no session and returns its refusal.
func (r *rig) do(c command, into result) error {
	r.t.Helper()
	return r.doAs(header{Time: r.now}, c, into)
}

func (r *rig) doAs(h header, c command, into result) error {
	r.t.Helper()
	return decodeAnswer(r.apply(h, c), into)
}

func (r *rig) apply(h header, c command) []byte {
	r.t.Helper()
	entry, err := encodeCommand(h, c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.index++
	r.all = append(r.all, entry)
	answer, err := r.m.apply(r.index, 1, entry)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// ok applies c, which must not be refused.
func (r *rig) ok(c command, into result) {
	r.t.Helper()
	if err := r.do(c, into); err != nil {
		r.t.Fatalf("%T: %v", c, err)
	}
}

// refused applies c, which must be refused with an error of the given kind.
func (r *rig) refused(c command, kind error) {
	r.t.Helper()
	before := contents(r.t, r.db)
	err := r.do(c, noResult{})
	if !errors.Is(err, kind) {
		r.t.Fatalf("%T: got %v, want %v", c, err, kind)
	}
	if after := contents(r.t, r.db); after != before {
		r.t.Fatalf("%T was refused but changed the state:\n%s\nthen\n%s", c, before, after)
	}
}

func (r *rig) pass(d time.Duration) { r.now = r.now.after(d) }

var scheme21 = holdall.Scheme{Kind: holdall.ReedSolomon, Data: 2, Global: 1}

// volume makes a volume of rs-2-1 on disks 0 to 2, leased to gateway "g".
func (r *rig) volume() Volume {
	r.t.Helper()
	var v volumeResult
	r.ok(&createVolume{Scheme: scheme21, Limit: 1 << 28, Disks: []holdall.DiskID{disk(0), disk(1), disk(2)}, Gateway: "g", Lease: time.Minute}, &v)
	return v.Volume
}

// stripe returns the next stripe of v with the given blocks, of 1000 bytes
// each, in one record of member 0, and one of parity on member 2.
func stripe(v *Volume, ids ...holdall.BlockID) *commitStripe {
	c := &commitStripe{StripeCommit{Volume: v.ID, Epoch: v.Epoch, Stripe: v.Last + 1}}
	size := holdall.RecordSize(uint32(len(ids)*1000 + 100))
	for m := range v.Members {
		c.Ends = append(c.Ends, v.Members[m].End)
	}
	for i, id := range ids {
		c.Blocks = append(c.Blocks, PutBlock{Namespace: holdall.DefaultNamespace, ID: id, Offset: c.Ends[0] + 4096 + int64(i*1000), Length: 1000})
	}
	c.Ends[0] += size
	c.Ends[2] += size
	c.PackBytes, c.ShardBytes = int64(len(ids)*1000+100), 2*size
	return c
}

// put commits a stripe to v, and reads v again.
func (r *rig) put(v *Volume, ids ...holdall.BlockID) commitAnswer {
	r.t.Helper()
	var a commitAnswer
	r.ok(stripe(v, ids...), &a)
	*v = r.readVolume(v.ID)
	return a
}

func (r *rig) readVolume(id holdall.VolumeID) Volume {
	r.t.Helper()
	v, ok, err := readVolume(r.db, id)
	if err != nil || !ok {
		r.t.Fatalf("volume %v: %v, %v", id, ok, err)
	}
	return v
}

func (r *rig) block(id holdall.BlockID) Block {
	r.t.Helper()
	b, err := lookup(r.db, holdall.DefaultNamespace, []holdall.BlockID{id}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return b[0]
}

func (r *rig) cell() Cell {
	r.t.Helper()
	c, err := readCell(r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) delete(ids ...holdall.BlockID) []holdall.BlockID {
	r.t.Helper()
	var gone idsResult
	r.ok(&changeBlocks{tagDelete, holdall.DefaultNamespace, ids}, &gone)
	return gone.IDs
}

func (r *rig) purge(ids ...holdall.BlockID) PurgeResult {
	r.t.Helper()
	var keys []BlockKey
	for _, id := range ids {
		keys = append(keys, BlockKey{holdall.DefaultNamespace, id})
	}
	var a purgeAnswer
	r.ok(&purgeBlocks{keys}, &a)
	return a.PurgeResult
}
