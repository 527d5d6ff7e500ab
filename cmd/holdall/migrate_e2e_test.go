package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/migration/s3fault"
	"github.com/holdall/holdall/migration/s3test"
)

var full = flag.Bool("full", false, "run every test at its full length")

// A bucket comes from a faulty S3 server to a certificate, by the commands that an
// operator has, while the server is killed; and nothing that is printed or logged
// holds a secret.
func TestMigrationByCommands(t *testing.T) {
	objects, kills := 300, 2
	if *full {
		objects, kills = 20_000, 30
	}
	old := s3test.New(t, s3test.Options{})
	for _, env := range old.Environ() {
		name, value, _ := strings.Cut(env, "=")
		t.Setenv(name, value)
	}
	fill(t, old, "photos", objects)
	proxy, err := s3fault.Start(old.Endpoint(), s3fault.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	var said strings.Builder
	run := func(args ...string) string {
		t.Helper()
		out := must(t, append([]string{"migrate"}, args...)...)
		said.WriteString(out)
		return out
	}
	must(t, "bucket", "create", "photos")
	run("create", "photos", "--source", "s3://photos", "--endpoint", proxy.Endpoint(), "--clean-run", "1s", "--window", "1s")
	if r := command(t, nil, "migrate", "advance", "photos", "flipped"); r.code != exitRefused {
		t.Errorf("a step over others: exit %d, %s", r.code, r.err)
	}
	run("advance", "photos", "mirror")
	if r := command(t, nil, "migrate", "advance", "photos", "shadow"); r.code != exitRefused || !strings.Contains(r.err, "backfill") {
		t.Errorf("a step before the backfill: exit %d, %s", r.code, r.err)
	}
	plan := s3fault.Mix(1, 0.2, s3fault.SlowDown, s3fault.InternalError, s3fault.ResetBefore, s3fault.ResetMid, s3fault.Truncate, s3fault.WrongLength, s3fault.CorruptByte, s3fault.WrongETag)
	proxy.SetPlan(plan)
	run("backfill", "photos")
	for range kills {
		copied := migration(t).Copied
		eventually(t, "something is copied", func() bool { m := migration(t); return m.Copied > copied || !m.Backfill.Wanted })
		s.kill()
		said.WriteString(s.logged())
		s = serve(t, data)
	}
	run("backfill", "photos", "--wait")
	proxy.SetPlan(s3fault.Plan{})
	m := migration(t)
	if m.Copied > int64(objects) || m.Quarantined != 0 || m.CaughtUp == nil {
		t.Errorf("%+v", m)
	}
	run("backfill", "photos", "--wait")
	if again := migration(t); again.Copied != m.Copied || again.Backfill.Same != int64(objects) {
		t.Errorf("another run copied: %+v", again)
	}
	run("advance", "photos", "shadow")
	findDamage(t, run, old)
	run("advance", "photos", "flipped")
	certify(t, run, objects)
	run("advance", "photos", "cut-over")
	run("rollback", "photos", "mirror")
	run("report", "photos", "--html")
	said.WriteString(s.logged())
	if secret := old.SecretKey; strings.Contains(said.String(), secret) {
		t.Error("a secret was printed or logged")
	}
}

// findDamage changes a byte of the source, and wants it to be found and repaired.
func findDamage(t *testing.T, run func(...string) string, old *s3test.Server) {
	t.Helper()
	run("verify", "photos", "--wait")
	damage(t, old, "photos/key-7")
	if r := command(t, nil, "migrate", "verify", "photos", "--wait"); r.code != exitDifferences {
		t.Errorf("a byte of the source is another: exit %d\n%s%s", r.code, r.out, r.err)
	}
	if r := command(t, nil, "migrate", "advance", "photos", "flipped"); r.code != exitRefused || !strings.Contains(r.err, "verification") {
		t.Errorf("a flip after that: exit %d, %s", r.code, r.err)
	}
	eventually(t, "the key is repaired", func() bool { return migration(t).Outbox == 0 })
	run("verify", "photos", "--wait")
	eventually(t, "the clean run is over", func() bool { return len(migration(t).Missing) == 0 })
}

// certify makes the certificate, and has it checked.
func certify(t *testing.T, run func(...string) string, objects int) {
	t.Helper()
	var c client.Certificate
	if err := json.Unmarshal([]byte(run("certificate", "create", "photos", "--output", "json")), &c); err != nil || c.Objects != int64(objects) || c.Verified != c.Objects {
		t.Fatalf("%+v, %v", c, err)
	}
	run("certificate", "verify", c.Certificate, "--key", c.PublicKey)
	if r := command(t, nil, "migrate", "certificate", "verify", c.Certificate, "--key", strings.Repeat("00", 32)); r.code == exitDone {
		t.Error("a certificate is signed by a key that has not signed it")
	}
}

func migration(t *testing.T) (m client.Migration) {
	t.Helper()
	out := must(t, "migrate", "status", "photos", "--output", "json")
	var facts map[string]any
	if err := json.Unmarshal([]byte(out), &facts); err != nil {
		t.Fatal(err)
	}
	for _, span := range []string{"clean_run", "window"} { // seconds for people, not to be read back
		delete(facts, span)
	}
	for _, job := range []string{"backfill", "verify"} {
		delete(facts[job].(map[string]any), "eta")
	}
	b, err := json.Marshal(facts)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fill makes a bucket of n objects.
func fill(t *testing.T, s *s3test.Server, bucket string, n int) {
	t.Helper()
	c := s.Client("")
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{1})
	for i := range n {
		key, body := fmt.Sprintf("key-%d", i), make([]byte, 10+i%5000)
		_, _ = r.Read(body)
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
	}
}

// damage changes a byte of a file behind the server's back.
func damage(t *testing.T, s *s3test.Server, name string) {
	t.Helper()
	path := filepath.Join(s.Root(), filepath.FromSlash(name))
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[3] ^= 1
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b[3:4], 3); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, was.ModTime()); err != nil {
		t.Fatal(err)
	}
}
