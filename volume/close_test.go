package volume_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/faultdisk"
	"github.com/holdall/holdall/volume"
)

// closeNotice is a device that says when it is closed.
type closeNotice struct {
	volume.Device
	closed chan struct{}
}

func (d *closeNotice) Close() error {
	defer close(d.closed)
	return d.Device.Close()
}

// TestCloseLeavesADeviceThatHangs: Close does not wait for ever for a call that
// does not return. What is queued is refused; the call keeps its buffers and the
// device, and both are given back once it has returned.
func TestCloseLeavesADeviceThatHangs(t *testing.T) {
	for _, op := range []faultdisk.OpKind{faultdisk.OpAppend, faultdisk.OpSync, faultdisk.OpRead} {
		_, fault := memory(faultdisk.Config{})
		dev := &closeNotice{fault, make(chan struct{})}
		r := newRig(t, dev, volume.DiskConfig{CloseWait: time.Millisecond})
		l, other := r.create(7, 0), r.create(8, 0)
		l.mustAppend(5000)
		held := make(chan struct{})
		stall := fault.Inject(faultdisk.Fault{Op: op, Zone: faultdisk.AnyZone, Effect: faultdisk.Hang, Until: held})
		first, second := make(chan error, 1), make(chan error, 1)
		a, _ := l.next(5000)
		go func() {
			if op == faultdisk.OpRead {
				v, err := r.disk.Read(context.Background(), l.id, 4096, 100)
				v.Release()
				first <- err
				return
			}
			first <- r.disk.Append(context.Background(), a)
		}()
		until(t, func() bool { return stall.Hits() > 0 })
		b, _ := other.next(5000)
		if op != faultdisk.OpRead {
			go func() { second <- r.disk.Append(context.Background(), b) }()
			until(t, func() bool { return r.disk.Queued() > 0 })
		}
		if err := r.disk.Close(); !errors.Is(err, holdall.ErrUnavailable) {
			t.Fatalf("close while a %v hangs: %v, want ErrUnavailable", op, err)
		}
		if op != faultdisk.OpRead {
			if err := <-second; !errors.Is(err, holdall.ErrUnavailable) {
				t.Fatalf("queued behind a %v that hangs: %v, want ErrUnavailable", op, err)
			}
		}
		select {
		case <-dev.closed:
			t.Fatalf("the device was closed while a %v was at work", op)
		case err := <-first:
			t.Fatalf("the %v that hangs returned: %v", op, err)
		default:
		}
		close(held)
		<-first
		<-dev.closed
		a.Record.Release()
		b.Record.Release()
		if n := r.pool.Lent(); n != 0 {
			t.Fatalf("%d bytes are still lent after the %v returned", n, op)
		}
		r.dev = fault.Reopen()
		r.cfg.CloseWait = 0
		r.open()
		l.surplus = true
		l.check()
		_ = r.disk.Close()
	}
}
