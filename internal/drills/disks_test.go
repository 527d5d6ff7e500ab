package drills

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lose makes a disk directory go away while the server has it open, in one of
// three ways.
func lose(t testing.TB, dir, how string) {
	t.Helper()
	var err error
	switch how {
	case "removed":
		err = os.RemoveAll(dir)
	case "renamed":
		err = os.Rename(dir, dir+".away")
	case "emptied":
		var names []os.DirEntry
		if names, err = os.ReadDir(dir); err == nil {
			for _, n := range names {
				if err = os.RemoveAll(filepath.Join(dir, n.Name())); err != nil {
					break
				}
			}
		}
	default:
		t.Fatalf("no way to lose a disk called %q", how)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cell) awaitFailed(dirs ...string) {
	c.t.Helper()
	var states map[string]string
	defer func() {
		if c.t.Failed() {
			c.t.Logf("disks: %v\n%s", states, c.server.stderr)
		}
	}()
	took := c.eventually(5*time.Second, fmt.Sprintf("%d disks shown as failed", len(dirs)), func() bool {
		states = c.disks()
		for _, d := range dirs {
			if states[d] != "failed" {
				return false
			}
		}
		return true
	})
	c.t.Logf("%d lost disks shown as failed after %v", len(dirs), took.Round(time.Millisecond))
}

// TestThreeDisksLostWhileServing takes three of nine directories away, one at a
// time and each in another way, then restarts, then takes a fourth.
func TestThreeDisksLostWhileServing(t *testing.T) {
	for _, hows := range [][]string{{"removed", "renamed", "emptied"}, {"renamed", "renamed", "renamed"}, {"emptied", "removed", "removed"}}[:pick(1, 3)] {
		t.Run(strings.Join(hows, ","), func(t *testing.T) { loseDisks(t, hows) })
	}
}

func loseDisks(t *testing.T, hows []string) {
	c := newCell(t)
	c.start()
	cl := c.dial()
	l := &ledger{}
	l.put(t, cl, pick(300, 2000), 16, 100_000)
	c.must("volume", "seal", "--all")
	for i, scheme := range []string{"rs-5-3", "rs-4-3", "rs-3-3"} {
		l.put(t, cl, 60, 16, 200_000) // acknowledged in the second before
		lose(t, c.diskDirs[i*2], hows[i])
		mustReadAll(t, cl, l.ids(), fmt.Sprintf("at once after disk %d was %s", i+1, hows[i]))
		lost := []string{c.diskDirs[0], c.diskDirs[2], c.diskDirs[4]}[:i+1]
		c.awaitFailed(lost...)
		l.put(t, cl, 60, 16, 200_000)
		if !strings.Contains(c.server.stderr.String(), scheme) {
			t.Errorf("with %d disks gone the log does not say that new volumes are %s", i+1, scheme)
		}
		mustReadAll(t, cl, l.ids(), fmt.Sprintf("with %d disks gone and more put", i+1))
	}
	c.kill()
	c.start()
	c.awaitFailed(c.diskDirs[0], c.diskDirs[2], c.diskDirs[4])
	mustReadAll(t, cl, l.ids(), "with 3 disks gone, after a restart")
	l.put(t, cl, 60, 16, 200_000)

	before := l.ids()[:pick(300, 2000)] // in rs-6-3 volumes: the fourth loss is one too many
	if err := os.Rename(c.diskDirs[6], c.diskDirs[6]+".away"); err != nil {
		t.Fatal(err)
	}
	c.awaitFailed(c.diskDirs[6])
	c.kill() // what the server has in memory must not flatter it
	c.start()
	c.awaitFailed(c.diskDirs[0], c.diskDirs[2], c.diskDirs[4], c.diskDirs[6])
	r := readAll(t.Context(), cl, before, 16)
	t.Logf("with 4 disks gone: %v", r)
	if r.notFound+r.other != 0 || r.unavailable == 0 {
		t.Errorf("with 4 disks gone the only error may be UNAVAILABLE: %v", r)
	}
	if err := os.Rename(c.diskDirs[6]+".away", c.diskDirs[6]); err != nil {
		t.Fatal(err)
	}
	c.eventually(10*time.Second, "all blocks read again once the fourth disk is back", func() bool {
		return readAll(t.Context(), cl, before, 16).ok == len(before)
	})
	mustReadAll(t, cl, l.ids(), "with the fourth disk back")
}

// TestSixDisksLostRefusesPuts checks the message when no layout fits.
func TestSixDisksLostRefusesPuts(t *testing.T) {
	c := newCell(t)
	c.start()
	cl := c.dial()
	l := &ledger{}
	l.put(t, cl, 50, 16, 100_000)
	for _, d := range c.diskDirs[:6] {
		lose(t, d, "renamed")
	}
	c.awaitFailed(c.diskDirs[:6]...)
	_, err := cl.Put(t.Context(), blockOf(1<<40, 1000))
	if err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("a put with 6 of 9 disks gone says: %v", err)
	}
	t.Logf("a put with 6 of 9 disks gone says: %v", err)
	if r := readAll(t.Context(), cl, l.ids(), 8); r.notFound+r.other != 0 {
		t.Errorf("gets with 6 of 9 disks gone: %v", r)
	}
}
