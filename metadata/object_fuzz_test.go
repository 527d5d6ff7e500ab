package metadata

import (
	"time"

	"github.com/holdall/holdall"
)

func putID(i int) (p holdall.PutID) { p[0], p[15] = byte(i), 0xaa; return p }

func exampleObject() Object {
	return Object{Bucket: 1<<44 | 1, Key: "a\x00b/c", Version: 1<<44 | 9, Put: putID(1), Origin: OriginBackfill, Root: id(3), Size: 5000, Modified: day.time(), ETag: "e-1",
		Attributes: []byte("attributes"), Tags: []byte("tags"), Committed: day.time(), TrashedAt: day.time(), Source: exampleFacts()}
}

func exampleUpload() Upload {
	return Upload{ID: putID(2), Bucket: 1<<44 | 1, Namespace: 1, Key: "k", State: UploadCompleted, Created: day.time(), Ended: day.time(), Attributes: []byte{1},
		Tags: []byte{2}, Result: 1<<44 | 2, Released: true}
}

func examplePart() Part {
	return Part{Number: 7, Block: id(4), Node: true, Size: 9 << 20, ETag: "p", Attributes: []byte{3}, Modified: day.time()}
}

func exampleCredential() Credential {
	return Credential{AccessKey: "AK", Namespace: 1, Secret: []byte("sealed"), Created: day.time(), Note: "of a test"}
}

// exampleFound is an object as a rebuild finds it.
func exampleFound() Object {
	o := exampleObject()
	o.Marker, o.Committed, o.TrashedAt = false, time.Time{}, time.Time{}
	return o
}

// nameExamples has a command of every kind of the tables of names.
func nameExamples() []command {
	const b = 1<<44 | 1
	o, ids := exampleObject(), []holdall.BlockID{id(1), id(2), id(1)}
	unless := Condition{Absent: true, ETag: "x", Version: 1<<44 | 3, Backfill: true}
	how := exampleMiss()
	commit := ObjectCommit{Bucket: b, Key: o.Key, Put: putID(1), Origin: OriginBackfill, Root: id(3), Children: ids, Size: 5, Modified: day.time(), ETag: "e",
		Attributes: []byte{1}, Tags: []byte{2}, If: unless, Upload: putID(2), Settle: how, Source: exampleFacts()}
	return []command{
		&createNamespace{"space", time.Hour, 1 << 30}, &removeNamespace{2}, &putCredential{exampleCredential()}, &removeCredential{"AK"},
		&createBucket{1, "bucket"}, &setBucket{b, true}, &removeBucket{1, "bucket"}, &commitNode{1, id(3), ids, 1}, &releaseNode{1, id(3), ids},
		&commitObject{commit}, &deleteObject{ObjectDelete{Bucket: b, Key: "k", Put: putID(3), If: Condition{Present: true}, Origin: OriginBackfill, Always: true, Settle: how}},
		&undeleteObject{b, "k"}, &setTags{o.name(), []byte("t"), how}, &purgeObjects{[]ObjectKey{o.name(), {b, "k", 1}}},
		&createUpload{Upload{ID: putID(2), Bucket: b, Key: "k", Attributes: []byte{1}, Tags: []byte{2}}}, &putPart{putID(2), examplePart()},
		&abortUpload{putID(2)}, &releaseUpload{putID(2), 1000}, &replayChanges{nameChanges()},
		&replayNames{replayChanges{nameChanges()}}, &adoptNode{FoundNode{1, id(3), ids, true}},
		&adoptObject{FoundObject{Namespace: 1, BucketName: "bucket", Upload: putID(2), Time: day.time(), Object: exampleFound()}},
	}
}

// nameChanges has a change of every kind that names have, with every field that
// it can have.
func nameChanges() (all []Change) {
	for k := ChangeNamespace; k <= lastChange; k++ {
		fields, _ := namesOf(k)
		full := Change{Namespace: 2, ID: id(1), Bucket: 1<<44 | 1, Key: "a\x00b", Version: 1<<44 | 2, Put: putID(1), Name: "name", Retention: time.Hour, Quota: 7, Number: 1, Data: []byte("data")}
		c := Change{Seq: uint64(100 + k), Time: day.time(), Kind: k}
		d := decoder{b: full.appendFields(nil, fields)}
		for field := uint64(1); field <= hasData; field <<= 1 {
			if fields&field != 0 {
				d.nameField(&c, field)
			}
		}
		all = append(all, c)
	}
	return all
}

func (c *Change) appendFields(dst []byte, fields uint64) []byte {
	for field := uint64(1); field <= hasData; field <<= 1 {
		if fields&field != 0 {
			dst = c.appendField(dst, field)
		}
	}
	return dst
}

func nameAnswers() []result {
	return []result{
		&spaceAnswer{Namespace{ID: 2, Name: "space", Quota: 5, Leaving: 1}}, &bucketAnswer{Bucket{ID: 1<<44 | 1, Namespace: 1, Name: "bucket", Uploads: 2, KeepsMarkers: true, Migrates: true}},
		&goneAnswer{[]holdall.BlockID{id(1)}}, &objectAnswer{Found: true, Object: exampleObject()}, &objectAnswer{Gone: []holdall.BlockID{id(1)}}, &uploadAnswer{exampleUpload()},
	}
}

// nameCodecs are the codecs of the tables of names.
func nameCodecs(value func(func(*decoder), func() []byte) func([]byte) ([]byte, bool)) map[string]rowCodec {
	var (
		b Bucket
		o Object
		u Upload
		p Part
		c Credential
		v holdall.Version
		i holdall.BucketID
		n holdall.NamespaceID
	)
	none := func([]byte) ([]byte, bool) { return nil, false }
	return map[string]rowCodec{
		"buckets": {func(k []byte) ([]byte, bool) {
			id, err := parseBucketKey(k)
			return appendBucketKey(nil, id), err == nil
		}, value(func(d *decoder) { b = Bucket{}; d.bucket(&b) }, func() []byte { return appendBucket(nil, &b) })},
		"objects": {func(k []byte) ([]byte, bool) {
			key, err := parseObjectKey(k)
			return appendObjectKey(nil, &key), err == nil
		}, value(func(d *decoder) { o = Object{}; d.object(&o) }, func() []byte { return appendObject(nil, &o) })},
		"object trash": {func(k []byte) ([]byte, bool) {
			at, key, err := parseObjectTrashKey(k)
			return appendObjectTrashKey(nil, at, &key), err == nil
		}, none},
		"uploads": {func(k []byte) ([]byte, bool) {
			id, err := parseUploadKey(k)
			return appendUploadKey(nil, id), err == nil
		}, value(func(d *decoder) { u = Upload{}; d.upload(&u) }, func() []byte { return appendUpload(nil, &u) })},
		"open uploads": {func(k []byte) ([]byte, bool) {
			b, key, id, err := parseOpenUploadKey(k)
			return appendOpenUploadKey(nil, b, key, id), err == nil
		}, none},
		"ended uploads": {func(k []byte) ([]byte, bool) {
			at, id, err := parseEndedUploadKey(k)
			return appendEndedUploadKey(nil, at, id), err == nil
		}, none},
		"parts": {func(k []byte) ([]byte, bool) {
			id, n, err := parsePartKey(k)
			return appendPartKey(nil, id, n), err == nil
		}, value(func(d *decoder) { d.part(&p) }, func() []byte { return appendPart(nil, &p) })},
		"credentials": {func(k []byte) ([]byte, bool) {
			access, err := parseCredentialKey(k)
			return appendCredentialKey(nil, access), err == nil
		}, value(func(d *decoder) { d.credential(&c) }, func() []byte { return appendCredential(nil, &c) })},
		"puts":            {none, value(func(d *decoder) { v = d.versionID() }, func() []byte { return putVersion(nil, v) })},
		"bucket names":    {none, value(func(d *decoder) { i = d.bucketID() }, func() []byte { return putBucketID(nil, i) })},
		"namespace names": {none, value(func(d *decoder) { n = d.namespace() }, func() []byte { return putUvarint(nil, uint64(n)) })},
	}
}
