package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/s3fault"
)

// completed uploads the parts of an upload.
func completed(st *stage, key, id string, body []byte, sizes []int) *types.CompletedMultipartUpload {
	st.t.Helper()
	done := &types.CompletedMultipartUpload{}
	for i, size := range sizes {
		n := aws.Int32(int32(i + 1))
		out, err := st.direct.UploadPart(st.t.Context(), &s3.UploadPartInput{Bucket: &st.bucket, Key: &key, UploadId: &id, PartNumber: n, Body: bytes.NewReader(body[:size])})
		if err != nil {
			st.t.Fatal(err)
		}
		done.Parts = append(done.Parts, types.CompletedPart{ETag: out.ETag, PartNumber: n})
		body = body[size:]
	}
	return done
}

// fill puts objects of all kinds at the source.
func (st *stage) fill(n int) {
	for i := range n {
		st.put(fmt.Sprintf("dir %d/key-%03d", i%7, i), noise(uint64(i), i*i*37%20_000), func(in *s3.PutObjectInput) {
			if i%3 == 0 {
				in.ContentType, in.CacheControl = aws.String("text/plain"), aws.String("no-store")
				in.Metadata = map[string]string{"Owner": fmt.Sprint("o", i)}
			}
			if i%5 == 0 {
				in.Tagging = aws.String("team=a&n=" + fmt.Sprint(i))
			}
		})
	}
}

func TestBackfillOverAFaultyServer(t *testing.T) {
	st := newStage(t, nil)
	n, seed := 300, uint64(1)
	if *full {
		n = 3000
	}
	st.fill(n)
	st.put("empty", nil, nil)
	body := noise(99, 13<<20)
	st.multipart("multi", body, 5<<20, 6<<20, 2<<20)
	st.multipart("even", body[:12<<20], 5<<20, 5<<20, 2<<20)
	st.proxy.SetPlan(faults(seed, 0.2))
	j := st.run(Backfill)
	kinds := 0
	for k, hits := range st.proxy.Counts() {
		if k != s3fault.None && hits > 0 {
			kinds++
		}
	}
	if kinds < 12 {
		t.Errorf("%d kinds of faults were injected: %v", kinds, st.proxy.Counts())
	}
	st.proxy.SetPlan(s3fault.Plan{})
	if got := st.equal(); got != n+3 {
		t.Errorf("%d objects, want %d", got, n+3)
	}
	s := st.status()
	if s.Quarantined != 0 || s.Evidence.Copied != int64(n+3) || s.Evidence.Backfilled.IsZero() || s.Evidence.CaughtUp.IsZero() || j.Pass < 1 {
		t.Errorf("status %+v", s)
	}
	st.keepsParts("multi", 5<<20, 6<<20, 2<<20)
	st.keepsParts("even", 5<<20, 5<<20, 2<<20)
	copied := s.Evidence.CopiedBytes
	if j = st.run(Backfill); j.Counts.Copied != 0 || st.status().Evidence.CopiedBytes != copied {
		t.Errorf("a second run copied %d objects", j.Counts.Copied)
	}
}

func (st *stage) keepsParts(key string, sizes ...int64) {
	st.t.Helper()
	o, err := st.cell.Store.Object(st.t.Context(), st.id, key)
	if err != nil {
		st.t.Fatal(err)
	}
	a, err := manifest.ParseAttributes(o.Attributes)
	if err != nil {
		st.t.Fatal(err)
	}
	for i, size := range sizes {
		if _, got, ok := a.Part(i + 1); !ok || got != size {
			st.t.Errorf("%s: part %d of %d bytes, %v, want %d", key, i+1, got, ok, size)
		}
	}
}

// What cannot be kept is said, key by key, and an operator has to sign it off.
func TestWhatIsNotKeptIsInQuarantine(t *testing.T) {
	st := newStage(t, nil)
	st.put("plain", []byte("x"), nil)
	st.put("redirect", []byte("y"), func(in *s3.PutObjectInput) { in.WebsiteRedirectLocation = aws.String("/elsewhere") })
	st.run(Backfill)
	q, err := st.Quarantine(t.Context(), ns, st.bucket, "", 10)
	if err != nil || len(q) != 1 || q[0].Key != "redirect" {
		t.Fatalf("quarantine %+v, %v", q, err)
	}
	if s := st.status(); s.Next == nil {
		t.Error("the step to shadow is open")
	}
	if err := st.Except(t.Context(), ns, st.bucket, metadata.Exception{Key: "redirect", Reason: "not used any more", SignedBy: "ops"}); err != nil {
		t.Fatal(err)
	}
	st.run(Backfill)
	if s := st.status(); s.Quarantined != 0 || s.Exceptions != 1 || s.Next != nil {
		t.Errorf("status %+v", s)
	}
}

// Objects without an ETag cannot be pinned: of those, only empty ones are copied,
// once.
func TestObjectsWithoutETag(t *testing.T) {
	st := newStage(t, nil)
	for name, body := range map[string]string{"empty": "", "not empty": "x"} {
		if err := os.WriteFile(filepath.Join(st.server.Root(), st.bucket, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if j := st.run(Backfill); j.Counts.Same != 1 || j.Counts.Faults != 1 {
		t.Errorf("job %+v", j)
	}
	if q, err := st.Quarantine(t.Context(), ns, st.bucket, "", 10); err != nil || len(q) != 1 || q[0].Key != "not empty" {
		t.Errorf("quarantine %+v, %v", q, err)
	}
}

// What clients wrote to the cell meanwhile is never overwritten, what the source
// holds anew is.
func TestBackfillWritesOnlyOverWhatItWrote(t *testing.T) {
	st := newStage(t, nil)
	for _, key := range []string{"client", "deleted", "older", "still"} {
		st.put(key, []byte("first "+key), nil)
	}
	st.run(Backfill)
	st.write("client", []byte("second"))
	st.remove("deleted")
	st.put("older", []byte("changed at the source"), nil)
	st.put("new", []byte("new at the source"), nil)
	j := st.run(Backfill)
	if j.Counts.Copied != 0 || j.Pass == 0 { // the last pass
		t.Errorf("job %+v", j)
	}
	for key, want := range map[string]string{"client": "second", "older": "changed at the source", "new": "new at the source", "still": "first still", "deleted": ""} {
		if got := st.read(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// write puts an object into the cell as a door does, without the source.
func (st *stage) write(key string, body []byte) {
	st.t.Helper()
	how := st.intent(key)
	_, err := st.cell.Objects.Put(st.t.Context(), object.PutRequest{Place: object.Place{Namespace: ns, Bucket: st.bucket, Key: key}, Body: bytes.NewReader(body), Size: int64(len(body)), Settle: how})
	if err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) remove(key string) {
	st.t.Helper()
	how := st.intent(key)
	if _, err := st.cell.Objects.Delete(st.t.Context(), object.DeleteRequest{Place: object.Place{Namespace: ns, Bucket: st.bucket, Key: key}, Always: true, Settle: how}); err != nil {
		st.t.Fatal(err)
	}
}

// intent takes the intent of a write that both sides have, and ends it with that.
func (st *stage) intent(key string) object.Settle {
	st.t.Helper()
	op := holdall.PutID(noise(uint64(len(key)), 16))
	op[0] = byte(st.ops)
	st.ops++
	g, err := st.cell.Store.TakeIntent(st.t.Context(), metadata.IntentRequest{Bucket: st.id, Key: key, Op: op, Door: st.door, Kind: metadata.IntentPut})
	if err != nil {
		st.t.Fatal(err)
	}
	return func(context.Context) (object.Settled, error) {
		return object.Settled{Settlement: metadata.Settlement{Op: op, Number: g.Migration.Number, End: true}}, nil
	}
}

// read returns what the cell holds, "" for nothing.
func (st *stage) read(key string) string {
	st.t.Helper()
	rd, err := st.cell.Objects.Open(st.t.Context(), object.Place{Namespace: ns, Bucket: st.bucket, Key: key}, object.GetOptions{})
	if errors.Is(err, holdall.ErrNotFound) {
		return ""
	}
	if err != nil {
		st.t.Fatal(err)
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	if err != nil {
		st.t.Fatal(err)
	}
	return string(b)
}
