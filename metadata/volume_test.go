package metadata

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdall/holdall"
)

func (r *rig) take(v *Volume, gateway string) error {
	r.t.Helper()
	var res volumeResult
	err := r.do(&takeLease{v.ID, gateway, time.Minute}, &res)
	if err == nil {
		*v = res.Volume
	}
	return err
}

func (r *rig) seal(v *Volume) {
	r.t.Helper()
	var res volumeResult
	r.ok(&sealVolume{Volume: v.ID, Epoch: v.Epoch}, &res)
	*v = res.Volume
}

func (r *rig) tasks() (all []Task) {
	r.t.Helper()
	for k, err := range tasks(r.db) {
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

func TestNewVolume(t *testing.T) {
	r := newCell(t, 3)
	v, w := r.volume(), r.volume()
	if v.ID == w.ID || v.ID != holdall.MakeVolumeID(1, 1) || v.Epoch != holdall.MakeEpoch(1, 1) {
		t.Errorf("volumes %v at %v and %v", v.ID, v.Epoch, w.ID)
	}
	got := r.readVolume(v.ID)
	if got.State != holdall.VolumeOpen || got.Gateway != "g" || toInstant(got.Expires) != r.now.after(time.Minute) ||
		got.Members[1].Disk != disk(1) || got.Members[1].Created != v.Epoch || got.Scheme != scheme21 {
		t.Errorf("row is %+v", got)
	}
	if r.cell().Volumes != 2 {
		t.Errorf("cell: %+v", r.cell())
	}
}

func TestNewVolumeIsRefused(t *testing.T) {
	r := newCell(t, 3)
	r.ok(&setDisk{disk(2), holdall.DiskFailed, "write error"}, noResult{})
	three := []holdall.DiskID{disk(0), disk(1), disk(2)}
	r.refused(&createVolume{Scheme: scheme21, Limit: 1 << 20, Disks: three, Gateway: "g", Lease: time.Minute}, holdall.ErrRefused)
	three[2] = disk(3)
	r.refused(&createVolume{Scheme: scheme21, Limit: 1 << 20, Disks: three, Gateway: "g", Lease: time.Minute}, holdall.ErrNotFound)
	three[2] = disk(0)
	for _, c := range []*createVolume{
		{Scheme: scheme21, Limit: 1 << 20, Disks: three, Gateway: "g", Lease: time.Minute},
		{Scheme: scheme21, Limit: 1 << 20, Disks: three[:2], Gateway: "g", Lease: time.Minute},
		{Scheme: scheme21, Limit: 1, Disks: []holdall.DiskID{disk(0), disk(1), disk(3)}, Gateway: "g", Lease: time.Minute},
		{Scheme: scheme21, Limit: 1 << 20, Disks: []holdall.DiskID{disk(0), disk(1), disk(3)}, Lease: time.Minute},
		{Scheme: scheme21, Limit: 1 << 20, Disks: []holdall.DiskID{disk(0), disk(1), disk(3)}, Gateway: "g"},
		{Scheme: scheme21, Limit: 1 << 20, Disks: []holdall.DiskID{disk(0), disk(1), disk(3)}, Gateway: "g", Lease: time.Hour},
	} {
		if _, err := encodeCommand(header{}, c); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestOwnLeaseIsTakenAtOnceOthersOnlyWhenExpired(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	first := v.Epoch
	if err := r.take(&v, "g"); err != nil || v.Epoch != first+1 {
		t.Fatalf("own lease: %v, epoch %v", err, v.Epoch)
	}
	r.refused(&takeLease{v.ID, "h", time.Minute}, holdall.ErrRefused)
	r.pass(time.Minute - time.Millisecond)
	r.refused(&takeLease{v.ID, "h", time.Minute}, holdall.ErrRefused)
	r.pass(time.Millisecond)
	if err := r.take(&v, "h"); err != nil || v.Epoch != first+2 || v.Gateway != "h" {
		t.Fatalf("expired lease: %v, %+v", err, v)
	}
	r.refused(&takeLease{v.ID, "g", time.Minute}, holdall.ErrRefused)
	r.refused(&takeLease{v.ID + 1, "g", time.Minute}, holdall.ErrNotFound)
	r.seal(&v)
	r.refused(&takeLease{v.ID, "h", time.Minute}, holdall.ErrStale)
}

func TestRenewalKeepsWhatIsHeldAndNamesWhatIsLost(t *testing.T) {
	r := newCell(t, 3)
	mine, sealed, taken := r.volume(), r.volume(), r.volume()
	r.seal(&sealed)
	r.pass(time.Minute)
	if err := r.take(&taken, "h"); err != nil {
		t.Fatal(err)
	}
	var lost volumesResult
	r.ok(&renewLeases{"g", []holdall.VolumeID{mine.ID, sealed.ID, taken.ID, 99}, time.Minute}, &lost)
	if want := []holdall.VolumeID{sealed.ID, taken.ID, 99}; !slices.Equal(lost.IDs, want) {
		t.Errorf("lost %v, want %v", lost.IDs, want)
	}
	if v := r.readVolume(mine.ID); toInstant(v.Expires) != r.now.after(time.Minute) || v.Epoch != mine.Epoch {
		t.Errorf("renewed row: %+v", v)
	}
	r.ok(&renewLeases{"g", []holdall.VolumeID{mine.ID}, time.Second}, &lost)
	if v := r.readVolume(mine.ID); toInstant(v.Expires) != r.now.after(time.Minute) {
		t.Errorf("a shorter renewal shortened the lease to %v", v.Expires)
	}
}

func TestSealFixesTheEnd(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1))
	open := v
	r.refused(&sealVolume{Volume: v.ID, Epoch: v.Epoch + 1}, holdall.ErrStale)
	r.refused(&sealVolume{Volume: 77, Epoch: v.Epoch}, holdall.ErrNotFound)
	r.seal(&v)
	if v.State != holdall.VolumeSealed || v.Epoch != open.Epoch+1 || v.Last != 1 || toInstant(v.Sealed) != r.now {
		t.Errorf("sealed: %+v", v)
	}
	all := r.changes()
	if c := all[len(all)-1]; c.Kind != ChangeSeal || c.Volume != v.ID || c.Stripe != 1 {
		t.Errorf("journal ends with %+v", c)
	}
	again := open
	r.seal(&again)
	if again.Epoch != v.Epoch || len(r.changes()) != len(all) {
		t.Errorf("second seal: %+v", again)
	}
	r.refused(stripe(&v, id(2)), holdall.ErrStale)
}

func TestSealByAnother(t *testing.T) {
	r := newCell(t, 3)
	v, w := r.volume(), r.volume()
	r.ok(&sealVolume{Volume: v.ID, Force: true}, new(volumeResult))
	r.refused(&sealVolume{Volume: w.ID}, holdall.ErrStale)
	r.pass(time.Minute)
	r.ok(&sealVolume{Volume: w.ID}, new(volumeResult))
}

func TestFreeNeedsASealedVolumeWithoutRows(t *testing.T) {
	r := newCell(t, 3)
	r.ok(&setNamespace{holdall.DefaultNamespace, 0, -1}, noResult{})
	v := r.volume()
	r.put(&v, id(1))
	free := func() *freeVolume { return &freeVolume{v.ID, v.Epoch} }
	r.refused(free(), holdall.ErrRefused)
	r.seal(&v)
	r.refused(free(), holdall.ErrRefused)
	r.delete(id(1))
	r.refused(free(), holdall.ErrRefused) // trashed rows count: they may be undeleted
	r.purge(id(1))
	r.refused(&freeVolume{v.ID, v.Epoch - 1}, holdall.ErrStale)
	r.refused(&markMember{tagMarkFreed, v.ID, 0}, holdall.ErrRefused)
	var res volumeResult
	r.ok(free(), &res)
	if res.Volume.State != holdall.VolumeFreed || res.Volume.Epoch != v.Epoch+1 {
		t.Errorf("freed: %+v", res.Volume)
	}
	all := r.changes()
	if c := all[len(all)-1]; c.Kind != ChangeFree || c.Volume != v.ID {
		t.Errorf("journal ends with %+v", c)
	}
	r.ok(free(), &res)
	if len(r.changes()) != len(all) {
		t.Error("a second free was journaled")
	}
	for m := range uint8(3) {
		r.ok(&markMember{tagMarkFreed, v.ID, m}, noResult{})
		r.ok(&markMember{tagMarkFreed, v.ID, m}, noResult{})
	}
	if _, ok, err := readVolume(r.db, v.ID); ok || err != nil || r.cell().Volumes != 0 {
		t.Errorf("row is there when all members are freed: %v, %v", ok, err)
	}
	if k := r.tasks(); len(k) != 0 {
		t.Errorf("tasks left: %+v", k)
	}
	audit(t, r.db)
}

func TestFootersEndTheirTask(t *testing.T) {
	r := newCell(t, 3)
	v := r.volume()
	r.refused(&markMember{tagMarkFooter, v.ID, 0}, holdall.ErrRefused)
	r.seal(&v)
	r.refused(&markMember{tagMarkFooter, v.ID, 3}, holdall.ErrInvalid)
	for m := range uint8(3) {
		if k := r.tasks(); len(k) != 1 || k[0].Kind != TaskFooter || k[0].Volume != v.ID || k[0].Member != -1 {
			t.Fatalf("before footer %d: tasks %+v", m, k)
		}
		r.ok(&markMember{tagMarkFooter, v.ID, m}, noResult{})
	}
	if k := r.tasks(); len(k) != 0 {
		t.Errorf("tasks left: %+v", k)
	}
	if v = r.readVolume(v.ID); !v.Members[2].Footer {
		t.Errorf("row: %+v", v)
	}
	r.ok(&markMember{tagMarkFooter, 99, 0}, noResult{})
}

func TestTasksAreOnePerSubject(t *testing.T) {
	r := newCell(t, 0)
	var first, again numberResult
	k := Task{Kind: "repair", Volume: 5, Member: 2, Reason: "read error", Priority: 3}
	r.ok(&addTask{k}, &first)
	r.ok(&addTask{k}, &again)
	if first.N != again.N || len(r.tasks()) != 1 {
		t.Fatalf("ids %d and %d, tasks %+v", first.N, again.N, r.tasks())
	}
	got := r.tasks()[0]
	k.ID, k.Created = first.N, r.now.time()
	if got != k {
		t.Errorf("task is %+v, want %+v", got, k)
	}
	stale := got
	stale.ID--
	r.ok(&doneTask{stale}, noResult{})
	if len(r.tasks()) != 1 {
		t.Error("the end of an older task ended this one")
	}
	r.ok(&doneTask{got}, noResult{})
	if len(r.tasks()) != 0 {
		t.Error("the task is still there")
	}
}
