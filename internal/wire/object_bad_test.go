package wire

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/manifest"
	"github.com/holdall/holdall/internal/object"
	"github.com/holdall/holdall/metadata"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// swallowing reads every body and keeps none.
type swallowing struct{ *fakeObjects }

func (s swallowing) Put(_ context.Context, r object.PutRequest) (metadata.Object, error) {
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r.Body}, make([]byte, 256<<10))
	if err == nil {
		_, err = r.Finish(object.Finished{Size: n})
	}
	return metadata.Object{Key: r.Key, Version: 1, Size: n}, err
}

// putMessages sends messages as they are and returns what the server says.
func putMessages(ctx context.Context, c holdallv1.ObjectServiceClient, messages ...*holdallv1.PutObjectRequest) error {
	stream, err := c.Put(ctx)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			break // the answer says why
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func TestBadPutsOfObjectsAreRefused(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := holdallv1.NewObjectServiceClient(f.plain()), f.ctx()
	first := func(change func(*holdallv1.PutObjectHead)) *holdallv1.PutObjectRequest {
		h := &holdallv1.PutObjectHead{Bucket: "bucket", Key: []byte("k")}
		change(h)
		return &holdallv1.PutObjectRequest{Head: h, Data: []byte("abc")}
	}
	good := func() *holdallv1.PutObjectRequest { return first(func(*holdallv1.PutObjectHead) {}) }
	text := func(set func(*holdallv1.ObjectAttributes)) *holdallv1.PutObjectRequest {
		return first(func(h *holdallv1.PutObjectHead) { h.Attributes = &holdallv1.ObjectAttributes{}; set(h.Attributes) })
	}
	field := func(name, value string) *holdallv1.PutObjectRequest {
		return text(func(a *holdallv1.ObjectAttributes) {
			a.Metadata = []*holdallv1.ObjectAttributes_Field{{Name: name, Value: []byte(value)}}
		})
	}
	sum := good()
	sum.Crc32C = proto.Uint32(7)
	right := &holdallv1.PutObjectRequest{Crc32C: proto.Uint32(0x364b3fb7)}
	list := func(m ...*holdallv1.PutObjectRequest) []*holdallv1.PutObjectRequest { return m }
	for name, bad := range map[string]struct {
		messages []*holdallv1.PutObjectRequest
		says     string
	}{
		"nothing":             {nil, "without a head"},
		"no head":             {list(&holdallv1.PutObjectRequest{Data: []byte("x")}), "no head"},
		"two heads":           {list(good(), good()), "not the first"},
		"a wrong checksum":    {list(sum), "CRC-32C"},
		"data after the end":  {list(good(), right, &holdallv1.PutObjectRequest{Data: []byte("x")}), "after the one with the checksum"},
		"4 MiB + 1":           {list(good(), &holdallv1.PutObjectRequest{Data: make([]byte, holdall.MaxBlockSize+1)}), "4194305"},
		"fewer than said":     {list(first(func(h *holdallv1.PutObjectHead) { h.Size = proto.Uint64(4) })), "ended early"},
		"more than there may": {list(first(func(h *holdallv1.PutObjectHead) { h.Size = proto.Uint64(math.MaxUint64) })), "at most"},
		"no bucket":           {list(first(func(h *holdallv1.PutObjectHead) { h.Bucket = "" })), "bucket name"},
		"a bad bucket":        {list(first(func(h *holdallv1.PutObjectHead) { h.Bucket = "../etc" })), "bucket name"},
		"no key":              {list(first(func(h *holdallv1.PutObjectHead) { h.Key = nil })), "key"},
		"a long key":          {list(first(func(h *holdallv1.PutObjectHead) { h.Key = make([]byte, holdall.MaxKeySize+1) })), "1025 bytes"},
		"a short put id":      {list(first(func(h *holdallv1.PutObjectHead) { h.PutId = []byte("short") })), "put id"},
		"a put id of zeros":   {list(first(func(h *holdallv1.PutObjectHead) { h.PutId = make([]byte, 16) })), "zeros"},
		"no namespace":        {list(first(func(h *holdallv1.PutObjectHead) { h.Namespace = "nowhere" })), "nowhere"},
		"the cell's own":      {list(first(func(h *holdallv1.PutObjectHead) { h.Namespace = "system" })), "system"},
		"absent with an etag": {list(first(func(h *holdallv1.PutObjectHead) { h.Condition = &holdallv1.Condition{Absent: true, Etag: "x"} })), "condition"},
		"a long etag":         {list(first(func(h *holdallv1.PutObjectHead) { h.Condition = &holdallv1.Condition{Etag: strings.Repeat("x", 129)} })), "129"},
		"a line's end":        {list(text(func(a *holdallv1.ObjectAttributes) { a.ContentType = "a\r\nb: c" })), "control"},
		"checksums":           {list(text(func(a *holdallv1.ObjectAttributes) { a.Checksums = make([]*holdallv1.ObjectAttributes_Checksum, 1) })), "checksums"},
		"parts":               {list(text(func(a *holdallv1.ObjectAttributes) { a.Parts = 1 })), "parts"},
		"a name that is none": {list(field("a b", "x")), "metadata"},
		"no name":             {list(field("", "x")), "metadata"},
		"a value of lines":    {list(field("a", "x\ny")), "control"},
		"much metadata":       {list(field("a", strings.Repeat("x", holdall.MaxUserMetadata))), "user metadata"},
		"many names":          {list(text(func(a *holdallv1.ObjectAttributes) { a.Metadata = make([]*holdallv1.ObjectAttributes_Field, 3000) })), "3000"},
		"many tags":           {list(first(func(h *holdallv1.PutObjectHead) { h.Tags = make([]*holdallv1.Tag, holdall.MaxTags+1) })), "tags"},
		"a tag twice":         {list(first(func(h *holdallv1.PutObjectHead) { h.Tags = []*holdallv1.Tag{{Key: "a"}, {Key: "a"}} })), "twice"},
		"a tag without a key": {list(first(func(h *holdallv1.PutObjectHead) { h.Tags = []*holdallv1.Tag{{Value: "a"}} })), "key"},
	} {
		err := putMessages(ctx, c, bad.messages...)
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), bad.says) {
			t.Errorf("%s: %v %q, want INVALID_ARGUMENT with %q", name, s.Code(), s.Message(), bad.says)
		}
	}
	checkLimitsOfPuts(t, f, good())
	if n := f.things.visible(); n != 0 {
		t.Errorf("%d objects are visible", n)
	}
	if err := putMessages(ctx, c, good(), right); err != nil {
		t.Errorf("a good one, by another client: %v", err)
	}
}

func checkLimitsOfPuts(t *testing.T, f *front, good *holdallv1.PutObjectRequest) {
	t.Helper()
	c, ctx := holdallv1.NewObjectServiceClient(f.plain()), f.ctx()
	if err := putMessages(sized(ctx, "2"), c, good); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "said at most 2") {
		t.Errorf("more than the header said: %v", err)
	}
	if err := putMessages(ctx, c, &holdallv1.PutObjectRequest{Data: make([]byte, 5<<20)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over the message limit: %v", err)
	}
}

func TestBadRequestsForObjectsAreRefused(t *testing.T) {
	f := newFront(t, nil)
	conn, ctx := f.plain(), f.ctx()
	c, a := holdallv1.NewObjectServiceClient(conn), holdallv1.NewAdminServiceClient(conn)
	long := make([]byte, holdall.MaxKeySize+1)
	get := func(in *holdallv1.GetObjectRequest) error {
		stream, err := c.Get(ctx, in)
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	of := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"get without a key":     get(&holdallv1.GetObjectRequest{Bucket: "bucket"}),
		"get far away":          get(&holdallv1.GetObjectRequest{Bucket: "bucket", Key: []byte("k"), Offset: math.MaxInt64}),
		"get far below":         get(&holdallv1.GetObjectRequest{Bucket: "bucket", Key: []byte("k"), Offset: math.MinInt64}),
		"head of a long key":    of(c.Head(ctx, &holdallv1.HeadObjectRequest{Bucket: "bucket", Key: long})),
		"list of a long prefix": of(c.List(ctx, &holdallv1.ListObjectsRequest{Bucket: "bucket", Prefix: long})),
		"list, rolled versions": of(c.List(ctx, &holdallv1.ListObjectsRequest{Bucket: "bucket", Versions: true, Delimiter: []byte("/")})),
		"list after a version":  of(c.List(ctx, &holdallv1.ListObjectsRequest{Bucket: "bucket", AfterVersion: 1})),
		"list of no bucket":     of(c.List(ctx, &holdallv1.ListObjectsRequest{})),
		"buckets after much":    of(c.ListBuckets(ctx, &holdallv1.ListBucketsRequest{After: strings.Repeat("x", 256)})),
		"a bucket's name":       of(c.CreateBucket(ctx, &holdallv1.CreateBucketRequest{Bucket: "A"})),
		"removal of no name":    of(c.RemoveBucket(ctx, &holdallv1.RemoveBucketRequest{})),
		"copy of nothing":       of(c.Copy(ctx, &holdallv1.CopyObjectRequest{Bucket: "bucket", Key: []byte("k")})),
		"copy with parts": of(c.Copy(ctx, &holdallv1.CopyObjectRequest{Bucket: "bucket", Key: []byte("k"), FromBucket: "bucket", FromKey: []byte("k"),
			Attributes: &holdallv1.ObjectAttributes{Parts: 1}})),
		"many tags":              of(c.SetTags(ctx, &holdallv1.SetObjectTagsRequest{Bucket: "bucket", Key: []byte("k"), Tags: make([]*holdallv1.Tag, 11)})),
		"undelete of no key":     of(c.Undelete(ctx, &holdallv1.UndeleteObjectRequest{Bucket: "bucket"})),
		"delete with a short id": of(c.Delete(ctx, &holdallv1.DeleteObjectRequest{Bucket: "bucket", Key: []byte("k"), PutId: []byte("x")})),
		"a namespace's name":     of(a.CreateNamespace(ctx, &holdallv1.CreateNamespaceRequest{Name: "UPPER"})),
		"a quota too large":      of(a.CreateNamespace(ctx, &holdallv1.CreateNamespaceRequest{Name: "abc", Quota: math.MaxUint64})),
		"a retention below 0":    of(a.CreateNamespace(ctx, &holdallv1.CreateNamespaceRequest{Name: "abc", Retention: durationpb.New(-time.Second)})),
		"a retention of nothing": of(a.SetNamespace(ctx, &holdallv1.SetNamespaceRequest{Name: "abc", Retention: &durationpb.Duration{Seconds: math.MaxInt64}})),
		"a long note":            of(a.CreateCredential(ctx, &holdallv1.CreateCredentialRequest{Note: strings.Repeat("x", 257)})),
		"no access key":          of(a.RemoveCredential(ctx, &holdallv1.RemoveCredentialRequest{})),
	} {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want INVALID_ARGUMENT", name, err)
		}
	}
}

// Streams that say nothing, or nothing more, end, and cost a bounded amount of
// memory while they last.
func TestIdleStreamsOfObjectsEndAndAreFew(t *testing.T) {
	f := newFront(t, func(c *Config) {
		c.ReceiveTimeout, c.StreamMemory = 300*time.Millisecond, 64<<20
	})
	const conns, each = 4, 250
	put := holdallv1.ObjectService_Put_FullMethodName
	ended, refused := 0, 0
	var raws []*rawConn
	for range conns {
		raw := f.raw()
		for i := range uint32(each) {
			raw.begin(2*i+1, put, client.SizeHeader, "262144")
		}
		raws = append(raws, raw)
	}
	for _, raw := range raws {
		for _, o := range raw.wait(each) {
			switch o.code {
			case codes.DeadlineExceeded, codes.Canceled:
				ended++
			case codes.ResourceExhausted:
				refused++
			default:
				t.Fatalf("%+v", o)
			}
		}
	}
	// 64 MiB have room for 128 streams of 512 KiB, less one for each that ended and made room.
	if ended < 128 || refused == 0 || ended+refused != conns*each {
		t.Errorf("%d streams waited, %d were refused", ended, refused)
	}
	waitFor(t, "the memory to be given back", func() bool {
		ok := f.server.in.TryAcquire(64 << 20)
		if ok {
			f.server.in.Release(64 << 20)
		}
		return ok
	})
	// One that began well, too.
	stream, err := holdallv1.NewObjectServiceClient(f.plain()).Put(f.ctx())
	if err == nil {
		err = stream.Send(&holdallv1.PutObjectRequest{Head: &holdallv1.PutObjectHead{Bucket: "bucket", Key: []byte("k")}, Data: make([]byte, 300<<10)})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&holdallv1.PutObjectResponse{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a put that came to a stop: %v", err)
	}
	if n := f.things.visible(); n != 0 {
		t.Errorf("%d objects are visible", n)
	}
}

// While the engine waits, the stream stands still: what it may send on is bounded
// by the window.
func TestPutIsHeldBackWhileTheEngineWaits(t *testing.T) {
	f := newFront(t, nil)
	f.things.during = make(chan struct{})
	c := f.dial(client.Options{})
	body := &counting{left: 64 << 20}
	done := make(chan error, 1)
	go func() {
		_, err := c.PutObject(f.ctx(), "bucket", "k", body, client.PutObjectOptions{})
		done <- err
	}()
	waitFor(t, "the put to arrive", func() bool { return f.things.underWay() == 1 })
	last, since := int64(-1), time.Now()
	waitFor(t, "it to stand still", func() bool {
		if now := body.read.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 100*time.Millisecond
	})
	if n := body.read.Load(); n > 4<<20 {
		t.Errorf("%d bytes were read while the engine waited", n)
	}
	close(f.things.during)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// counting is a body of zeros that counts what is read of it.
type counting struct {
	left int
	read atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n := min(len(p), c.left)
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	c.left -= n
	c.read.Add(int64(n))
	return n, nil
}

// A caller that takes nothing is cut off, and what waited for it is given back.
func TestGetThatStandsStillIsCutOff(t *testing.T) {
	f := newFront(t, func(c *Config) { c.SendTimeout = 200 * time.Millisecond })
	f.put(f.dial(client.Options{}), "k", block(40<<20, 1))
	raw := f.raw()
	request, err := proto.Marshal(&holdallv1.GetObjectRequest{Bucket: "bucket", Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	raw.begin(1, holdallv1.ObjectService_Get_FullMethodName)
	raw.message(1, request)
	waitFor(t, "bytes to wait", func() bool { return f.cell.pool.Lent() > 0 })
	if lent := f.cell.pool.Lent(); lent > 4*5<<20 {
		t.Errorf("%d bytes wait for a caller who takes none", lent)
	}
	waitFor(t, "the handler to end", func() bool { return f.things.open() == 0 })
	if lent := f.cell.pool.Lent(); lent > 2*5<<20 {
		t.Errorf("%d bytes wait for a caller who was cut off", lent)
	}
	raw.conn.Close()
	waitFor(t, "buffers to be given back", func() bool { runtime.GC(); return f.cell.pool.Lent() == 0 })
}

// FuzzObjectRequests: whatever a request says, the checks refuse it as invalid or
// make of it what the engine may take.
func FuzzObjectRequests(f *testing.F) {
	seed := func(m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(&holdallv1.PutObjectHead{Bucket: "bucket", Key: []byte("k"), PutId: make([]byte, 16), Size: proto.Uint64(5), Tags: []*holdallv1.Tag{{Key: "a", Value: "b"}},
		Attributes: &holdallv1.ObjectAttributes{ContentType: "x", Metadata: []*holdallv1.ObjectAttributes_Field{{Name: "A", Value: []byte("b")}}}, Condition: &holdallv1.Condition{Version: 3}})
	seed(&holdallv1.GetObjectRequest{Bucket: "bucket", Key: []byte("k"), Offset: -5, Length: math.MaxUint64})
	seed(&holdallv1.ListObjectsRequest{Bucket: "bucket", Prefix: []byte("a"), After: []byte("b"), AfterVersion: 9, Versions: true})
	server := newFront(f, nil).server
	o := &objectServer{server: server}
	f.Fuzz(func(t *testing.T, b []byte) {
		var put holdallv1.PutObjectHead
		if proto.Unmarshal(b, &put) == nil {
			r, err := o.putRequest(&put)
			checkPut(t, &r, err)
		}
		var get holdallv1.GetObjectRequest
		if proto.Unmarshal(b, &get) == nil {
			if rg, err := span(&get); err == nil && (rg.Length < 0 || rg.Offset < -holdall.MaxObjectSize) {
				t.Errorf("range %+v", rg)
			}
		}
		var list holdallv1.ListObjectsRequest
		if proto.Unmarshal(b, &list) == nil {
			if q, err := listQuery(&list); err == nil && (q.Limit < 1 || q.Limit > holdall.MaxListPage || len(q.After) > holdall.MaxKeySize) {
				t.Errorf("query %+v", q)
			}
		}
	})
}

// checkPut fails the test unless a request is refused as invalid, or can be
// carried out.
func checkPut(t *testing.T, r *object.PutRequest, err error) {
	if err != nil {
		if !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("%v, want invalid", err)
		}
		return
	}
	_, attributes := r.Attributes.Encode()
	_, tags := manifest.EncodeTags(r.Tags)
	if err := errors.Join(attributes, tags, holdall.CheckKey(r.Key), holdall.CheckBucketName(r.Bucket)); err != nil {
		t.Errorf("let through: %v", err)
	}
	if r.Namespace == holdall.SystemNamespace || r.Size < -1 || r.Size > holdall.MaxObjectSize {
		t.Errorf("let through: namespace %v, size %d", r.Namespace, r.Size)
	}
}
