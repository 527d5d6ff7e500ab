package drills

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestFailedSyncTakesTheDiskOutForGood makes the call that makes data durable
// fail on one of nine image files, at the first and at later calls.
func TestFailedSyncTakesTheDiskOutForGood(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	for _, when := range pick([]string{"3+"}, []string{"1+", "2+", "5+", "12+"}) {
		t.Run("call "+when, func(t *testing.T) { failSync(t, when) })
	}
}

func failSync(t *testing.T, when string) {
	c, images := imageCell(t, 400<<20, "--zone-size", "4MiB")
	c.start()
	cl := c.dial()
	l := &ledger{}
	l.put(t, cl, 100, 16, 100_000)
	c.stop()

	trace := filepath.Join(t.TempDir(), "trace")
	c.wrap = []string{"strace", "-f", "-qq", "-o", trace, "-P", images[4], "-e", "trace=fdatasync",
		"-e", "inject=fdatasync:error=EIO:when=" + when}
	c.start()
	cl = c.dial()
	// strace counts calls by thread: a later call may need many puts.
	for range 20 {
		if l.put(t, cl, 400, 16, 100_000); c.disks()[images[4]] == "failed" {
			break
		}
	}
	c.eventually(10*time.Second, "the disk is shown as failed", func() bool { return c.disks()[images[4]] == "failed" })
	syncs := func() string {
		out, err := exec.Command("grep", "-c", "fdatasync", trace).Output()
		if err != nil {
			t.Fatalf("grep the trace: %v", err)
		}
		return string(out)
	}
	was := syncs()
	l.put(t, cl, 200, 16, 100_000)
	if now := syncs(); now != was {
		t.Errorf("the failed disk was synced again: %q calls, then %q", was, now)
	}
	mustReadAll(t, cl, l.ids(), fmt.Sprintf("with fdatasync failing from call %s on", when))
	c.kill()

	c.wrap = nil
	c.start()
	cl = c.dial()
	if state := c.disks()[images[4]]; state != "failed" {
		t.Errorf("after a restart the disk is %q: the failure was forgotten", state)
	}
	l.put(t, cl, 100, 16, 100_000)
	mustReadAll(t, cl, l.ids(), "after a restart without the fault")
	c.must("disk", "readmit", images[4])
	if state := c.disks()[images[4]]; state != "active" {
		t.Errorf("after readmit the disk is %q", state)
	}
	l.put(t, cl, 100, 16, 100_000)
	mustReadAll(t, cl, l.ids(), "after readmit")
}
