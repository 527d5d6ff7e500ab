package worker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/door"
	"github.com/holdall/holdall/migration/s3fault"
)

// traffic is clients that write through a door until they are stopped.
type traffic struct {
	st      *stage
	door    *door.Door
	end     context.CancelFunc
	clients sync.WaitGroup

	done, failed atomic.Int64
}

func (st *stage) traffic(clients int) *traffic {
	st.t.Helper()
	s := st.cell.Store
	d, err := door.New(door.Config{Objects: st.cell.Objects, Names: s, Migrations: s, Intents: s, Notes: s, Life: 300 * time.Millisecond, Poll: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		st.t.Fatal(err)
	}
	d.Start()
	ctx, cancel := context.WithCancel(st.t.Context())
	tr := &traffic{st: st, door: d, end: cancel}
	for i := range clients {
		tr.clients.Go(func() { tr.client(ctx, rand.New(rand.NewPCG(uint64(i), 7))) })
	}
	st.t.Cleanup(tr.stop)
	return tr
}

// client writes and deletes keys, some of which the source held before.
func (tr *traffic) client(ctx context.Context, r *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		i := r.IntN(30)
		at := object.Place{Namespace: ns, Bucket: tr.st.bucket, Key: fmt.Sprintf("dir %d/key-%03d", i%7, i)}
		var err error
		if r.IntN(4) == 0 {
			_, err = tr.door.Delete(ctx, object.DeleteRequest{Place: at})
		} else {
			body := noise(r.Uint64(), r.IntN(3000))
			_, err = tr.door.Put(ctx, object.PutRequest{Place: at, Body: bytes.NewReader(body), Size: int64(len(body)), Attributes: manifest.Attributes{ContentType: "text/x"}})
		}
		if err == nil {
			tr.done.Add(1)
		} else {
			tr.failed.Add(1) // what a client would try again
		}
		if err := sleep(ctx, time.Duration(r.IntN(20))*time.Millisecond); err != nil {
			return
		}
	}
}

// stop lets the clients end, and the door after them.
func (tr *traffic) stop() {
	tr.end()
	tr.clients.Wait()
	if tr.door != nil {
		tr.door.Close(context.Background())
		tr.door = nil
	}
}

// The whole way under clients that write, with a source that fails now and then:
// no difference is ever found that is none, and after the last write both sides
// are equal.
func TestTheWholeWayUnderTraffic(t *testing.T) {
	st := newStage(t, nil)
	st.fill(60)
	tr := st.traffic(4)
	st.proxy.SetPlan(s3fault.Mix(5, 0.05, s3fault.SlowDown, s3fault.InternalError, s3fault.ResetBefore, s3fault.ResetLost, s3fault.ResetMid, s3fault.Truncate))
	to := func(state metadata.MigrationState) {
		t.Helper()
		st.until(fmt.Sprintf("a quiet moment before %v", state), func() bool {
			s := st.status()
			if s.State == state {
				return true
			}
			if s.Step == 0 && metadata.Guard(&s.Migration, state, time.Now()) == nil {
				_, _ = st.Announce(t.Context(), ns, st.bucket, state) // the next write may be missed: then there is another moment
			}
			return false
		})
	}
	st.run(Backfill)
	to(metadata.StateShadow)
	if j := st.run(Verify); j.Counts.Faults != 0 || j.Clean.Passes < 2 {
		t.Errorf("job %+v", j)
	}
	to(metadata.StateFlipped)
	if j := st.run(Verify); j.Counts.Faults != 0 {
		t.Errorf("job %+v", j)
	}
	st.until("a certificate", func() bool {
		_, err := st.Certify(t.Context(), ns, st.bucket)
		return err == nil
	})
	to(metadata.StateCutOver)
	before := tr.done.Load()
	st.until("writes in cut-over", func() bool { return tr.done.Load() > before+20 })
	st.proxy.SetPlan(s3fault.Plan{})
	tr.stop()
	st.until("everything is repaired", func() bool { s := st.status(); return s.Entries == 0 && s.Intents == 0 })
	st.equal()
	if s := st.status(); s.Evidence.Mismatches != 0 {
		t.Errorf("%d differences were found", s.Evidence.Mismatches)
	}
	st.until("the way back", func() bool { return st.state() == metadata.StateMirror }, metadata.StateMirror)
	t.Logf("%d writes were acknowledged, %d failed", tr.done.Load(), tr.failed.Load())
}
