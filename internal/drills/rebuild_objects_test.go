package drills

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

const drillBucket = "drill"

// objectSize is of the object with a number: most lie in their roots, some have a
// block, a few many.
func objectSize(i uint64) int {
	switch {
	case i%500 == 7:
		return 9<<20 + int(i)
	case i%10 >= 7:
		return 100_000 + int(i)
	}
	return int(i % 3000)
}

// several calls f with 0 to n-1, a few at a time.
func several(t *testing.T, n int, f func(ctx context.Context, i uint64) error) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := f(t.Context(), uint64(i)); err != nil {
					t.Errorf("object %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func objectKey(i uint64) string { return fmt.Sprintf("key/%05d", i) }

// objectHistory puts n objects, overwrites, deletes, undeletes, tags and copies some,
// and returns what bytes each key should have: the number of blockOf; -1 = deleted.
func objectHistory(t *testing.T, cl *client.Client, n int, round uint64) map[string]int64 {
	t.Helper()
	want, mu := map[string]int64{}, sync.Mutex{}
	several(t, n, func(ctx context.Context, i uint64) error {
		put := func(key string, number uint64) error {
			_, err := cl.PutObject(ctx, drillBucket, key, bytes.NewReader(blockOf(number, objectSize(i))), client.PutObjectOptions{Tags: map[string]string{"of": key}})
			return err
		}
		key, number := objectKey(i), round<<32|i
		err := put(key, number)
		if i%7 == 0 && err == nil {
			number |= 1 << 31
			err = put(key, number)
		}
		is := int64(number)
		if i%5 == 0 && err == nil {
			is = -1
			_, err = cl.DeleteObject(ctx, drillBucket, key, client.Condition{})
		}
		if i%25 == 0 && err == nil {
			is = int64(number)
			_, err = cl.UndeleteObject(ctx, drillBucket, key)
		}
		if i%11 == 0 && is >= 0 && err == nil {
			_, err = cl.SetTags(ctx, client.ObjectName{Bucket: drillBucket, Key: key}, 0, map[string]string{"later": "yes"})
		}
		mu.Lock()
		defer mu.Unlock()
		if i%13 == 0 && is >= 0 && err == nil {
			_, err = cl.CopyObject(ctx, client.ObjectName{Bucket: drillBucket, Key: key}, client.ObjectName{Bucket: drillBucket, Key: key + "-copy"}, client.CopyOptions{})
			want[key+"-copy"] = is
		}
		want[key] = is
		return err
	})
	return want
}

// TestRebuildFromDisksRestoresObjects loses the metadata of a cell with a history of
// objects, and compares what the disks give back: rows, attributes, tags, bytes.
func TestRebuildFromDisksRestoresObjects(t *testing.T) {
	c := newCell(t, "--retention", "20s")
	c.start()
	cl := c.dial()
	if _, err := cl.CreateBucket(t.Context(), drillBucket); err != nil {
		t.Fatal(err)
	}
	n := pick(400, 10_000)
	objectHistory(t, cl, n/4, 1)
	c.kill()
	c.start()
	cl = c.dial()
	time.Sleep(pick(time.Second, 30*time.Second)) // what was overwritten and deleted is purged
	want := objectHistory(t, cl, n, 2)
	time.Sleep(pick(25*time.Second, 65*time.Second)) // past the journal's flush; in full, past the contract's minute
	before := currentObjects(t, c.must("metadata", "dump"))
	late := pick(20, 100)
	several(t, late, func(ctx context.Context, i uint64) error {
		_, err := cl.PutObject(ctx, drillBucket, fmt.Sprintf("late/%d", i), bytes.NewReader(blockOf(3<<32|i, 100_000)), client.PutObjectOptions{})
		return err
	})
	c.rebuild()
	cl = c.dial()
	back := currentObjects(t, c.must("metadata", "dump"))
	for line := range before {
		if !back[line] {
			t.Errorf("not back, or not as it was: %s", line)
		}
	}
	risen := 0
	for line := range back {
		if !before[line] {
			risen++
		}
	}
	if risen > late {
		t.Errorf("%d objects are there that were not, %d were put late", risen, late)
	}
	t.Logf("%d objects as they were; %d of %d late ones are there", len(before), risen, late)
	mustHave(t, cl, want, "after the rebuild")
	c.must("metadata", "release")
	time.Sleep(pick(time.Second, 45*time.Second)) // what is due is purged
	mustHave(t, cl, want, "after the release")
	for key, number := range objectHistory(t, cl, n/4, 4) {
		want[key] = number
	}
	mustHave(t, cl, want, "after more of the same")
	rebuiltAgain(t, c, want)
}

// rebuiltAgain loses the metadata once more: what a rebuild made is in the journal too.
func rebuiltAgain(t *testing.T, c *cell, want map[string]int64) {
	t.Helper()
	time.Sleep(25 * time.Second) // past the journal's flush
	before := currentObjects(t, c.must("metadata", "dump"))
	c.rebuild()
	back := currentObjects(t, c.must("metadata", "dump"))
	for line := range before {
		if !back[line] {
			t.Errorf("not back the second time: %s", line)
		}
	}
	if len(back) != len(before) {
		t.Errorf("%d objects are there, %d were", len(back), len(before))
	}
	mustHave(t, c.dial(), want, "after another rebuild")
}

// rebuild loses the metadata of a cell that runs, makes them anew, and starts it.
func (c *cell) rebuild() {
	c.t.Helper()
	c.kill()
	if err := os.RemoveAll(filepath.Join(c.dir, "metadata")); err != nil {
		c.t.Fatal(err)
	}
	c.t.Logf("rebuild says:\n%.3000s", c.must("metadata", "rebuild", "--from-disks", "--data", c.dir))
	c.start()
}

// currentObjects returns the lines of a dump that show an object which a get finds.
func currentObjects(t *testing.T, dump string) map[string]bool {
	t.Helper()
	current := map[string]bool{}
	scan := bufio.NewScanner(strings.NewReader(dump))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if !strings.HasPrefix(scan.Text(), `{"table":"objects"`) {
			continue
		}
		var row struct {
			Marker    bool
			TrashedAt *time.Time `json:"trashed_at"`
		}
		if err := json.Unmarshal(scan.Bytes(), &row); err != nil {
			t.Fatalf("dump line %q: %v", scan.Text(), err)
		}
		if !row.Marker && row.TrashedAt == nil {
			current[scan.Text()] = true
		}
	}
	if len(current) == 0 {
		t.Fatal("the dump shows no object")
	}
	return current
}

// mustHave reads every object, and fails the test unless its bytes are right.
func mustHave(t *testing.T, cl *client.Client, want map[string]int64, when string) {
	t.Helper()
	var keys []string
	for key, number := range want {
		if number >= 0 {
			keys = append(keys, key)
		}
	}
	several(t, len(keys), func(ctx context.Context, i uint64) error {
		number := uint64(want[keys[i]])
		r, err := cl.OpenObject(ctx, drillBucket, keys[i], client.GetObjectOptions{})
		if err != nil {
			return fmt.Errorf("%s, %s: %w", when, keys[i], err)
		}
		got, err := io.ReadAll(r)
		if err := r.Close(); err != nil {
			return err
		}
		if err == nil && !bytes.Equal(got, blockOf(number, objectSize(number&(1<<31-1)))) {
			err = fmt.Errorf("%d wrong bytes: %w", len(got), holdall.ErrCorrupt)
		}
		if err != nil {
			return fmt.Errorf("%s, %s: %w", when, keys[i], err)
		}
		return nil
	})
	t.Logf("%s: all %d objects read back", when, len(keys))
}
