package volume

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// closeWait is how long Close waits for calls that the device is at: twice the
// 30 s after which Linux gives up one command to a disk and tries it again.
const closeWait = time.Minute

// Close stops the disk: what is being written is finished, what is queued is
// done or refused, reads are waited for. It closes the device.
//
// A device that hangs is not waited for beyond DiskConfig.CloseWait. What is
// still queued is refused then, and Close returns ErrUnavailable. The calls that
// hang are left behind with all that they may still touch: their buffers go back
// to the pool, and the device is closed and its lock let go, when they have
// returned and not before. Until then nobody opens the disk again.
func (d *Disk) Close() error {
	var err error
	d.closing.Do(func() {
		d.mu.Lock()
		d.closed = true
		d.mu.Unlock()
		d.queue.close()
		d.cancel()
		closed := make(chan error, 1)
		go func() { // owned by the hanging call, if there is one: nobody can wait for it
			d.wg.Wait()
			d.w.header.Release()
			closed <- d.dev.Close()
		}()
		wait := time.NewTimer(d.cfg.CloseWait)
		defer wait.Stop()
		select {
		case err = <-closed:
		case <-wait.C:
			err = d.leave()
		}
	})
	return err
}

// leave gives up a disk whose device hangs.
func (d *Disk) leave() error {
	const why = "closed while its device hangs"
	d.fail(why) // the writer, should its call return, begins nothing more
	for _, r := range d.queue.drain() {
		if r.state.CompareAndSwap(queued, abandoned) {
			r.err = d.closedError()
			r.done <- struct{}{}
		}
	}
	d.log.Error("disk is left open: its device does not answer", "waited", d.cfg.CloseWait)
	return fmt.Errorf("disk %v: %s: a call has not returned for %v; it stays locked until that ends, or this process does: %w", d.ident.Disk, why, d.cfg.CloseWait, holdall.ErrUnavailable)
}
