package worker

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/certificate"
	"github.com/holdall/holdall/migration/s3fault"
)

// toShadow brings the bucket to shadow, with all that is at the source.
func (st *stage) toShadow() {
	st.t.Helper()
	st.run(Backfill)
	st.until("the state shadow", func() bool { return st.state() == metadata.StateShadow }, metadata.StateShadow)
}

// From source to certificate, over a source that spoils a fifth of what it is
// asked: nothing is believed that was not read.
func TestCertificateOfABucketThatIsRead(t *testing.T) {
	st := newStage(t, nil)
	st.fill(60)
	st.put("empty", nil, nil)
	st.toShadow()
	st.proxy.SetPlan(faults(3, 0.2))
	if j := st.run(Verify); j.Counts.Faults != 0 || j.Clean.Passes < metadata.CleanPasses || j.Counts.Copied != 61 {
		t.Fatalf("job %+v", j)
	}
	st.proxy.SetPlan(s3fault.Plan{})
	if _, err := st.Certify(t.Context(), ns, st.bucket); !errors.Is(err, holdall.ErrRefused) {
		t.Errorf("certificate before the flip: %v", err)
	}
	st.until("the state flipped", func() bool { return st.state() == metadata.StateFlipped }, metadata.StateFlipped)
	st.write("dir 0/key-000", []byte("written to both"))
	st.put("dir 0/key-000", []byte("written to both"), nil)
	c, err := st.Certify(t.Context(), ns, st.bucket)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Statement; s.Objects != 61 || s.Verified != 60 || s.Mirrored != 1 || s.Passes != 2 {
		t.Errorf("statement %+v", s)
	}
	signed, err := os.ReadFile(c.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := certificate.Verify(signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := os.ReadFile(c.Leaves)
	if err != nil {
		t.Fatal(err)
	}
	total, err := certificate.ReadLeaves(bytes.NewReader(leaves), nil)
	if err != nil || s.Matches(total) != nil {
		t.Errorf("%v, %v", err, s.Matches(total))
	}
	leaves[len(leaves)-1] ^= 1
	if total, err = certificate.ReadLeaves(bytes.NewReader(leaves), nil); err == nil && s.Matches(total) == nil {
		t.Error("an edited leaf is as good as any")
	}
	key, err := os.Stat(filepath.Join(st.dir, keyName))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("key %v, %v", key, err)
	}
	st.until("the state cut-over", func() bool { return st.state() == metadata.StateCutOver }, metadata.StateCutOver)
}

// One byte on either side is found and named, the clock starts again, and the step
// is refused; then the side that follows is repaired.
func TestVerificationNamesWhatDiffers(t *testing.T) {
	var held atomic.Bool // repair would come in between
	st := newStage(t, func(c *Config) { c.Outbox = heldOutbox{c.Outbox, &held} })
	st.fill(20)
	for _, key := range []string{"cell", "source", "tagged", "gone", "extra"} {
		st.put(key, bytes.Repeat([]byte(key), 1000), nil)
	}
	st.toShadow()
	if j := st.run(Verify); j.Counts.Faults != 0 {
		t.Fatalf("job %+v", j)
	}
	clean := st.status().Evidence.CleanSince
	st.rot("cell")
	st.flip("source")
	st.tag("tagged")
	st.write("extra two", []byte("the source has never seen this"))
	if _, err := st.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &st.bucket, Key: aws.String("gone")}); err != nil {
		t.Fatal(err)
	}
	held.Store(true)
	j := st.run(Verify)
	if j.Counts.Faults != 5 || j.Wanted {
		t.Errorf("job %+v", j)
	}
	entries, err := st.Outbox(t.Context(), ns, st.bucket, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, e := range entries {
		named = append(named, e.Key)
	}
	if got := strings.Join(named, ","); got != "cell,extra two,gone,source,tagged" {
		t.Errorf("named %s", got)
	}
	s := st.status()
	if s.Next == nil || s.Evidence.Mismatches != 5 || !s.Evidence.CleanSince.After(clean) || s.Evidence.Passes != 0 {
		t.Errorf("status %+v", s)
	}
	st.counted(map[string]float64{"holdall_migration_differences_total": 5, "holdall_migration_outbox_keys": 5, "holdall_migration_state": 3, "holdall_migration_copied_objects_total": 25})
	held.Store(false)
	st.until("repair", func() bool { return st.status().Entries == 0 })
	st.equal()
	if j := st.run(Verify); j.Counts.Faults != 0 || j.Clean.Passes != 2 {
		t.Errorf("after repair: %+v", j)
	}
}

// counted fails the test unless metrics have these values.
func (st *stage) counted(want map[string]float64) {
	st.t.Helper()
	families, err := st.cfg.Registerer.(prometheus.Gatherer).Gather()
	if err != nil {
		st.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			got[f.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, v := range want {
		if got[name] != v {
			st.t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
}

// heldOutbox has nothing due while it is held.
type heldOutbox struct {
	Outbox
	held *atomic.Bool
}

func (h heldOutbox) DueEntries(b holdall.BucketID, now time.Time, limit int) ([]metadata.Entry, error) {
	if h.held.Load() {
		return nil, nil
	}
	return h.Outbox.DueEntries(b, now, limit)
}

// rot changes a byte of what the cell has, under the same name and ETag.
func (st *stage) rot(key string) {
	st.t.Helper()
	o, err := st.cell.Store.Object(st.t.Context(), st.id, key)
	if err != nil {
		st.t.Fatal(err)
	}
	body := bytes.Repeat([]byte(key), 1000)
	body[500] ^= 1
	_, err = st.cell.Objects.Put(st.t.Context(), object.PutRequest{Place: object.Place{Namespace: ns, Bucket: st.bucket, Key: key}, Body: bytes.NewReader(body), Size: int64(len(body)),
		ETag: o.ETag, Modified: o.Modified, Settle: st.intent(key)})
	if err != nil {
		st.t.Fatal(err)
	}
}

// flip changes a byte of the source's file, behind the server's back.
func (st *stage) flip(key string) {
	st.t.Helper()
	path := filepath.Join(st.server.Root(), st.bucket, key)
	b, err := os.ReadFile(path)
	if err != nil {
		st.t.Fatal(err)
	}
	was, err := os.Stat(path)
	if err != nil {
		st.t.Fatal(err)
	}
	b[500] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		st.t.Fatal(err)
	}
	_, err = f.WriteAt(b[500:501], 500)
	if err := errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, was.ModTime())); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) tag(key string) {
	st.t.Helper()
	_, err := st.direct.PutObjectTagging(st.t.Context(), &s3.PutObjectTaggingInput{Bucket: &st.bucket, Key: &key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}})
	if err != nil {
		st.t.Fatal(err)
	}
}

// there returns what the source holds, "" for nothing.
func (st *stage) there(key string) string {
	st.t.Helper()
	out, err := st.direct.GetObject(st.t.Context(), &s3.GetObjectInput{Bucket: &st.bucket, Key: &key})
	var none *types.NoSuchKey
	if errors.As(err, &none) {
		return ""
	}
	if err != nil {
		st.t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		st.t.Fatal(err)
	}
	return string(b)
}
