package worker

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
)

// restart ends the workers wherever they are, and starts others.
func (st *stage) restart() {
	st.t.Helper()
	st.Close(context.Background())
	st.start()
}

// Workers that are ended again and again, over a faulty server, come to the end,
// and what they say of it is true.
func TestWorkersThatAreEndedGoOn(t *testing.T) {
	st := newStage(t, nil)
	n, ends := 200, 6
	if *full {
		n, ends = 3000, 60
	}
	st.fill(n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	st.proxy.SetPlan(faults(9, 0.2))
	for _, job := range []string{Backfill, Verify} {
		if job == Verify {
			st.until("the state shadow", func() bool { return st.state() == metadata.StateShadow }, metadata.StateShadow)
		}
		if _, err := st.Begin(t.Context(), ns, st.bucket, job, Limits{}); err != nil {
			t.Fatal(err)
		}
		for range ends {
			wait := time.NewTimer(time.Duration(r.IntN(300)) * time.Millisecond)
			<-wait.C
			st.restart()
		}
		if j := st.wait(job); j.Counts.Faults != 0 || job == Verify && j.Clean.Passes < 2 {
			t.Errorf("%s: %+v", job, j)
		}
	}
	st.proxy.SetPlan(s3fault.Plan{})
	if got := st.equal(); got != n {
		t.Errorf("%d objects, want %d", got, n)
	}
	before := st.status().Evidence.Copied
	if st.run(Backfill); st.status().Evidence.Copied != before {
		t.Errorf("another run copied %d objects", st.status().Evidence.Copied-before)
	}
}

// A job that an operator pauses rests over restarts; one whose money is used up
// rests until there is more, and says so.
func TestJobsRest(t *testing.T) {
	st := newStage(t, nil)
	st.fill(50)
	if _, err := st.Begin(t.Context(), ns, st.bucket, Backfill, Limits{Money: 0.00002}); err != nil { // some listings, and a few reads
		t.Fatal(err)
	}
	j := st.wait(Backfill)
	if !j.Ended.IsZero() || !strings.Contains(j.Failure, "may be spent") || j.Counts.Copied >= 50 {
		t.Errorf("out of money: %+v", j)
	}
	if _, err := st.Begin(t.Context(), ns, st.bucket, Backfill, Limits{Requests: "5"}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Pause(t.Context(), ns, st.bucket, Backfill); err != nil {
		t.Fatal(err)
	}
	st.restart()
	if s := st.status(); s.Backfill.Wanted || s.Running[0] || !s.Backfill.Ended.IsZero() {
		t.Errorf("paused: %+v", s.Backfill)
	}
	if _, err := st.Begin(t.Context(), ns, st.bucket, Backfill, Limits{Bandwidth: "nonsense"}); err == nil {
		t.Error("limits that mean nothing are taken")
	}
	if j := st.run(Backfill); j.Ended.IsZero() || j.Failure != "" {
		t.Errorf("at the end: %+v", j)
	}
	st.equal()
}

// A stretch of a walk that was noted and read back is the same, and notes that
// leave a key out are not believed.
func TestNotesOfAWalk(t *testing.T) {
	s := stretch{start: "a", from: "b\x00\xff", upto: "c", done: true}
	run := runID{1, 2}
	of, got, err := parseStretch(s.encode(run))
	if err != nil || of != run || got != s {
		t.Errorf("%+v, %v", got, err)
	}
	long := string(bytes.Repeat([]byte{'x'}, 1024))
	most := stretch{start: long, from: long, upto: long}
	if b := most.encode(run); len(b) > metadata.MaxProgress {
		t.Errorf("a note of %d bytes", len(b))
	}
	for _, b := range [][]byte{nil, {1}, s.encode(run)[:20], append(s.encode(run), 0)} {
		if _, _, err := parseStretch(b); err == nil {
			t.Errorf("%x is a note", b)
		}
	}
	for i, c := range []struct {
		all  []stretch
		want bool
	}{
		{nil, false},
		{[]stretch{{upto: ""}}, true},
		{[]stretch{{upto: "m"}, {start: "m"}}, true},
		{[]stretch{{start: "m"}, {upto: "m"}}, true},
		{[]stretch{{upto: "l"}, {start: "m"}}, false},
		{[]stretch{{start: "a"}}, false},
		{[]stretch{{upto: "p"}, {start: "m", upto: "z"}, {start: "z"}}, true},
		{[]stretch{{upto: "m"}, {start: "m", upto: "z"}}, false},
	} {
		if got := covered(c.all); got != c.want {
			t.Errorf("%d: covered %v", i, got)
		}
	}
}

// What the source has missed is brought to it once the cell decides: versions,
// deletes, and writes that were lost on the way.
func TestSourceIsKeptCurrent(t *testing.T) {
	st := newStage(t, nil)
	st.fill(10)
	st.toShadow()
	st.run(Verify)
	st.until("the state flipped", func() bool { return st.state() == metadata.StateFlipped }, metadata.StateFlipped)
	st.miss("dir 1/key-001", []byte("newer in the cell"))
	st.miss("new", bytes.Repeat([]byte("n"), 100_000))
	st.missDelete("dir 2/key-002")
	parts := noise(5, 11<<20)
	st.missParts("parts", parts, 5<<20, 5<<20, 1<<20)
	st.until("repair", func() bool { s := st.status(); return s.Entries == 0 && s.Intents == 0 })
	for key, want := range map[string]string{"dir 1/key-001": "newer in the cell", "new": string(bytes.Repeat([]byte("n"), 100_000)), "dir 2/key-002": "", "parts": string(parts)} {
		if got := st.there(key); got != want {
			t.Errorf("%s is %.40q at the source, want %.40q", key, got, want)
		}
	}
	if j := st.run(Verify); j.Counts.Faults != 0 {
		t.Errorf("after repair: %+v", j)
	}
	st.until("the way back", func() bool { return st.state() == metadata.StateMirror }, metadata.StateMirror)
}

// What a door that died left half done is found, waited for, and repaired.
func TestWritesOfADoorThatDiedAreRepaired(t *testing.T) {
	st := newStage(t, nil)
	s, dead := st.cell.Store, metadata.DoorID{0xdd}
	if _, err := s.SeeDoor(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"written to the source", "written nowhere"} {
		r := metadata.IntentRequest{Bucket: st.id, Key: key, Op: holdall.PutID([]byte(key + "################")[:16]), Door: dead, Kind: metadata.IntentPut}
		r.Op[0] = byte(len(key))
		if _, err := s.TakeIntent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	st.put("written to the source", []byte("and not to the cell"), nil)
	st.cell.Advance(metadata.DoorSilence + time.Second)
	st.until("the intents lapse", func() bool { s := st.status(); return s.Intents == 0 && s.Entries == 2 })
	if got := st.read("written to the source"); got != "" {
		t.Errorf("repaired while the door's request may still land: %q", got)
	}
	st.cell.Advance(metadata.IntentLife + time.Second)
	st.until("repair", func() bool { return st.status().Entries == 0 })
	if got := st.read("written to the source"); got != "and not to the cell" {
		t.Errorf("after repair: %q", got)
	}
	st.equal()
}

// missing is a settlement that notes that the source missed a write.
func (st *stage) missing(key string) object.Settle {
	inner := st.intent(key)
	return func(ctx context.Context) (object.Settled, error) {
		s, err := inner(ctx)
		s.Miss, s.Reason = metadata.SideSource, "a test"
		return s, err
	}
}

func (st *stage) miss(key string, body []byte) {
	st.t.Helper()
	at := object.Place{Namespace: ns, Bucket: st.bucket, Key: key}
	if _, err := st.cell.Objects.Put(st.t.Context(), object.PutRequest{Place: at, Body: bytes.NewReader(body), Size: int64(len(body)), ETag: fmt.Sprintf("%x-cell", len(body)), Settle: st.missing(key)}); err != nil {
		st.t.Fatal(err)
	}
}

// missParts is miss of an object that was uploaded in parts.
func (st *stage) missParts(key string, body []byte, sizes ...int64) {
	st.t.Helper()
	var a manifest.Attributes
	a.SetParts(sizes)
	sum := newPartsMD5(&kept{attributes: a})
	sum.Write(body)
	etag := fmt.Sprintf("%x-%d", sum.Sum(nil), len(sizes))
	at := object.Place{Namespace: ns, Bucket: st.bucket, Key: key}
	if _, err := st.cell.Objects.Put(st.t.Context(), object.PutRequest{Place: at, Body: bytes.NewReader(body), Size: int64(len(body)), ETag: etag, Attributes: a, Settle: st.missing(key)}); err != nil {
		st.t.Fatal(err)
	}
	st.until("repair of what has parts", func() bool { return st.status().Entries == 0 })
	out, err := st.direct.HeadObject(st.t.Context(), &s3.HeadObjectInput{Bucket: &st.bucket, Key: &key})
	if err != nil || strings.Trim(*out.ETag, `"`) != etag {
		st.t.Errorf("%s: %+v, %v, want the ETag %s", key, out, err, etag)
	}
}

func (st *stage) missDelete(key string) {
	st.t.Helper()
	at := object.Place{Namespace: ns, Bucket: st.bucket, Key: key}
	if _, err := st.cell.Objects.Delete(st.t.Context(), object.DeleteRequest{Place: at, Always: true, Settle: st.missing(key)}); err != nil {
		st.t.Fatal(err)
	}
}
