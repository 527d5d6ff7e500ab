package metadata

import (
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

func readBucket(r pebble.Reader, id holdall.BucketID) (Bucket, bool, error) {
	b := Bucket{ID: id}
	ok, err := get(r, appendBucketKey(nil, id), func(d *decoder) { d.bucket(&b) })
	return b, ok, err
}

// readBucketName returns the bucket with a name, or false.
func readBucketName(r pebble.Reader, ns holdall.NamespaceID, name string) (b Bucket, ok bool, err error) {
	var id holdall.BucketID
	if ok, err = get(r, appendBucketNameKey(nil, ns, name), func(d *decoder) { id = d.bucketID() }); !ok {
		return b, false, err
	}
	return readBucket(r, id)
}

// readSpaceName returns the namespace with a name, or false.
func readSpaceName(r pebble.Reader, name string) (n Namespace, ok bool, err error) {
	var id holdall.NamespaceID
	if ok, err = get(r, appendSpaceNameKey(nil, name), func(d *decoder) { id = d.namespace() }); !ok {
		return n, false, err
	}
	return readNamespace(r, id)
}

func readObject(r pebble.Reader, k ObjectKey) (Object, bool, error) {
	o := Object{Bucket: k.Bucket, Key: k.Key, Version: k.Version}
	ok, err := get(r, appendObjectKey(nil, &k), func(d *decoder) { d.object(&o) })
	return o, ok, err
}

func readUpload(r pebble.Reader, id holdall.PutID) (Upload, bool, error) {
	u := Upload{ID: id}
	ok, err := get(r, appendUploadKey(nil, id), func(d *decoder) { d.upload(&u) })
	return u, ok, err
}

func readCredential(r pebble.Reader, access string) (Credential, bool, error) {
	c := Credential{AccessKey: access}
	ok, err := get(r, appendCredentialKey(nil, access), func(d *decoder) { d.credential(&c) })
	return c, ok, err
}

// decodeObject decodes a row of the objects table.
func decodeObject(kv row) (o Object, err error) {
	k, err := parseObjectKey(kv.key)
	if err != nil {
		return o, err
	}
	o.Bucket, o.Key, o.Version = k.Bucket, k.Key, k.Version
	return o, decodeRow(kv.key, kv.value, func(d *decoder) { d.object(&o) })
}

// buckets yields all buckets by id, removed ones too.
func buckets(r pebble.Reader) iter.Seq2[Bucket, error] {
	lower, upper := tableBounds(prefixBucket)
	return table(r, lower, upper, func(kv row) (b Bucket, err error) {
		if b.ID, err = parseBucketKey(kv.key); err != nil {
			return b, err
		}
		return b, decodeRow(kv.key, kv.value, func(d *decoder) { d.bucket(&b) })
	})
}

// bucketNames yields the ids of a namespace's buckets by name, from what comes
// after a name on.
func bucketNames(r pebble.Reader, ns holdall.NamespaceID, afterName string) iter.Seq2[holdall.BucketID, error] {
	lower, upper := appendBucketNameKey(nil, ns, afterName+"\x00"), after(appendBucketNameKey(nil, ns, ""))
	return table(r, lower, upper, func(kv row) (id holdall.BucketID, err error) {
		return id, decodeRow(kv.key, kv.value, func(d *decoder) { id = d.bucketID() })
	})
}

// credentials yields all credentials by access key.
func credentials(r pebble.Reader) iter.Seq2[Credential, error] {
	lower, upper := tableBounds(prefixCredential)
	return table(r, lower, upper, func(kv row) (c Credential, err error) {
		if c.AccessKey, err = parseCredentialKey(kv.key); err != nil {
			return c, err
		}
		return c, decodeRow(kv.key, kv.value, func(d *decoder) { d.credential(&c) })
	})
}

// objects yields all versions by bucket, then key, newest first.
func objects(r pebble.Reader) iter.Seq2[Object, error] {
	lower, upper := tableBounds(prefixObject)
	return table(r, lower, upper, decodeObject)
}

// waitingObject is a line of the object trash.
type waitingObject struct {
	ObjectKey
	Since instant
}

// objectTrash yields what waits since before the given time, oldest first, from
// what comes after the given row on.
func objectTrash(r pebble.Reader, from waitingObject, before instant) iter.Seq2[waitingObject, error] {
	lower := []byte{prefixObjectTrash}
	if from.Since != 0 {
		lower = append(appendObjectTrashKey(nil, from.Since, &from.ObjectKey), 0)
	}
	upper := putBig64([]byte{prefixObjectTrash}, uint64(before))
	return table(r, lower, upper, func(kv row) (w waitingObject, err error) {
		w.Since, w.ObjectKey, err = parseObjectTrashKey(kv.key)
		return w, err
	})
}

// trashedObjects is objectTrash with what a purge wants to know, and without
// markers that are kept.
func trashedObjects(r pebble.Reader, from waitingObject, before instant) iter.Seq2[ObjectTrashed, error] {
	return func(yield func(ObjectTrashed, error) bool) {
		var b Bucket // of the last one: neighbours in time often share it
		for w, err := range objectTrash(r, from, before) {
			kept := false
			if err == nil && w.Bucket != b.ID {
				b, _, err = readBucket(r, w.Bucket)
			}
			if err == nil && b.KeepsMarkers && b.Removed.IsZero() {
				var o Object
				o, _, err = readObject(r, w.ObjectKey)
				kept = o.Marker && o.TrashedAt.IsZero()
			}
			if kept {
				continue
			}
			o := ObjectTrashed{Namespace: b.Namespace, ObjectKey: w.ObjectKey, Since: w.Since.time(), Removed: !b.Removed.IsZero()}
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}

// uploads yields all uploads by id.
func uploads(r pebble.Reader) iter.Seq2[Upload, error] {
	lower, upper := tableBounds(prefixUpload)
	return table(r, lower, upper, func(kv row) (u Upload, err error) {
		if u.ID, err = parseUploadKey(kv.key); err != nil {
			return u, err
		}
		return u, decodeRow(kv.key, kv.value, func(d *decoder) { d.upload(&u) })
	})
}

// endedUploads yields the ids of ended uploads that have something to release
// since before the given time.
func endedUploads(r pebble.Reader, before instant) iter.Seq2[holdall.PutID, error] {
	upper := putBig64([]byte{prefixEndedUpload}, uint64(before))
	return table(r, []byte{prefixEndedUpload}, upper, func(kv row) (holdall.PutID, error) {
		_, id, err := parseEndedUploadKey(kv.key)
		return id, err
	})
}

// UploadPart is a row of the parts table, and whose it is.
type UploadPart struct {
	Upload holdall.PutID
	Part
}

func decodePart(kv row) (p UploadPart, err error) {
	if p.Upload, p.Number, err = parsePartKey(kv.key); err != nil {
		return p, err
	}
	return p, decodeRow(kv.key, kv.value, func(d *decoder) { d.part(&p.Part) })
}

// parts yields all parts by upload, then number.
func parts(r pebble.Reader) iter.Seq2[UploadPart, error] {
	lower, upper := tableBounds(prefixPart)
	return table(r, lower, upper, decodePart)
}

// partsOf yields the parts of an upload with numbers above after.
func partsOf(r pebble.Reader, upload holdall.PutID, above int) iter.Seq2[UploadPart, error] {
	lower, upper := appendPartKey(nil, upload, above+1), after(append([]byte{prefixPart}, upload[:]...))
	return table(r, lower, upper, decodePart)
}
