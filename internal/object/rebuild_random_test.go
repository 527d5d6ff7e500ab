package object_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
	"github.com/holdall/holdall/metadata"
)

// chance does random things to objects of few keys, their uploads and their blocks.
type chance struct {
	*rig
	uploads []object.UploadPlace
	parts   map[holdall.PutID]map[int]metadata.Part
}

// may fails the test on errors that no order of calls explains.
func (c *chance) may(err error) {
	c.t.Helper()
	for _, ok := range []error{nil, holdall.ErrNotFound, holdall.ErrExists, holdall.ErrRefused} {
		if errors.Is(err, ok) {
			return
		}
	}
	c.t.Fatal(err)
}

func (c *chance) step() {
	ctx, pick := c.t.Context(), c.rnd.IntN
	key, other := fmt.Sprint("k", pick(6)), fmt.Sprint("k", pick(6))
	switch pick(16) {
	case 0, 1, 2, 3:
		c.putKey(key, []int{0, 20, 90, 900, 2_500, 7_000}[pick(6)])
	case 4, 5:
		_, err := c.Delete(ctx, object.DeleteRequest{Place: at(key)})
		c.may(err)
	case 6:
		_, err := c.Undelete(ctx, at(key))
		c.may(err)
	case 7:
		_, err := c.Copy(ctx, object.CopyRequest{Place: at(key), From: at(other)})
		c.may(err)
	case 8:
		_, err := c.SetTags(ctx, at(key), 0, []manifest.Tag{{Key: "n", Value: fmt.Sprint(pick(1000))}})
		c.may(err)
	case 9:
		u := c.begin(key)
		c.uploads = append(c.uploads, u)
		c.parts[u.Upload] = map[int]metadata.Part{}
	case 10, 11, 12:
		c.upload(pick(6))
	case 13:
		c.cell.Advance(time.Duration(pick(4*24)) * time.Hour)
		c.rounds()
	case 14:
		c.flush()
	case 15:
		_, err := c.cell.Gateway.SealVolumes(ctx, nil)
		c.must(err)
	}
}

// upload goes on with an upload, or ends it.
func (c *chance) upload(how int) {
	if len(c.uploads) == 0 {
		return
	}
	i := c.rnd.IntN(len(c.uploads))
	u := c.uploads[i]
	switch how {
	case 0:
		c.must(c.Abort(c.t.Context(), u))
	case 1, 2:
		var list []metadata.Part
		for n := range 4 {
			if p, ok := c.parts[u.Upload][n+1]; ok {
				list = append(list, p)
			}
		}
		if len(list) == 0 {
			return
		}
		c.complete(u, list...)
	default:
		n := 1 + c.rnd.IntN(3)
		c.parts[u.Upload][n] = c.part(u, n, c.bytes(1+c.rnd.IntN(3_000)))
		return
	}
	c.uploads = append(c.uploads[:i], c.uploads[i+1:]...)
}

// TestARebuildAtAnyTime rebuilds a cell with a random history: what the journal has is
// there again as it was, and whatever it lacks, no block is lost.
func TestARebuildAtAnyTime(t *testing.T) {
	for range 2 {
		r := newRig(t, sim.Config{}, nil)
		r.Cut(50, 100, 4)
		c := &chance{rig: r, parts: map[holdall.PutID]map[int]metadata.Part{}}
		for range 100 {
			c.step()
			if r.rnd.IntN(30) == 0 {
				r.keeps(r.rebuild(r.cell.Server), r.dump())
			}
		}
		r.flush()
		got := r.rebuild(r.cell.Server)
		r.sameNames(got, r.dump())
		if len(got.listed) > 0 {
			t.Errorf("listed %+v", got.listed)
		}
		if t.Failed() {
			return
		}
	}
}
