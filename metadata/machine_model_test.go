package metadata

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"pgregory.net/rapid"
)

// modelSteps is the commands of one run; rapid makes 100 runs by default.
const modelSteps = 300

// TestMachineAgreesWithItsModel applies random commands to the state machine
// and to a model of it, compares every answer, and the whole state often. Repeat
// a failure with the seed that rapid prints (-rapid.seed), run more with
// -rapid.checks.
func TestMachineAgreesWithItsModel(t *testing.T) {
	total := 0
	rapid.Check(t, func(rt *rapid.T) {
		tb := drawn{t, rt}
		d := newDriver(rt, newCell(tb, 3))
		for i := range modelSteps {
			d.step()
			total++
			if i%20 == 19 {
				d.compare()
			}
		}
		d.compare()
		audit(tb, d.r.db)
	})
	t.Logf("%d commands", total)
}

// drawn is a testing.TB that reports to rapid, so that a failure is shrunk.
type drawn struct {
	testing.TB
	rt *rapid.T
}

func (t drawn) Errorf(format string, args ...any) { t.rt.Errorf(format, args...) }
func (t drawn) Fatalf(format string, args ...any) { t.rt.Fatalf(format, args...) }
func (t drawn) Fatal(args ...any)                 { t.rt.Fatal(args...) }
func (t drawn) Cleanup(f func())                  { t.rt.Cleanup(f) }

// driver draws commands and sends them to both.
type driver struct {
	rt   *rapid.T
	r    *rig
	m    *model
	h    header
	last []byte // the last entry, and its answer
	said []byte
	all  [][]byte // entries, by index
	ops  map[string]func()
}

func newDriver(rt *rapid.T, r *rig) *driver {
	d := &driver{rt: rt, r: r, m: newModel()}
	d.ops = map[string]func(){
		"commit": d.commit, "hold": d.hold, "purge": d.purge, "create": d.create, "lease": d.lease, "seal": d.seal, "free": d.free,
		"mark": d.mark, "flush": d.flush, "pass": d.pass, "again": d.again, "cell": d.cell, "settings": d.settings,
	}
	var s numberResult
	r.ok(&openSession{"model"}, &s)
	d.h = header{Session: s.N}
	return d
}

// opShares lists every operation as often as it should come.
var opShares = []string{"commit", "commit", "commit", "commit", "hold", "hold", "hold", "purge", "purge", "create", "lease",
	"seal", "free", "mark", "mark", "flush", "pass", "pass", "again", "cell", "settings"}

func (d *driver) step() { d.ops[rapid.SampledFrom(opShares).Draw(d.rt, "op")]() }

func (d *driver) pick(what string, n int) int { return rapid.IntRange(0, n-1).Draw(d.rt, what) }
func (d *driver) often(what string) bool      { return d.pick(what, 5) != 0 }

// send applies c and checks that it was refused with the kind of want, or, want
// being nil, was not.
func (d *driver) send(c command, into result, want error) {
	d.h.Seq++
	d.h.Lowest = max(d.h.Lowest, d.h.Seq-uint64(min(d.h.Seq-1, uint64(d.pick("waiting", 4)))))
	d.h.Time = d.m.now
	entry, err := encodeCommand(d.h, c)
	if err != nil {
		d.rt.Fatalf("encode %+v: %v", c, err)
	}
	d.r.index++
	answer, err := d.r.m.apply(d.r.index, 1, entry)
	if err != nil {
		d.rt.Fatalf("apply %+v: %v", c, err)
	}
	d.last, d.said, d.all = entry, answer, append(d.all, entry)
	if err := decodeAnswer(answer, into); !errors.Is(err, want) || (err != nil) != (want != nil) {
		d.rt.Fatalf("%T %+v: got %v, the model says %v", c, c, err, want)
	}
}

func (d *driver) ids(n int) (ids []holdall.BlockID) {
	for range 1 + d.pick("ids", n) {
		ids = append(ids, id(d.pick("id", 12)))
	}
	return ids
}

func (d *driver) volume() (holdall.VolumeID, *Volume) {
	if all := d.m.volumeIDs(); len(all) > 0 && d.often("known volume") {
		id := all[d.pick("volume", len(all))]
		return id, d.m.volumes[id]
	}
	id := holdall.MakeVolumeID(1, 1000)
	return id, &Volume{ID: id, Scheme: scheme21, Epoch: 1, Members: make([]Member, 3)}
}

func (d *driver) epoch(v *Volume) holdall.Epoch {
	if d.often("right epoch") {
		return v.Epoch
	}
	return v.Epoch - 1
}

func (d *driver) commit() {
	_, v := d.volume()
	c := stripe(v, d.ids(4)...)
	if c.Epoch = d.epoch(v); !d.often("next stripe") {
		c.Stripe += uint64(d.pick("stripe", 3))
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		if b.Pending = !d.often("direct"); v.System {
			b.Namespace = holdall.SystemNamespace
		}
		if row := d.m.rows[BlockKey{b.Namespace, b.ID}]; row != nil && !d.often("no replace") {
			b.Replace = row.Location
		}
	}
	if !d.often("sound") {
		c.Blocks[0].Offset -= int64(d.pick("shift", 2)) * 4096
		c.Ends[1] += int64(d.pick("grow", 2)) << 12
	}
	if c.Stripe == 0 || c.Blocks[0].Offset < 0 {
		return
	}
	at, want := d.m.commit(&c.StripeCommit)
	var a commitAnswer
	d.send(c, &a, want)
	if want == nil {
		got, err := c.result(d.said)
		if err != nil || !slices.Equal(got.Kept, at) {
			d.rt.Fatalf("commit %+v: kept at %+v, %v; the model says %+v", c, got.Kept, err, at)
		}
	}
}

func (d *driver) hold() {
	verb := []commandTag{tagClaim, tagDelete, tagDelete, tagUndelete}[d.pick("verb", 4)]
	ns, ids := holdall.NamespaceID(1), d.ids(5)
	if !d.often("default namespace") {
		ns = holdall.NamespaceID(2 * d.pick("namespace", 2))
	}
	gone, want := d.m.hold(verb, ns, ids)
	var a idsResult
	d.send(&changeBlocks{verb, ns, ids}, &a, want)
	if !slices.Equal(a.IDs, gone) {
		d.rt.Fatalf("verb %d of %v: gone are %v, the model says %v", verb, ids, a.IDs, gone)
	}
}

func (d *driver) purge() {
	var keys []BlockKey
	for _, id := range d.ids(12) {
		keys = append(keys, BlockKey{holdall.NamespaceID(min(1, d.pick("namespace", 5))), id})
	}
	r, want := d.m.purge(keys)
	var a purgeAnswer
	d.send(&purgeBlocks{keys}, &a, want)
	if !reflect.DeepEqual(a.PurgeResult, r) {
		d.rt.Fatalf("purge of %v: %+v, the model says %+v", keys, a.PurgeResult, r)
	}
}

func (d *driver) gateway() string { return string(rune('g' + d.pick("gateway", 2))) }

func (d *driver) sameVolume(got Volume, want *Volume) {
	got.Rows, got.Bytes, got.Live = 0, 0, 0 // compare does these
	if !reflect.DeepEqual(got, *want) {
		d.rt.Fatalf("volume is\n%+v, the model says\n%+v", got, *want)
	}
}

func (d *driver) create() {
	if len(d.m.volumes) > 8 {
		return
	}
	c := &createVolume{Scheme: scheme21, Limit: 1 << 20, System: !d.often("user volume"), Gateway: d.gateway(), Lease: time.Minute,
		Disks: []holdall.DiskID{disk(0), disk(1), disk(2)}}
	var a volumeResult
	d.send(c, &a, nil)
	d.sameVolume(a.Volume, d.m.create(c.System, c.Gateway, c.Lease))
}

func (d *driver) lease() {
	id, _ := d.volume()
	g, lease := d.gateway(), []time.Duration{time.Second, time.Minute, maxLease}[d.pick("lease", 3)]
	if d.often("take") {
		v, want := d.m.take(id, g, lease)
		var a volumeResult
		if d.send(&takeLease{id, g, lease}, &a, want); want == nil {
			d.sameVolume(a.Volume, v)
		}
		return
	}
	ids := append(d.m.volumeIDs(), id)
	lost := d.m.renew(g, ids, lease)
	var a volumesResult
	if d.send(&renewLeases{g, ids, lease}, &a, nil); !slices.Equal(a.IDs, lost) {
		d.rt.Fatalf("renewal by %q: lost %v, the model says %v", g, a.IDs, lost)
	}
}

func (d *driver) seal() {
	id, v := d.volume()
	e, force := d.epoch(v), !d.often("no force")
	v, want := d.m.seal(id, e, force)
	var a volumeResult
	if d.send(&sealVolume{id, e, force}, &a, want); want == nil {
		d.sameVolume(a.Volume, v)
	}
}

func (d *driver) free() {
	id, v := d.volume()
	e := d.epoch(v)
	v, want := d.m.free(id, e)
	var a volumeResult
	if d.send(&freeVolume{id, e}, &a, want); want == nil {
		d.sameVolume(a.Volume, v)
	}
}

func (d *driver) mark() {
	id, _ := d.volume()
	for member := range 3 {
		if mark := []commandTag{tagMarkFooter, tagMarkFreed}[d.pick("mark", 2)]; d.often("member") {
			d.send(&markMember{mark, id, uint8(member)}, noResult{}, d.m.mark(mark, id, member))
		}
	}
}

func (d *driver) flush() {
	upTo := uint64(d.pick("up to", int(d.m.seq)+2))
	d.send(&flushChanges{upTo}, noResult{}, d.m.flush(upTo))
}

func (d *driver) pass() {
	d.m.now = d.m.now.after([]time.Duration{time.Millisecond, time.Minute, time.Hour, 25 * time.Hour, DefaultRetention}[d.pick("time", 5)])
}

// again repeats the last command, or an index, or starts the machine again: none
// changes anything.
func (d *driver) again() {
	if d.last == nil {
		return
	}
	switch d.pick("what", 3) {
	case 0:
		d.r.index++
		d.all = append(d.all, d.last)
		if got, err := d.r.m.apply(d.r.index, 1, d.last); err != nil || string(got) != string(d.said) {
			d.rt.Fatalf("repeat: %x, %v; first was %x", got, err, d.said)
		}
	case 1:
		if got, err := d.r.m.apply(d.r.index, 1, d.last); err != nil || got != nil {
			d.rt.Fatalf("an index applied before: %x, %v", got, err)
		}
	case 2:
		d.r.reload()
	}
}

func (d *driver) cell() {
	if d.often("release") {
		d.m.quarantine = ""
		d.send(&releaseCell{}, noResult{}, nil)
		return
	}
	above := uint32(d.pick("above", 5))
	var a numberResult
	if d.send(&raiseCell{Above: above, Reason: "test"}, &a, nil); a.N != uint64(d.m.raise(above, "test")) {
		d.rt.Fatalf("incarnation %d, the model says %d", a.N, d.m.incarnation)
	}
}

func (d *driver) settings() {
	switch d.pick("setting", 3) {
	case 0:
		was := d.m.retention
		if d.m.retention = []time.Duration{0, time.Hour, DefaultRetention}[d.pick("retention", 3)]; d.m.retention != was {
			d.m.note(Change{Kind: ChangeNamespace, Namespace: 1, Name: "default", Retention: d.m.retention})
		}
		d.send(&setNamespace{1, d.m.retention, -1}, noResult{}, nil)
	case 1:
		b := &d.m.breaker
		b.Share, b.Floor, b.WindowStart = uint32(d.pick("share", 3))*200_000, int64(d.pick("floor", 6)), time.Time{}
		d.send(&setBreaker{b.Share, b.Floor}, noResult{}, nil)
	case 2:
		b, lift := &d.m.breaker, time.Duration(d.pick("lift", 2))*time.Hour
		b.Tripped, b.WindowStart, b.Purged, b.Released = false, time.Time{}, 0, d.m.now.after(lift).time()
		d.send(&releaseBreaker{lift}, noResult{}, nil)
	}
}

// compare checks the whole state against the model.
func (d *driver) compare() {
	same := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			d.rt.Fatalf("%s:\n%+v, the model says\n%+v", what, got, want)
		}
	}
	cell, want := d.r.cell(), Cell{}
	var live int64
	n := 0
	for b, err := range blocks(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		row := d.m.rows[BlockKey{b.Namespace, b.ID}]
		if row == nil {
			d.rt.Fatalf("row %+v, which the model does not have", b)
		}
		same("row", b, *row)
		want.Bytes += int64(b.Location.Length)
		if n++; row.TrashedAt.IsZero() {
			want.Live++
			live += int64(b.Location.Length)
		}
	}
	same("rows", n, len(d.m.rows))
	var ids []holdall.VolumeID
	for v, err := range volumes(d.r.db) {
		if err != nil {
			d.rt.Fatal(err)
		}
		if w := d.m.volumes[v.ID]; w != nil {
			same("volume", v, d.m.counted(w))
		}
		ids = append(ids, v.ID)
	}
	same("volumes", fmt.Sprint(ids), fmt.Sprint(d.m.volumeIDs()))
	same("journal", fmt.Sprintf("%+v", d.r.changes()), fmt.Sprintf("%+v", d.m.journal))
	subjects := map[string]holdall.VolumeID{}
	for _, k := range d.r.tasks() {
		subjects[k.Kind+" "+k.Volume.String()] = k.Volume
	}
	same("tasks", subjects, d.m.tasks)
	same("breaker", cell.Breaker, d.m.breaker)
	same("cell", []any{cell.Blocks, cell.Bytes, cell.Live, cell.LiveBytes, cell.Volumes, cell.Quarantine, cell.Incarnation},
		[]any{int64(n), want.Bytes, want.Live, live, int64(len(ids)), d.m.quarantine, d.m.incarnation})
}
