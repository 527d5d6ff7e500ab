package metadata

import (
	"strings"
	"testing"

	"github.com/holdall/holdall"
)

func (r *rig) disk(id holdall.DiskID) Disk {
	r.t.Helper()
	k, ok, err := readDisk(r.db, id)
	if err != nil || !ok {
		r.t.Fatalf("disk %v: %v, %v", id, ok, err)
	}
	return k
}

func (r *rig) grant(shown uint64) MountGrant {
	r.t.Helper()
	var a mountAnswer
	r.ok(&grantMount{Disk: disk(0), Shown: shown, Path: "/mnt/a"}, &a)
	return a.MountGrant
}

func TestMountIsGrantedAndConfirmed(t *testing.T) {
	r := newCell(t, 1)
	if g := r.grant(0); g != (MountGrant{1, holdall.DiskActive}) {
		t.Fatalf("first grant: %+v", g)
	}
	r.refused(&confirmMount{disk(0), 2}, holdall.ErrStale)
	r.ok(&confirmMount{disk(0), 1}, noResult{})
	r.ok(&confirmMount{disk(0), 1}, noResult{})
	if k := r.disk(disk(0)); k.Incarnation != 1 || k.Granted != 1 || k.Path != "/mnt/a" {
		t.Errorf("disk: %+v", k)
	}
	if g := r.grant(1); g.Incarnation != 2 {
		t.Errorf("second grant: %+v", g)
	}
}

func TestMountAfterACrash(t *testing.T) {
	for _, c := range []struct {
		name  string
		shown uint64 // after grants of 1 (confirmed) and 2
	}{{"before the disk wrote the grant", 1}, {"after the disk wrote the grant", 2}} {
		t.Run(c.name, func(t *testing.T) {
			r := newCell(t, 1)
			r.grant(0)
			r.ok(&confirmMount{disk(0), 1}, noResult{})
			r.grant(1)
			if g := r.grant(c.shown); g.Incarnation != 3 {
				t.Fatalf("grant: %+v", g)
			}
			// Another crash: the disk shows what it last showed, or 3.
			for _, shown := range []uint64{c.shown, 3} {
				k := r.disk(disk(0))
				if shown != k.Incarnation && shown != k.Granted {
					t.Errorf("a disk that shows %d would be taken for a copy: %+v", shown, k)
				}
			}
		})
	}
}

func TestCopyOfADiskIsRefused(t *testing.T) {
	r := newCell(t, 1)
	for n := range uint64(3) {
		r.grant(n)
		r.ok(&confirmMount{disk(0), n + 1}, noResult{})
	}
	for _, shown := range []uint64{0, 2, 4} {
		r.refused(&grantMount{Disk: disk(0), Shown: shown, Path: "/mnt/copy"}, holdall.ErrRefused)
	}
	err := r.do(&grantMount{Disk: disk(0), Shown: 2, Path: "/mnt/copy"}, noResult{})
	for _, word := range []string{disk(0).String(), "/mnt/copy", "incarnation 2", "copy"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("message does not say %q: %v", word, err)
		}
	}
	// Two copies that both show the confirmed number: the first to be mounted
	// leaves the other behind.
	r.grant(3)
	r.ok(&confirmMount{disk(0), 4}, noResult{})
	r.refused(&grantMount{Disk: disk(0), Shown: 3}, holdall.ErrRefused)
}

func TestStaleMountIsNotConfirmed(t *testing.T) {
	r := newCell(t, 1)
	r.grant(0)
	r.grant(0)
	r.refused(&confirmMount{disk(0), 1}, holdall.ErrStale)
	r.ok(&confirmMount{disk(0), 2}, noResult{})
}

func TestUnknownAndKnownDisks(t *testing.T) {
	r := newCell(t, 1)
	r.refused(&addDisk{Disk{ID: disk(0), State: holdall.DiskActive}}, holdall.ErrRefused)
	r.refused(&grantMount{Disk: disk(7)}, holdall.ErrNotFound)
	r.refused(&confirmMount{Disk: disk(7)}, holdall.ErrNotFound)
	r.refused(&setDisk{disk(7), holdall.DiskFailed, ""}, holdall.ErrNotFound)
}

func TestDiskStates(t *testing.T) {
	r := newCell(t, 3)
	r.ok(&setDisk{disk(0), holdall.DiskFailed, "fdatasync: input/output error"}, noResult{})
	r.pass(1)
	r.ok(&setDisk{disk(0), holdall.DiskFailed, "later"}, noResult{})
	if k := r.disk(disk(0)); k.State != holdall.DiskFailed || k.Reason != "fdatasync: input/output error" || toInstant(k.Since) != day {
		t.Errorf("failed: %+v", k)
	}
	r.ok(&setDisk{disk(0), holdall.DiskActive, ""}, noResult{})
	v := r.volume()
	r.refused(&setDisk{disk(0), holdall.DiskRemoved, ""}, holdall.ErrRefused)
	r.ok(&sealVolume{Volume: v.ID, Force: true}, new(volumeResult))
	v = r.readVolume(v.ID)
	r.ok(&freeVolume{v.ID, v.Epoch}, new(volumeResult))
	r.ok(&markMember{tagMarkFreed, v.ID, 0}, noResult{})
	r.ok(&setDisk{disk(0), holdall.DiskRemoved, ""}, noResult{})
	r.refused(&setDisk{disk(0), holdall.DiskActive, ""}, holdall.ErrRefused)
	r.refused(&grantMount{Disk: disk(0)}, holdall.ErrRefused)
	r.refused(&addDisk{Disk{ID: disk(0), State: holdall.DiskActive}}, holdall.ErrRefused)
}
