package door

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
)

var (
	histories = flag.Int("histories", 1, "how many random histories are checked")
	calls     = flag.Int("calls", 150, "the most calls of each client of a history")
	steps     = flag.Int("steps", 6, "steps of the migration after which a history ends")
	kills     = flag.Bool("kills", false, "kill the S3 server at times")
	oneSeed   = flag.Uint64("seed", 0, "check this history alone")
)

// input is what a client asked of a key; output what it was told. Values are
// unique; 0 is no object.
type input struct {
	key   string
	write bool
	value int
	call  string
}

// register is one key: a read returns what was written last.
func register() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			by := map[string][]porcupine.Operation{}
			for _, o := range history {
				by[o.Input.(input).key] = append(by[o.Input.(input).key], o)
			}
			for _, p := range by {
				parts = append(parts, p)
			}
			return parts
		},
		Init: func() any { return 0 },
		Step: func(state, in, out any) (bool, any) {
			if in.(input).write {
				return true, in.(input).value
			}
			return state == out, state
		},
	}
}

// history is what clients saw.
type history struct {
	began time.Time

	mu     sync.Mutex // guards all below
	ops    []porcupine.Operation
	values []string       // by number
	etags  map[string]int // of the values
	failed map[string]int // calls by what they were and why not
}

func (h *history) now() int64 { return time.Since(h.began).Nanoseconds() }

// value makes up an object that nobody has written before. All of a key have one
// length: the S3 server of the tests may say the length of one and give the bytes
// of the next.
func (h *history) value(key string, size int) (int, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.values)
	text := fmt.Sprintf("%s %d ", key, n)
	text += strings.Repeat("x", size-len(text))
	h.values = append(h.values, text)
	sum := md5.Sum([]byte(text))
	h.etags[hex.EncodeToString(sum[:])] = n
	h.etags[ofParts(sum[:])] = n
	return n, text
}

// ofParts is S3's ETag of an object of one part.
func ofParts(part []byte) string {
	sum := md5.Sum(part)
	return hex.EncodeToString(sum[:]) + "-1"
}

func (h *history) add(client int, in input, call int64, out int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: h.now()}
	if err != nil {
		h.failed[in.call+": "+outcomeOf(err)]++
		if !in.write {
			return
		}
		o.Return = math.MaxInt64 // it may have been done, at any time, or never
	}
	h.ops = append(h.ops, o)
}

// check returns the keys whose history no single register could have.
func (h *history) check(t *testing.T) {
	t.Helper()
	seen := map[int]bool{}
	for _, o := range h.ops {
		if !o.Input.(input).write {
			seen[o.Output.(int)] = true
		}
	}
	// What may have been done and nobody ever saw explains nothing.
	ops := slices.DeleteFunc(h.ops, func(o porcupine.Operation) bool {
		in := o.Input.(input)
		return in.write && o.Return == math.MaxInt64 && in.value != 0 && !seen[in.value]
	})
	for _, part := range register().Partition(ops) {
		key := part[0].Input.(input).key
		switch porcupine.CheckOperationsTimeout(porcupine.Model{Init: register().Init, Step: register().Step}, part, 20*time.Second) {
		case porcupine.Illegal:
			slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			for _, o := range part {
				t.Logf("%s client %d: %+v -> %v [%.3f, %.3f]", key, o.ClientId, o.Input, o.Output, float64(o.Call)/1e6, float64(o.Return)/1e6)
			}
			t.Errorf("the history of %q is not that of one object", key)
		case porcupine.Unknown:
			t.Errorf("the history of %q could not be checked in time", key)
		}
	}
}

// stage is a history in the making.
type stage struct {
	*rig
	doors []*Door
	h     *history
	sizes map[string]int
	keys  []string
}

// call makes one random call.
func (s *stage) call(client int, rnd *rand.Rand) {
	key := s.keys[rnd.IntN(len(s.keys))]
	d := s.doors[rnd.IntN(len(s.doors))]
	ctx := context.Background()
	call := s.h.now()
	switch p := rnd.IntN(100); {
	case p < 5:
		n, text := s.h.value(key, s.sizes[key])
		call = s.h.now()
		err := s.upload(ctx, d, key, text)
		s.h.add(client, input{key, true, n, "upload"}, call, 0, err)
	case p < 40:
		n, text := s.h.value(key, s.sizes[key])
		call = s.h.now()
		sum := md5.New()
		_, err := d.Put(ctx, object.PutRequest{Place: at(key), Body: io.TeeReader(strings.NewReader(text), sum), Size: int64(len(text)),
			Finish: func(f object.Finished) (object.Finished, error) {
				f.ETag = hex.EncodeToString(sum.Sum(nil))
				return f, nil
			}})
		s.h.add(client, input{key, true, n, "put"}, call, 0, err)
	case p < 52:
		_, err := d.Delete(ctx, object.DeleteRequest{Place: at(key)})
		s.h.add(client, input{key, true, 0, "delete"}, call, 0, err)
	case p < 80:
		n, err := s.get(ctx, d, key)
		s.h.add(client, input{key: key, call: "get"}, call, n, err)
	case p < 92:
		o, err := d.Head(ctx, at(key), 0)
		n := 0
		if errors.Is(err, object.ErrNoKey) {
			err = nil
		} else if err == nil {
			n = s.number(o.ETag)
		}
		s.h.add(client, input{key: key, call: "head"}, call, n, err)
	default:
		p, err := d.List(ctx, ns, name, metadata.ListQuery{})
		for _, k := range s.keys {
			n := 0
			if i := slices.IndexFunc(p.Objects, func(o metadata.Object) bool { return o.Key == k }); i >= 0 {
				n = s.number(p.Objects[i].ETag)
			}
			s.h.add(client, input{key: k, call: "list"}, call, n, err)
		}
	}
}

// upload puts an object in one part. Its calls may go through different doors.
func (s *stage) upload(ctx context.Context, d *Door, key, text string) error {
	u, err := d.CreateUpload(ctx, object.UploadRequest{UploadPlace: object.UploadPlace{Place: at(key)}})
	if err != nil {
		return err
	}
	place, sum := object.UploadPlace{Place: at(key), Upload: u.ID}, md5.Sum([]byte(text))
	_, err = s.doors[0].PutPart(ctx, object.PartRequest{UploadPlace: place, Number: 1, Body: strings.NewReader(text), Size: int64(len(text)), ETag: hex.EncodeToString(sum[:])})
	if err != nil {
		return err
	}
	_, err = d.Complete(ctx, object.CompleteRequest{UploadPlace: place, Parts: []object.CompletedPart{{Number: 1}},
		Finish: func(_ []metadata.Part, f object.Finished) (object.Finished, error) {
			f.ETag = ofParts(sum[:])
			return f, nil
		}})
	return err
}

func (s *stage) number(etag string) int {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	n, ok := s.h.etags[etag]
	if !ok {
		s.t.Errorf("ETag %q is of nothing that was ever put", etag)
	}
	return n
}

func (s *stage) get(ctx context.Context, d *Door, key string) (int, error) {
	rd, err := d.Open(ctx, at(key), object.GetOptions{})
	if errors.Is(err, object.ErrNoKey) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	if err != nil {
		return 0, err
	}
	sum := md5.Sum(b)
	return s.number(hex.EncodeToString(sum[:])), nil
}

// spoil makes both sides fail at times.
func (s *stage) spoil(seed uint64, unconditional bool) {
	kinds := []s3fault.Kind{s3fault.SlowDown, s3fault.InternalError, s3fault.TooManyRequests, s3fault.AccessDenied, s3fault.ResetBefore, s3fault.ResetLost,
		s3fault.ResetMid, s3fault.Truncate, s3fault.WrongLength, s3fault.SlowListing, s3fault.TruncateListing}
	if unconditional {
		// The S3 server of the tests looks at If-Match first and writes later: a late
		// PUT could land between.
		kinds = append(kinds, s3fault.LatePut)
	}
	plan := s3fault.Mix(seed, 0.25, kinds...)
	plan.Late, plan.Slow = 450*time.Millisecond, 20*time.Millisecond
	s.proxy.SetPlan(plan)
	rnd := rand.New(rand.NewPCG(seed, 7))
	s.faults.set(func(string) fault {
		switch rnd.IntN(40) {
		case 0:
			return notDone
		case 1:
			return doneLost
		}
		return noFault
	})
}

// walk takes steps there and back until ctx ends, and keeps the outbox short. It
// calls enough when there were as many as are wanted.
func (s *stage) walk(ctx context.Context, rnd *rand.Rand, enough func()) (taken map[string]int) {
	taken = map[string]int{}
	total := 0
	back := false
	for ctx.Err() == nil {
		_ = s.repairAll(context.Background(), s.doors[0]) // what fails is due again
		m, err := s.cell.Store.MigrationStatus(s.bucket)
		if err != nil {
			s.t.Error(err)
			return taken
		}
		to := m.State + 1
		switch {
		case m.State == metadata.StateCutOver:
			back = true
		case m.State == metadata.StateMirror:
			back = false
		}
		if back {
			to = m.State - 1 - metadata.MigrationState(rnd.IntN(2))
			to = max(to, metadata.StateMirror)
		}
		s.evidence(&m, to)
		if err := s.step(to); err == nil {
			taken[fmt.Sprint(m.State, " to ", to)]++
			if total++; total == *steps {
				enough()
			}
		} else if !errors.Is(err, holdall.ErrRefused) && ctx.Err() == nil {
			s.t.Logf("step to %v: %v", to, err)
		}
		_ = pause(ctx, time.Duration(rnd.IntN(150))*time.Millisecond)
		if *kills && rnd.IntN(3) == 0 {
			s.kill(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
	}
	return taken
}

// kill ends the S3 server as kill -9 does, and starts it again.
func (s *stage) kill(down time.Duration) {
	srv, err := server()
	if err != nil {
		s.t.Error(err)
		return
	}
	srv.Kill()
	_ = pause(context.Background(), down)
	if err := srv.Restart(context.Background()); err != nil {
		s.t.Error(err)
	}
}

func TestNobodySeesAnOlderVersionWhateverFails(t *testing.T) {
	seeds := []uint64{*oneSeed}
	if *oneSeed == 0 {
		seeds = nil
		for range *histories {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for i, seed := range seeds {
		t.Run(fmt.Sprint(i), func(t *testing.T) { checkHistory(t, seed) })
	}
}

func checkHistory(t *testing.T, seed uint64) {
	unconditional := seed%2 == 0
	r := newRig(t, options{seed: seed, timeout: 300 * time.Millisecond, life: 400 * time.Millisecond, drain: 2 * time.Millisecond, unconditional: unconditional, policy: metadata.MissPolicy(1 + seed/2%2)})
	s := &stage{rig: r, doors: []*Door{r.Door, r.another()}, keys: []string{"a", "b", "c/d"}, sizes: map[string]int{"a": 40, "b": 100_000, "c/d": 30_000},
		h: &history{began: time.Now(), values: []string{""}, etags: map[string]int{}, failed: map[string]int{}}}
	r.to(metadata.StateMirror)
	s.spoil(seed, unconditional)
	walking, stop := context.WithCancel(context.Background())
	var walker, clients sync.WaitGroup
	calling, enough := context.WithCancel(context.Background())
	defer enough()
	var taken map[string]int
	walker.Go(func() { taken = s.walk(walking, rand.New(rand.NewPCG(seed, 9)), enough) })
	for c := range 6 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+c)))
			for range *calls {
				s.call(c, rnd)
				if pause(calling, time.Duration(rnd.IntN(12))*time.Millisecond) != nil {
					return
				}
			}
		})
	}
	clients.Wait()
	stop()
	walker.Wait()
	r.proxy.SetPlan(s3fault.Plan{})
	r.faults.set(nil)
	s.settle()
	for _, key := range s.keys {
		call := s.h.now()
		n, err := s.get(t.Context(), r.Door, key)
		if err != nil {
			t.Errorf("read of %q at the end: %v", key, err)
		}
		s.h.add(99, input{key: key}, call, n, err)
		r.both(key, s.h.values[n]+strings.Repeat("-", max(0, 1-n)))
	}
	t.Logf("unconditional %t, steps %v, faults %v, failed calls %v, %d calls recorded", unconditional, taken, r.proxy.Counts(), s.h.failed, len(s.h.ops))
	s.h.check(t)
}

// settle repairs until both sides are equal as far as the outbox knows.
func (s *stage) settle() {
	s.t.Helper()
	var err error
	for range 1000 {
		err = s.repairAll(context.Background(), s.doors[0])
		m, e := s.cell.Store.MigrationStatus(s.bucket)
		if e != nil {
			s.t.Fatal(e)
		}
		if m.Entries == 0 && m.Intents == 0 {
			return
		}
		_ = pause(context.Background(), 20*time.Millisecond)
	}
	s.t.Errorf("the outbox does not become empty: %v", err)
}

// another is a second door of the same cell.
func (r *rig) another() *Door {
	r.t.Helper()
	cfg := r.cfg
	cfg.Registerer = nil
	d, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	d.Start()
	r.t.Cleanup(func() { d.Close(context.Background()) })
	return d
}
