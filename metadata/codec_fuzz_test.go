package metadata

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// examples has a command of every kind, filled in.
func examples() []command {
	v := Volume{ID: holdall.MakeVolumeID(3, 9), Scheme: scheme21, Limit: 1 << 20, State: holdall.VolumeOpen, Epoch: holdall.MakeEpoch(2, 7), Gateway: "g",
		Created: day.time(), Members: []Member{{Disk: disk(0), Footer: true}, {Disk: disk(1), Freed: true}, {Disk: disk(2), Created: 5}}}
	s := StripeCommit{Volume: v.ID, Epoch: v.Epoch, Stripe: 4, Ends: []int64{8192, 0, 4096}, PackBytes: 300, ShardBytes: 4096, Blocks: []PutBlock{
		{Namespace: 1, ID: id(1), Offset: 4096, Length: 7},
		{Namespace: 300, ID: id(2), Member: 2, Offset: 4103, Length: 7, Pending: true, Replace: holdall.Location{Volume: 9, Member: 1, Offset: 2, Length: 7}},
	}}
	ids := []holdall.BlockID{id(1), id(2)}
	k := Task{ID: 5, Kind: "repair", Volume: v.ID, Member: -1, Reason: "why", Created: day.time(), Priority: 2}
	c := []Change{{Seq: 9, Time: day.time(), Kind: ChangeSeal, Volume: v.ID, Epoch: 3, Stripe: 8}, {Seq: 10, Time: day.time(), Kind: ChangeMove, Namespace: 1, ID: id(1),
		Location: holdall.Location{Volume: 9, Member: 1, Offset: 2, Length: 7}}}
	d := Disk{ID: disk(1), Path: "/p", Node: "n", Domain: "r/h", Capacity: 5, ZoneSize: 4, State: holdall.DiskDraining, Reason: "why", Since: day.time(), Incarnation: 2, Granted: 3}
	return []command{
		&openSession{"s"}, &initCell{holdall.CellID{4}, time.Hour}, &raiseGate{2}, &commitStripe{s},
		&changeBlocks{tagClaim, 1, ids}, &changeBlocks{tagDelete, 1, ids}, &changeBlocks{tagUndelete, 300, ids}, &purgeBlocks{[]BlockKey{{1, id(1)}, {300, id(2)}}},
		&createVolume{scheme21, 1 << 20, []holdall.DiskID{disk(0), disk(1), disk(2)}, true, "g", time.Minute},
		&takeLease{v.ID, "g", time.Minute}, &renewLeases{"g", []holdall.VolumeID{v.ID, 1}, time.Minute}, &sealVolume{v.ID, 9, true},
		&markMember{tagMarkFooter, v.ID, 2}, &freeVolume{v.ID, 9}, &markMember{tagMarkFreed, v.ID, 2}, &addDisk{d}, &grantMount{disk(1), 5, "/p", "n"},
		&confirmMount{disk(1), 5}, &setDisk{disk(1), holdall.DiskFailed, "why"}, &addTask{k}, &doneTask{k}, &flushChanges{7}, &setBreaker{5, 6}, &releaseBreaker{time.Hour},
		&setNamespace{1, time.Hour, -1}, &raiseCell{3, "why"}, &releaseCell{}, &adoptVolume{v}, &adoptStripe{s, true, true, day}, &replayChanges{c},
		&changeBlocks{tagClaimPending, 1, ids},
	}
}

// everyExample has a command of every kind.
func everyExample() []command {
	return append(append(examples(), nameExamples()...), migrationExamples()...)
}

func TestCommandsComeBackAsTheyWere(t *testing.T) {
	seen := map[commandTag]bool{}
	for _, c := range everyExample() {
		h := header{Session: 1 << 50, Seq: 9, Lowest: 3, Time: day}
		b, err := encodeCommand(h, c)
		if err != nil {
			t.Fatalf("%T: %v", c, err)
		}
		gotH, got, err := decodeCommand(b)
		if err != nil || gotH != h || !reflect.DeepEqual(got, c) {
			t.Errorf("%T: got %+v %+v, %v; want %+v %+v", c, gotH, got, err, h, c)
		}
		seen[c.tag()] = true
		for n := range b {
			if _, _, err := decodeCommand(b[:n]); err == nil {
				t.Errorf("%T: the first %d of its %d bytes decode", c, n, len(b))
			}
		}
	}
	for tag := range commandTag(255) {
		if known := newCommand(tag) != nil; known != seen[tag] {
			t.Errorf("tag %d: known %t, in the examples %t", tag, known, seen[tag])
		}
	}
}

// FuzzApply applies any bytes: nothing panics, a command has one encoding, and
// whatever is applied leaves a state whose counts are right.
func FuzzApply(f *testing.F) {
	for _, c := range everyExample() {
		for _, h := range []header{{Time: day}, {Session: 1<<44 | 1, Seq: 1, Lowest: 1, Time: day}} {
			b, err := encodeCommand(h, c)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	for _, b := range append(script(f, 3, 100), nameScript(f, 3, 100)...) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, c, err := decodeCommand(b)
		if err != nil {
			if !errors.Is(err, holdall.ErrCorrupt) && !errors.Is(err, errTooNew) {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		again, err := encodeCommand(h, c)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%T decodes from %x and encodes to %x, %v", c, b, again, err)
		}
		r := fuzzedCell(t)
		if _, err := r.m.apply(r.index+1, 1, b); err != nil && !errors.Is(err, errTooNew) {
			t.Fatalf("apply of %T %+v: %v", c, c, err)
		}
		audit(t, r.db)
	})
}

// fuzzedCell returns a cell in quarantine with some rows.
func fuzzedCell(t testing.TB) *rig {
	r := newCell(t, 3)
	v := r.volume()
	r.put(&v, id(1), id(2))
	r.delete(id(2))
	r.session()
	b := bucketAnswer{}
	r.put(&v, id(3), id(4))
	r.ok(&createBucket{1, "bucket"}, &b)
	r.ok(&commitObject{ObjectCommit{Bucket: b.Bucket.ID, Key: "k", Put: putID(9), Root: id(3), Children: []holdall.BlockID{id(1), id(1)}}}, new(objectAnswer))
	r.ok(&createUpload{Upload{ID: putID(2), Bucket: b.Bucket.ID, Key: "k"}}, new(uploadAnswer))
	r.ok(&putPart{putID(2), Part{Number: 1, Block: id(4)}}, new(goneAnswer))
	r.ok(&createNamespace{"space", time.Hour, 0}, new(spaceAnswer))
	r.ok(&raiseCell{Above: 5, Reason: "fuzz"}, new(numberResult))
	return r
}

// FuzzRows decodes any bytes as every kind of row and of key: nothing panics,
// and what decodes has one encoding.
func FuzzRows(f *testing.F) {
	r := newRig(f)
	for i, entry := range script(f, 5, 150) {
		r.applyEntry(uint64(i+1), entry)
	}
	names := newRig(f)
	for i, entry := range nameScript(f, 5, 150) {
		names.applyEntry(uint64(i+1), entry)
	}
	for _, db := range []*pebble.DB{r.db, names.db} {
		for kv, err := range rows(db, nil, []byte{0xff}) {
			if err != nil {
				f.Fatal(err)
			}
			f.Add(kv.key, kv.value)
		}
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		for table, c := range rowCodecs() {
			if again, ok := c.key(key); ok && !bytes.Equal(again, key) {
				t.Errorf("%s key %x encodes to %x", table, key, again)
			}
			if again, ok := c.value(value); ok && !bytes.Equal(again, value) {
				t.Errorf("%s value %x encodes to %x", table, value, again)
			}
		}
	})
}

// rowCodec decodes and encodes again, or says that the bytes are not such a row.
type rowCodec struct{ key, value func([]byte) ([]byte, bool) }

func rowCodecs() map[string]rowCodec {
	value := func(decode func(*decoder), encode func() []byte) func([]byte) ([]byte, bool) {
		return func(b []byte) ([]byte, bool) {
			if err := decodeRow(nil, b, decode); err != nil {
				return nil, false
			}
			return encode(), true
		}
	}
	none := func([]byte) ([]byte, bool) { return nil, false }
	all := nameCodecs(value)
	maps.Copy(all, migrationCodecs(value))
	var (
		v Volume
		k Disk
		n Namespace
		w Task
		c Change
		s sessionRow
		y system
		z system
	)
	maps.Copy(all, map[string]rowCodec{
		"blocks": {func(b []byte) ([]byte, bool) {
			k, err := parseBlockKey(b)
			return appendBlockKey(nil, k.Namespace, &k.ID), err == nil
		}, func(b []byte) ([]byte, bool) {
			var row Block
			err := decodeBlock(&row, b)
			if err != nil {
				return nil, false
			}
			return appendBlock(nil, &row), true
		}},
		"volumes": {func(b []byte) ([]byte, bool) {
			id, err := parseVolumeKey(b)
			return appendVolumeKey(nil, id), err == nil
		}, value(func(d *decoder) { v = Volume{}; d.volume(&v) }, func() []byte { return appendVolume(nil, &v) })},
		"disks": {func(b []byte) ([]byte, bool) {
			id, err := parseDiskKey(b)
			return appendDiskKey(nil, id), err == nil
		}, value(func(d *decoder) { d.disk(&k) }, func() []byte { return appendDisk(nil, &k) })},
		"namespaces": {func(b []byte) ([]byte, bool) {
			id, err := parseNamespaceKey(b)
			return appendNamespaceKey(nil, id), err == nil
		}, value(func(d *decoder) { d.space(&n) }, func() []byte { return appendNamespace(nil, &n) })},
		"sessions": {func(b []byte) ([]byte, bool) {
			id, err := parseSessionKey(b)
			return appendSessionKey(nil, id), err == nil
		}, value(func(d *decoder) { d.session(&s) }, func() []byte { return appendSession(nil, &s) })},
		"trash": {func(b []byte) ([]byte, bool) {
			at, k, err := parseTrashKey(b)
			return appendTrashKey(nil, at, k.Namespace, &k.ID), err == nil
		}, none},
		"changes": {func(b []byte) ([]byte, bool) {
			seq, err := parseChangeKey(b)
			return appendChangeKey(nil, seq), err == nil
		}, value(func(d *decoder) { c = Change{}; d.change(&c) }, func() []byte { return appendChange(nil, &c) })},
		"checksums": {func(b []byte) ([]byte, bool) {
			index, err := parseChecksumKey(b)
			return appendChecksumKey(nil, index), err == nil
		}, none},
		"tasks":    {none, value(func(d *decoder) { d.task(&w) }, func() []byte { return appendTask(nil, &w) })},
		"cell":     {none, value(y.decodeCell, func() []byte { return y.appendCell(nil) })},
		"progress": {none, value(z.decodeProgress, func() []byte { return z.appendProgress(nil) })},
	})
	return all
}

// FuzzAnswers decodes any bytes as every kind of answer.
func FuzzAnswers(f *testing.F) {
	v := Volume{ID: 9, Scheme: scheme21, State: holdall.VolumeOpen, Members: make([]Member, 3)}
	at := holdall.Location{Volume: 9, Member: 1, Offset: 2, Length: 7}
	for _, r := range []result{noResult{}, &numberResult{5}, &idsResult{[]holdall.BlockID{id(1)}}, &volumesResult{[]holdall.VolumeID{9}}, &volumeResult{v},
		&commitAnswer{[]int{3}, []holdall.Location{at}}, &purgeAnswer{PurgeResult{1, 2, true, []BlockKey{{1, id(1)}}}}, &mountAnswer{MountGrant{5, holdall.DiskActive}}} {
		f.Add(encodeAnswer(r, nil))
	}
	for _, r := range append(nameAnswers(), migrationAnswers()...) {
		f.Add(encodeAnswer(r, nil))
	}
	f.Add(encodeAnswer(nil, errNoSession))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range []result{noResult{}, new(numberResult), new(idsResult), new(volumesResult), new(volumeResult), new(commitAnswer), new(purgeAnswer), new(mountAnswer),
			new(spaceAnswer), new(bucketAnswer), new(goneAnswer), new(objectAnswer), new(uploadAnswer), new(migrationAnswer), new(fencedAnswer), new(takeAnswer)} {
			if err := decodeAnswer(b, r); err == nil && !bytes.Equal(encodeAnswer(r, nil), b) {
				t.Errorf("%T decodes from %x and encodes to %x", r, b, encodeAnswer(r, nil))
			}
		}
		_, _ = (&commitStripe{}).result(b)
	})
}

func TestRefusalsKeepTheirKind(t *testing.T) {
	for _, kind := range answerKinds[1:] {
		err := decodeAnswer(encodeAnswer(nil, kind), noResult{})
		if !errors.Is(err, kind) || err.Error() != kind.Error() {
			t.Errorf("%v came back as %v", kind, err)
		}
	}
	if err := decodeAnswer(encodeAnswer(nil, holdall.ErrStale), noResult{}); errors.Is(err, errNoSession) {
		t.Error("any stale command is taken for one without a session")
	}
}
