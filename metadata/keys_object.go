package metadata

import (
	"encoding/binary"
	"fmt"

	"github.com/holdall/holdall"
)

// appendKeyBytes appends the key of an object so that what follows it cannot be
// taken for a part of it, and keys sort by their bytes: a zero byte becomes 00 FF,
// the end is 00 00. What begins with a prefix still does.
func appendKeyBytes(dst []byte, key string) []byte {
	return append(appendKeyPrefix(dst, key), 0, 0)
}

// appendKeyPrefix is appendKeyBytes without the end.
func appendKeyPrefix(dst []byte, prefix string) []byte {
	for i := range len(prefix) {
		if dst = append(dst, prefix[i]); prefix[i] == 0 {
			dst = append(dst, 0xff)
		}
	}
	return dst
}

// keyBytes reads what appendKeyBytes wrote.
func (d *decoder) keyBytes() string {
	var key []byte
	for d.err == nil {
		c := d.byte()
		if c != 0 {
			key = append(key, c)
			continue
		}
		switch c := d.byte(); {
		case c == 0xff:
			key = append(key, 0)
		case c == 0:
			if len(key) == 0 || len(key) > holdall.MaxKeySize {
				d.fail(fmt.Errorf("an object's key of %d bytes", len(key)))
			}
			return string(key)
		default:
			d.fail(fmt.Errorf("a zero byte followed by %#x in an object's key", c))
		}
	}
	return ""
}

// after returns the first key above all that begin with prefix: nil if there is
// none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := append([]byte(nil), prefix[:i+1]...)
			next[i]++
			return next
		}
	}
	return nil
}

func (d *decoder) putID() (id holdall.PutID) { copy(id[:], d.take(len(id))); return id }

func appendBucketKey(dst []byte, b holdall.BucketID) []byte {
	return putBig64(append(dst, prefixBucket), uint64(b))
}

func parseBucketKey(key []byte) (holdall.BucketID, error) {
	d := decoder{b: key}
	d.prefix(prefixBucket)
	b := holdall.BucketID(d.big64())
	return b, d.key("bucket", key)
}

// appendBucketNameKey leads from a bucket's name to its id.
func appendBucketNameKey(dst []byte, ns holdall.NamespaceID, name string) []byte {
	return append(binary.BigEndian.AppendUint32(append(dst, prefixBucketName), uint32(ns)), name...)
}

// appendSpaceNameKey leads from a namespace's name to its id.
func appendSpaceNameKey(dst []byte, name string) []byte {
	return append(append(dst, prefixSpaceName), name...)
}

func appendCredentialKey(dst []byte, access string) []byte {
	return append(append(dst, prefixCredential), access...)
}

func parseCredentialKey(key []byte) (string, error) {
	d := decoder{b: key}
	d.prefix(prefixCredential)
	access := string(d.take(len(d.b)))
	if access == "" || len(access) > maxAccessKey {
		d.fail(fmt.Errorf("an access key of %d bytes", len(access)))
	}
	return access, d.key("credential", key)
}

// appendKeyRows is what all rows of one object's key begin with.
func appendKeyRows(dst []byte, b holdall.BucketID, key string) []byte {
	return appendKeyBytes(putBig64(append(dst, prefixObject), uint64(b)), key)
}

// appendObjectKey sorts the newest version of a key first.
func appendObjectKey(dst []byte, k *ObjectKey) []byte {
	return putBig64(appendKeyRows(dst, k.Bucket, k.Key), ^uint64(k.Version))
}

func parseObjectKey(key []byte) (k ObjectKey, err error) {
	d := decoder{b: key}
	d.prefix(prefixObject)
	k.Bucket, k.Key, k.Version = holdall.BucketID(d.big64()), d.keyBytes(), ^holdall.Version(d.big64())
	return k, d.key("object", key)
}

// appendPutKey leads from a put to the version that it committed. Puts are of a
// key, which may be long: a hash stands for both.
func appendPutKey(dst []byte, b holdall.BucketID, key string, put holdall.PutID) []byte {
	of := append(append(putBig64(make([]byte, 0, 8+len(put)+len(key)), uint64(b)), put[:]...), key...)
	hash := holdall.HashBlock(of)
	return append(append(dst, prefixPut), hash[:16]...)
}

// appendObjectTrashKey sorts versions by when their retention begins to count,
// older ones of a key first: a marker is the last of its key to go.
func appendObjectTrashKey(dst []byte, at instant, k *ObjectKey) []byte {
	dst = putBig64(putBig64(append(dst, prefixObjectTrash), uint64(at)), uint64(k.Bucket))
	return putBig64(appendKeyBytes(dst, k.Key), uint64(k.Version))
}

func parseObjectTrashKey(key []byte) (at instant, k ObjectKey, err error) {
	d := decoder{b: key}
	d.prefix(prefixObjectTrash)
	at = instant(d.big64())
	k.Bucket, k.Key, k.Version = holdall.BucketID(d.big64()), d.keyBytes(), holdall.Version(d.big64())
	return at, k, d.key("object trash", key)
}

func appendUploadKey(dst []byte, id holdall.PutID) []byte {
	return append(append(dst, prefixUpload), id[:]...)
}

func parseUploadKey(key []byte) (holdall.PutID, error) {
	d := decoder{b: key}
	d.prefix(prefixUpload)
	id := d.putID()
	return id, d.key("upload", key)
}

// appendOpenUploadKey lists the open uploads of a bucket by key.
func appendOpenUploadKey(dst []byte, b holdall.BucketID, key string, id holdall.PutID) []byte {
	return append(appendKeyBytes(putBig64(append(dst, prefixOpenUpload), uint64(b)), key), id[:]...)
}

func parseOpenUploadKey(key []byte) (b holdall.BucketID, of string, id holdall.PutID, err error) {
	d := decoder{b: key}
	d.prefix(prefixOpenUpload)
	b, of, id = holdall.BucketID(d.big64()), d.keyBytes(), d.putID()
	return b, of, id, d.key("open upload", key)
}

// appendEndedUploadKey lists ended uploads by when there is something to release.
func appendEndedUploadKey(dst []byte, due instant, id holdall.PutID) []byte {
	return append(putBig64(append(dst, prefixEndedUpload), uint64(due)), id[:]...)
}

func parseEndedUploadKey(key []byte) (due instant, id holdall.PutID, err error) {
	d := decoder{b: key}
	d.prefix(prefixEndedUpload)
	due, id = instant(d.big64()), d.putID()
	return due, id, d.key("ended upload", key)
}

func appendPartKey(dst []byte, upload holdall.PutID, number int) []byte {
	return binary.BigEndian.AppendUint16(append(append(dst, prefixPart), upload[:]...), uint16(number))
}

func parsePartKey(key []byte) (upload holdall.PutID, number int, err error) {
	d := decoder{b: key}
	d.prefix(prefixPart)
	upload = d.putID()
	if b := d.take(2); len(b) == 2 {
		number = int(binary.BigEndian.Uint16(b))
	}
	return upload, number, d.key("part", key)
}
