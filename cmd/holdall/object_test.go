package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// random writes n bytes to a new file.
func random(t *testing.T, n int, seed byte) (name string, data []byte) {
	t.Helper()
	data = make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	name = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, data
}

// dialed is a client of the server.
func (s *server) dialed(o client.Options) *client.Client {
	s.t.Helper()
	cl, err := client.Dial(o, s.grpc)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cl.Close() })
	return cl
}

func unmarshal[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func TestObjectCommands(t *testing.T) {
	serve(t, filepath.Join(t.TempDir(), "data"))
	name, data := random(t, 9<<20+5, 1)
	must(t, "bucket", "create", "photos")
	out := must(t, "object", "put", name, "photos/a/film", "--content-type", "video/x", "--meta", "Colour=red", "--tag", "team=blue")
	if f := strings.Fields(out); len(f) != 3 || f[1] != fmt.Sprint(len(data)) || f[2] != "photos/a/film" {
		t.Errorf("put printed %q", out)
	}
	if got := must(t, "object", "get", "photos/a/film"); got != string(data) {
		t.Errorf("%d bytes came back", len(got))
	}
	if got := must(t, "object", "get", "photos/a/film", "--range", "4194300-4194309"); got != string(data[4194300:4194310]) {
		t.Errorf("range: %d bytes", len(got))
	}
	back := filepath.Join(t.TempDir(), "back")
	must(t, "object", "get", "photos/a/film", "-o", back)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	o := unmarshal[client.Object](t, must(t, "object", "stat", "photos/a/film", "--output", "json"))
	if o.ContentType != "video/x" || o.Metadata["colour"] != "red" || o.Tags["team"] != "blue" || o.Size != int64(len(data)) || len(o.Checksums) != 1 {
		t.Errorf("stat: %+v", o)
	}
	must(t, "object", "cp", "photos/a/film", "photos/copy")
	if got := must(t, "object", "ls", "photos"); strings.Count(got, "\n") != 3 || !strings.Contains(got, "  a/\n") || !strings.Contains(got, "  copy\n") {
		t.Errorf("ls: %s", got)
	}
	must(t, "object", "rm", "photos/a/film")
	checkDeleted(t, o.Version, len(data))
	if r := command(t, []byte("small"), "object", "put", "-", "photos/copy", "--if-absent"); r.code != exitFailed || !strings.Contains(r.err, "condition not met") {
		t.Errorf("put of what is there: exit %d: %s", r.code, r.err)
	}
	if r := command(t, []byte("small"), "object", "put", "-", "photos/from stdin"); r.code != exitDone {
		t.Errorf("put of standard input: exit %d: %s", r.code, r.err)
	}
	if got := must(t, "object", "get", "photos/from stdin"); got != "small" {
		t.Errorf("%q", got)
	}
	if r := command(t, nil, "bucket", "rm", "photos"); r.code != exitRefused {
		t.Errorf("removal of a bucket with objects: exit %d: %s", r.code, r.err)
	}
	must(t, "object", "rm", "photos/a/film", "photos/copy", "photos/from stdin")
	must(t, "bucket", "rm", "photos")
	if got := must(t, "bucket", "ls", "--output", "json"); got != "[]\n" {
		t.Errorf("buckets: %s", got)
	}
}

// checkDeleted checks what a deleted object looks like, and brings it back.
func checkDeleted(t *testing.T, version holdall.Version, size int) {
	t.Helper()
	if r := command(t, nil, "object", "get", "photos/a/film"); r.code != exitNotFound || !strings.Contains(r.err, "object undelete photos/a/film") {
		t.Errorf("get of what was deleted: exit %d: %s", r.code, r.err)
	}
	if r := command(t, nil, "object", "rm", "photos/nothing"); r.code != exitNotFound {
		t.Errorf("rm of nothing: exit %d: %s", r.code, r.err)
	}
	if got := must(t, "object", "get", "photos/a/film", "--version", fmt.Sprint(version)); len(got) != size {
		t.Errorf("a version in trash has %d bytes", len(got))
	}
	var states []string
	for line := range strings.Lines(must(t, "object", "ls", "photos/a", "--versions", "--output", "json")) {
		o := unmarshal[client.Object](t, line)
		states = append(states, stateOf(&o))
	}
	if !slices.Equal(states, []string{"deleted", "trash"}) {
		t.Errorf("versions: %v", states)
	}
	must(t, "object", "undelete", "photos/a/film")
	if got := must(t, "object", "get", "photos/a/film"); len(got) != size {
		t.Errorf("%d bytes after undelete", len(got))
	}
	if r := command(t, nil, "object", "undelete", "photos/a/film"); r.code != exitFailed {
		t.Errorf("undelete of what is there: exit %d: %s", r.code, r.err)
	}
}

func TestNamespaceCommands(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"))
	must(t, "namespace", "create", "photos", "--quota", "1MiB", "--retention", "24h")
	n := unmarshal[client.Namespace](t, must(t, "namespace", "show", "photos", "--output", "json"))
	if n.Name != "photos" || n.Quota != 1<<20 || n.RetentionSeconds != 86400 {
		t.Errorf("%+v", n)
	}
	must(t, "bucket", "create", "films", "--namespace", "photos")
	if r := command(t, make([]byte, 2<<20), "object", "put", "-", "films/k", "--namespace", "photos"); r.code != exitUnavailable || !strings.Contains(r.err, "quota") {
		t.Errorf("put over the quota: exit %d: %s", r.code, r.err)
	}
	must(t, "namespace", "set", "photos", "--quota", "0")
	eventually(t, "put without a quota", func() bool { // within a second
		return command(t, make([]byte, 2<<20), "object", "put", "-", "films/k", "--namespace", "photos").code == exitDone
	})
	if r := command(t, nil, "object", "stat", "films/k"); r.code != exitNotFound {
		t.Errorf("an object of another namespace: exit %d: %s", r.code, r.err)
	}
	made := unmarshal[secretFacts](t, must(t, "namespace", "credential", "create", "--namespace", "photos", "--note", "a test", "--output", "json"))
	if made.Secret == "" || made.Namespace != "photos" {
		t.Errorf("a credential without a secret: %+v", made.Credential)
	}
	list := must(t, "namespace", "credential", "ls", "--namespace", "photos", "--output", "json")
	if !strings.Contains(list, made.AccessKey) || strings.Contains(list, made.Secret) {
		t.Errorf("credentials: %s", list)
	}
	if r := command(t, nil, "namespace", "credential", "rm", made.AccessKey); r.code != exitNotFound {
		t.Errorf("removal of another namespace's: exit %d: %s", r.code, r.err)
	}
	if r := command(t, nil, "namespace", "rm", "photos"); r.code != exitRefused {
		t.Errorf("removal of a namespace in use: exit %d: %s", r.code, r.err)
	}
	must(t, "namespace", "credential", "rm", made.AccessKey, "--namespace", "photos")
	must(t, "namespace", "create", "empty")
	must(t, "namespace", "rm", "empty")
	if got := must(t, "namespace", "ls"); !strings.Contains(got, "default") || !strings.Contains(got, "photos") || strings.Contains(got, "empty") || strings.Contains(got, "system") {
		t.Errorf("namespaces: %s", got)
	}
	if strings.Contains(s.logged(), made.Secret) {
		t.Error("the secret is in the server's log")
	}
}

// A key is any bytes. Each byte is put, found, listed, got and deleted.
func TestKeysMayHaveEveryByte(t *testing.T) {
	cl, ctx := serve(t, filepath.Join(t.TempDir(), "data")).dialed(client.Options{}), t.Context()
	if _, err := cl.CreateBucket(ctx, "bytes"); err != nil {
		t.Fatal(err)
	}
	var want []string
	for b := range 256 {
		want = append(want, string([]byte{byte(b)}), string([]byte{'k', byte(b), 0, 0xff}))
	}
	slices.Sort(want)
	for _, key := range want {
		if _, err := cl.PutObject(ctx, "bytes", key, strings.NewReader(key), client.PutObjectOptions{}); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
	}
	var got []string
	for l, err := range cl.ListObjects(ctx, "bytes", client.ListOptions{Limit: 7}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Object.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed are %d keys, want %d in order", len(got), len(want))
	}
	for _, key := range want {
		r, err := cl.OpenObject(ctx, "bytes", key, client.GetObjectOptions{})
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if data, err := io.ReadAll(r); err != nil || string(data) != key {
			t.Errorf("%q: %q, %v", key, data, err)
		}
		r.Close()
		if marker, err := cl.DeleteObject(ctx, "bytes", key, client.Condition{}); err != nil || marker == nil {
			t.Errorf("%q: %v, %v", key, marker, err)
		}
	}
}

func TestListingOfMoreThanAPage(t *testing.T) {
	cl, ctx := serve(t, filepath.Join(t.TempDir(), "data")).dialed(client.Options{}), t.Context()
	if _, err := cl.CreateBucket(ctx, "many"); err != nil {
		t.Fatal(err)
	}
	name := client.ObjectName{Bucket: "many", Key: "0000/0000"}
	if _, err := cl.PutObject(ctx, name.Bucket, name.Key, strings.NewReader("x"), client.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []string{name.Key}
	for i := 1; i < holdall.MaxListPage+50; i++ {
		key := fmt.Sprintf("%04d/%04d", i/7, i)
		want = append(want, key)
		if _, err := cl.CopyObject(ctx, name, client.ObjectName{Bucket: "many", Key: key}, client.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	lines := 0
	listing := command(t, nil, "object", "ls", "many", "--recursive", "--output", "json")
	if listing.code != exitDone {
		t.Fatalf("exit %d: %s", listing.code, listing.err)
	}
	for line := range strings.Lines(listing.out) {
		if o := unmarshal[client.Object](t, line); lines >= len(want) || o.Key != want[lines] {
			t.Fatalf("line %d: %s", lines, o.Key)
		}
		lines++
	}
	prefixes := strings.Count(must(t, "object", "ls", "many", "--output", "json"), `"prefix"`)
	if lines != len(want) || prefixes != (len(want)+6)/7 {
		t.Errorf("%d keys, want %d; %d prefixes", lines, len(want), prefixes)
	}
	page, err := cl.ListPage(ctx, "many", client.ListOptions{})
	if err != nil || !page.More || len(page.Objects) != holdall.MaxListPage {
		t.Errorf("a page has %d, more %v, %v", len(page.Objects), page.More, err)
	}
}

// A get goes on where it was when the server was killed, and a put is repeated.
func TestStreamsOutliveTheServer(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	cl, ctx := s.dialed(client.Options{}), t.Context()
	if _, err := cl.CreateBucket(ctx, "films"); err != nil {
		t.Fatal(err)
	}
	_, bytesWanted := random(t, 64<<20, 2)
	if _, err := cl.PutObject(ctx, "films", "k", bytes.NewReader(bytesWanted), client.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := cl.OpenObject(ctx, "films", "k", client.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, 5<<20)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	body := &killing{Reader: bytes.NewReader(bytesWanted), at: 20 << 20, do: func() {
		s.kill()
		s = serve(t, data, "--listen", s.grpc)
	}}
	put, err := cl.PutObject(ctx, "films", "another", body, client.PutObjectOptions{})
	if err != nil || put.Size != int64(len(bytesWanted)) {
		t.Errorf("put over a kill: %+v, %v", put, err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(append(got, rest...), bytesWanted) || r.Verified() != "CRC32C" {
		t.Errorf("get over a kill: %d bytes, %v, verified %q", len(rest), err, r.Verified())
	}
	for _, key := range []string{"k", "another"} {
		if out := must(t, "object", "get", "films/"+key); out != string(bytesWanted) {
			t.Errorf("%s: %d bytes", key, len(out))
		}
	}
}

// killing is a body that does something when it is read to a place, once.
type killing struct {
	*bytes.Reader
	at int64
	do func()
}

func (k *killing) Read(p []byte) (int, error) {
	if k.do != nil && k.Size()-int64(k.Len()) >= k.at {
		do := k.do
		k.do = nil
		do()
	}
	return k.Reader.Read(p[:min(len(p), 1<<20)])
}

// A server with little memory stores and gives back what is larger than that.
func TestObjectsMayBeLargerThanMemory(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"), "--memory", "192MiB")
	cl := s.dialed(client.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := cl.CreateBucket(ctx, "films"); err != nil {
		t.Fatal(err)
	}
	const size = 512 << 20
	put, err := cl.PutObject(ctx, "films", "k", io.LimitReader(rand.NewChaCha8([32]byte{3}), size), client.PutObjectOptions{})
	if err != nil || put.Size != size {
		t.Fatalf("%+v, %v", put, err)
	}
	r, err := cl.OpenObject(ctx, "films", "k", client.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n != size || r.Verified() == "" {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if most := s.peak(); most > 320<<20 {
		t.Errorf("the server took %d bytes", most)
	} else {
		t.Logf("the server took at most %d MiB", most>>20)
	}
}

// peak is the most memory that the server ever had, in bytes. What getrusage says
// is no less than what this process had when it began the server.
func (s *server) peak() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var kib int64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}

// Put is cancelled, or its body fails: there is no object, and no temporary file
// of a get that fails.
func TestWhatBreaksOffIsNotVisible(t *testing.T) {
	cl := serve(t, filepath.Join(t.TempDir(), "data")).dialed(client.Options{})
	if _, err := cl.CreateBucket(t.Context(), "films"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	body := &killing{Reader: bytes.NewReader(make([]byte, 64<<20)), at: 20 << 20, do: cancel}
	if _, err := cl.PutObject(ctx, "films", "k", body, client.PutObjectOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled put: %v", err)
	}
	torn := errors.New("torn")
	if _, err := cl.PutObject(t.Context(), "films", "k", io.MultiReader(bytes.NewReader(make([]byte, 9<<20)), failing{torn}), client.PutObjectOptions{}); err != torn {
		t.Errorf("a put whose body fails: %v", err)
	}
	if _, err := cl.HeadObject(t.Context(), "films", "k", 0); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("an object is there: %v", err)
	}
	dir := t.TempDir()
	if r := command(t, nil, "object", "get", "films/k", "-o", filepath.Join(dir, "file")); r.code != exitNotFound {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
