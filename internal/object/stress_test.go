package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/internal/sim"
)

// Writers put, copy and delete objects that share blocks and nodes with each
// other's, while retention ends all the time and upkeep purges what it can: a
// block that one object lets go of is one that another is about to list. What was
// acknowledged is there, whole.
func TestPurgesAmongPutsOfTheSameBytes(t *testing.T) {
	r := newRig(t, sim.Config{}, nil)
	r.Cut(10, 100, 3)
	bodies := [][]byte{r.bytes(2000)}
	for _, n := range []int{100, 900, 990, 1500} { // the same blocks, some of the same nodes
		bodies = append(bodies, bodies[0][:n], append(bytes.Clone(bodies[0][:n]), r.bytes(n)...))
	}
	ctx, stop := context.WithCancel(t.Context())
	var upkeep, writers sync.WaitGroup
	upkeep.Go(func() {
		for ctx.Err() == nil {
			r.cell.Advance(6 * time.Hour)
			if err := r.cell.Upkeep.Round(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("upkeep: %v", err)
			}
		}
	})
	var acked atomic.Int64
	for i := range 6 {
		rnd := rand.New(rand.NewPCG(r.rnd.Uint64(), 0))
		writers.Go(func() {
			(&owner{r: r, key: fmt.Sprint(i), other: fmt.Sprint((i + 1) % 6), bodies: bodies, rnd: rnd, acked: &acked}).run()
		})
	}
	writers.Wait()
	stop()
	upkeep.Wait()
	if acked.Load() == 0 {
		t.Error("no put was acknowledged")
	}
	r.empty()
}

// owner is the only one to change a key.
type owner struct {
	r          *rig
	key, other string
	bodies     [][]byte
	rnd        *rand.Rand
	now        []byte // what must be there; nil = nothing
	acked      *atomic.Int64
}

func (o *owner) run() {
	for range 40 {
		switch ctx := o.r.t.Context(); o.rnd.IntN(4) {
		case 0:
			if _, err := o.r.Delete(ctx, object.DeleteRequest{Place: at(o.key)}); err != nil {
				o.r.t.Errorf("delete: %v", err)
			}
			o.now = nil
		case 1:
			o.copy(ctx)
		default:
			b := o.bodies[o.rnd.IntN(len(o.bodies))]
			_, err := o.r.Put(ctx, object.PutRequest{Place: at(o.key), Body: bytes.NewReader(b), Size: int64(len(b))})
			if err == nil {
				o.now = b
				o.acked.Add(1)
			} else if !errors.Is(err, holdall.ErrUnavailable) { // its blocks were gone before they were listed
				o.r.t.Errorf("put: %v", err)
			}
		}
		o.check()
	}
}

// copy copies whatever another has, which changes meanwhile.
func (o *owner) copy(ctx context.Context) {
	row, err := o.r.Copy(ctx, object.CopyRequest{Place: at(o.key), From: at(o.other)})
	if err != nil {
		if !errors.Is(err, object.ErrNoKey) && !errors.Is(err, holdall.ErrUnavailable) {
			o.r.t.Errorf("copy: %v", err)
		}
		return
	}
	for _, b := range o.bodies {
		if int64(len(b)) == row.Size {
			o.now = b
		}
	}
}

// tree tells what the rows of a manifest say.
func (r *rig) tree(id holdall.BlockID, depth int) string {
	row := r.rows(id)[0]
	s := fmt.Sprintf("%*s%.8v found %v, node %v, %d references, pending until %v, trash since %v\n", 2*depth, "", id, row.Found, row.Node, row.References, row.PendingUntil, row.TrashedAt)
	children, err := r.Children(r.t.Context(), ns, id)
	if err != nil {
		return s
	}
	for _, c := range children {
		s += r.tree(c, depth+1)
	}
	return s
}

func (o *owner) check() {
	rd, err := o.r.Open(o.r.t.Context(), at(o.key), object.GetOptions{})
	if o.now == nil {
		if !errors.Is(err, object.ErrNoKey) {
			o.r.t.Errorf("%s: %v, want nothing", o.key, err)
		}
		return
	}
	if err != nil {
		o.r.t.Errorf("%s: %v", o.key, err)
		return
	}
	defer rd.Close()
	got, err := io.ReadAll(rd)
	if err != nil || !bytes.Equal(got, o.now) {
		o.r.t.Errorf("%s: %d bytes of %d, %v\n%s", o.key, len(got), len(o.now), err, o.r.tree(rd.Object.Root, 0))
	}
}
