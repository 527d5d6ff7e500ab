package node

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall/volume"
)

// unread is a device whose reads fail.
type unread struct{ volume.Device }

func (unread) ReadAt(int, int64, []byte) error { return errUnread }

var errUnread = errors.New("unread")

func TestProgressIsToldWhileWorkGoesOn(t *testing.T) {
	var read atomic.Int64
	d := countingDevice{unread{}, &read}
	tick, ended := make(chan time.Time), make(chan error, 1)
	var told []int64
	step := make(chan struct{})
	go func() {
		ended <- follow(tick, func() { told = append(told, read.Load()) }, func() error {
			var err error
			for range step {
				err = d.ReadAt(0, 0, make([]byte, 100))
			}
			return err
		})
	}()
	step <- struct{}{}
	step <- struct{}{} // the first read is over
	tick <- time.Time{}
	close(step)
	if err := <-ended; !errors.Is(err, errUnread) {
		t.Errorf("the error of the work is lost: %v", err)
	}
	if len(told) != 1 || told[0] < 100 || read.Load() != 200 {
		t.Errorf("told %v while it went on, in the end %d", told, read.Load())
	}
}
