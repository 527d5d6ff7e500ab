package metadata

import (
	"errors"
	"fmt"
	"slices"

	"github.com/holdall/holdall"
)

// An answer is what apply says to the command of one entry. Answers of sessions
// are state: a repeated command gets the bytes of its first answer. The first
// byte is 0 and a result follows, or it is the kind of a refusal and its text
// follows.

// maxAnswerText bounds the text of a refusal, in bytes.
const maxAnswerText = 1024

// A result is the typed part of an answer.
type result interface {
	encode(dst []byte) []byte
	decode(d *decoder)
}

// answerKinds gives every kind of error its number in answers. Never renumber.
var answerKinds = [...]error{
	1: holdall.ErrInvalid, 2: holdall.ErrNotFound, 3: holdall.ErrUnavailable,
	4: holdall.ErrExhausted, 5: holdall.ErrStale, 6: holdall.ErrRefused, 7: errNoSession,
	8: holdall.ErrExists, 9: holdall.ErrCondition, 10: holdall.ErrCorrupt, 11: ErrNoBucket, 12: ErrNoUpload,
}

func encodeAnswer(r result, refusal error) []byte {
	if refusal == nil {
		return r.encode([]byte{0})
	}
	for i, kind := range slices.Backward(answerKinds[1:]) { // the special ones wrap the common ones
		if errors.Is(refusal, kind) {
			text := refusal.Error()
			return append([]byte{byte(i + 1)}, text[:min(len(text), maxAnswerText)]...)
		}
	}
	panic(fmt.Sprintf("metadata: a refusal of no kind: %v", refusal))
}

// A refusal is an error that apply gave as its answer.
type refusal struct {
	text string
	kind error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// decodeAnswer reads an answer of apply. If the command was refused it returns
// the refusal, which wraps the kind that apply gave; else it fills in r.
func decodeAnswer(b []byte, r result) error {
	if len(b) == 0 {
		return fmt.Errorf("metadata: empty answer: %w", holdall.ErrCorrupt)
	}
	if k := int(b[0]); k != 0 {
		if k >= len(answerKinds) {
			return fmt.Errorf("metadata: answer of unknown kind %d: %w", k, holdall.ErrCorrupt)
		}
		return &refusal{text: string(b[1:]), kind: answerKinds[k]}
	}
	d := decoder{b: b[1:]}
	r.decode(&d)
	if err := d.finish(); err != nil {
		return fmt.Errorf("metadata: answer %T: %v: %w", r, err, holdall.ErrCorrupt)
	}
	return nil
}

// noResult is the result of commands that only succeed or not.
type noResult struct{}

func (noResult) encode(dst []byte) []byte { return dst }
func (noResult) decode(*decoder)          {}

// numberResult is a session, a task.
type numberResult struct{ N uint64 }

func (r *numberResult) encode(dst []byte) []byte { return putUvarint(dst, r.N) }
func (r *numberResult) decode(d *decoder)        { r.N = d.uvarint() }

// idsResult names blocks: those that a command did not find.
type idsResult struct{ IDs []holdall.BlockID }

func (r *idsResult) encode(dst []byte) []byte { return putIDs(dst, r.IDs) }
func (r *idsResult) decode(d *decoder)        { r.IDs = d.ids() }

func putIDs(dst []byte, ids []holdall.BlockID) []byte {
	dst = putUvarint(dst, uint64(len(ids)))
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

func (d *decoder) ids() []holdall.BlockID { return d.idsUpTo(holdall.MaxIDsPerCall) }

func (d *decoder) idsUpTo(limit int) []holdall.BlockID {
	n := d.length(limit, len(holdall.BlockID{}))
	if n == 0 {
		return nil
	}
	ids := make([]holdall.BlockID, n)
	for i := range ids {
		ids[i] = d.blockID()
	}
	return ids
}

// volumesResult names volumes: those that a command did not apply to.
type volumesResult struct{ IDs []holdall.VolumeID }

func (r *volumesResult) encode(dst []byte) []byte { return putVolumeIDs(dst, r.IDs) }
func (r *volumesResult) decode(d *decoder)        { r.IDs = d.volumeIDs() }

func putVolumeIDs(dst []byte, ids []holdall.VolumeID) []byte {
	dst = putUvarint(dst, uint64(len(ids)))
	for _, v := range ids {
		dst = putVolumeID(dst, v)
	}
	return dst
}

func (d *decoder) volumeIDs() []holdall.VolumeID {
	n := d.length(maxVolumesPerCall, 2)
	if n == 0 {
		return nil
	}
	ids := make([]holdall.VolumeID, n)
	for i := range ids {
		ids[i] = d.volumeID()
	}
	return ids
}

// volumeResult is a volume as the command left it.
type volumeResult struct{ Volume Volume }

func (r *volumeResult) encode(dst []byte) []byte {
	return appendVolume(putVolumeID(dst, r.Volume.ID), &r.Volume)
}

func (r *volumeResult) decode(d *decoder) {
	r.Volume.ID = d.volumeID()
	d.volume(&r.Volume)
}

// commitAnswer names the blocks of a stripe whose rows do not point at the new
// copy: usually none. See commitStripe.result.
type commitAnswer struct {
	Index []int
	Kept  []holdall.Location
}

func (r *commitAnswer) encode(dst []byte) []byte {
	dst = putUvarint(dst, uint64(len(r.Index)))
	for i, at := range r.Index {
		dst = putLocation(putUvarint(dst, uint64(at)), r.Kept[i])
	}
	return dst
}

func (r *commitAnswer) decode(d *decoder) {
	n := d.length(holdall.MaxStripeBlocks, 6)
	for range n {
		r.Index = append(r.Index, int(d.upTo(holdall.MaxStripeBlocks-1)))
		r.Kept = append(r.Kept, d.location())
	}
}

// purgeAnswer is a PurgeResult.
type purgeAnswer struct{ PurgeResult }

func (r *purgeAnswer) encode(dst []byte) []byte {
	return putBlockKeys(putBool(putCount(putCount(dst, r.Purged), r.Waiting), r.Stopped), r.Nodes)
}

func (r *purgeAnswer) decode(d *decoder) {
	r.Purged, r.Waiting, r.Stopped, r.Nodes = d.count(), d.count(), d.bool(), d.blockKeys()
}

func putBlockKeys(dst []byte, keys []BlockKey) []byte {
	dst = putUvarint(dst, uint64(len(keys)))
	for i := range keys {
		dst = append(putUvarint(dst, uint64(keys[i].Namespace)), keys[i].ID[:]...)
	}
	return dst
}

func (d *decoder) blockKeys() []BlockKey {
	n := d.length(holdall.MaxIDsPerCall, 1+len(holdall.BlockID{}))
	if n == 0 {
		return nil
	}
	keys := make([]BlockKey, n)
	for i := range keys {
		keys[i] = BlockKey{Namespace: d.namespace(), ID: d.blockID()}
	}
	return keys
}

// mountAnswer is a MountGrant.
type mountAnswer struct{ MountGrant }

func (r *mountAnswer) encode(dst []byte) []byte {
	return append(putUvarint(dst, r.Incarnation), byte(r.State))
}

func (r *mountAnswer) decode(d *decoder) {
	r.Incarnation, r.State = d.uvarint(), holdall.DiskState(d.byte())
}
