package metadata

import (
	"errors"
	"fmt"

	"github.com/holdall/holdall"
)

// A command is a mutation of the state: one Raft entry. Each has a typed
// result, named beside its tag, which decodeAnswer reads from apply's answer.
type command interface {
	tag() commandTag
	check() error              // faults that show without the state; wraps ErrInvalid
	encode(dst []byte) []byte  // of a command that check found good
	decode(d *decoder)         // the inverse
	run(t *tx) (result, error) // the effect; a refusal wraps a kind, a fault is fatal
}

// commandTag numbers the commands in entries. Never renumber.
type commandTag byte

const (
	tagOpenSession    commandTag = 1  // numberResult: the session
	tagInitCell       commandTag = 2  // noResult
	tagRaiseGate      commandTag = 3  // noResult
	tagCommitStripe   commandTag = 4  // commitAnswer; commitStripe.result makes the CommitResult
	tagClaim          commandTag = 5  // idsResult: ids without a row (send them again)
	tagDelete         commandTag = 6  // idsResult: ids without a row
	tagUndelete       commandTag = 7  // idsResult: ids without a row (purged, or never there)
	tagPurge          commandTag = 8  // purgeAnswer
	tagCreateVolume   commandTag = 9  // volumeResult
	tagTakeLease      commandTag = 10 // volumeResult
	tagRenewLeases    commandTag = 11 // volumesResult: those whose lease is lost
	tagSealVolume     commandTag = 12 // volumeResult
	tagMarkFooter     commandTag = 13 // noResult
	tagFreeVolume     commandTag = 14 // volumeResult
	tagMarkFreed      commandTag = 15 // noResult
	tagAddDisk        commandTag = 16 // noResult
	tagGrantMount     commandTag = 17 // mountAnswer
	tagConfirmMount   commandTag = 18 // noResult
	tagSetDisk        commandTag = 19 // noResult
	tagAddTask        commandTag = 20 // numberResult: the task's id, an older one's if the subject has one
	tagDoneTask       commandTag = 21 // noResult
	tagFlushChanges   commandTag = 22 // noResult
	tagSetBreaker     commandTag = 23 // noResult
	tagReleaseBreaker commandTag = 24 // noResult
	tagSetNamespace   commandTag = 25 // noResult
	tagRaiseCell      commandTag = 26 // numberResult: the new incarnation
	tagReleaseCell    commandTag = 27 // noResult
	tagAdoptVolume    commandTag = 28 // noResult; quarantine only
	tagAdoptStripe    commandTag = 29 // commitAnswer; quarantine only
	tagReplayChanges  commandTag = 30 // noResult; quarantine only

	tagClaimPending     commandTag = 31 // idsResult: ids without a row (send them again)
	tagCreateNamespace  commandTag = 32 // spaceAnswer
	tagRemoveNamespace  commandTag = 33 // noResult
	tagPutCredential    commandTag = 34 // noResult
	tagRemoveCredential commandTag = 35 // noResult
	tagCreateBucket     commandTag = 36 // bucketAnswer
	tagSetBucket        commandTag = 37 // noResult
	tagRemoveBucket     commandTag = 38 // noResult
	tagCommitNode       commandTag = 39 // goneAnswer
	tagReleaseNode      commandTag = 40 // purgeAnswer
	tagCommitObject     commandTag = 41 // objectAnswer
	tagDeleteObject     commandTag = 42 // objectAnswer
	tagUndeleteObject   commandTag = 43 // objectAnswer
	tagSetTags          commandTag = 44 // objectAnswer
	tagPurgeObjects     commandTag = 45 // purgeAnswer
	tagCreateUpload     commandTag = 46 // uploadAnswer
	tagPutPart          commandTag = 47 // goneAnswer
	tagAbortUpload      commandTag = 48 // noResult
	tagReleaseUpload    commandTag = 49 // numberResult: the parts left

	tagCreateMigration commandTag = 50 // migrationAnswer
	tagSetMigration    commandTag = 51 // migrationAnswer
	tagRemoveMigration commandTag = 52 // noResult
	tagAnnounce        commandTag = 53 // migrationAnswer
	tagCancelStep      commandTag = 54 // migrationAnswer
	tagStep            commandTag = 55 // migrationAnswer
	tagAckStep         commandTag = 56 // noResult
	tagSeeDoor         commandTag = 57 // fencedAnswer
	tagDropDoor        commandTag = 58 // noResult
	tagTakeIntent      commandTag = 59 // takeAnswer
	tagEndIntent       commandTag = 60 // noResult
	tagLapseIntents    commandTag = 61 // numberResult: how many were lapsed
	tagNoteMiss        commandTag = 62 // noResult
	tagNoteMismatch    commandTag = 63 // noResult
	tagTouchEntry      commandTag = 64 // noResult
	tagPutQuarantine   commandTag = 65 // noResult
	tagDropQuarantine  commandTag = 66 // noResult
	tagPutException    commandTag = 67 // noResult
	tagDropException   commandTag = 68 // noResult
	tagNoteWalker      commandTag = 69 // noResult
	tagNotePass        commandTag = 70 // noResult
	tagCertify         commandTag = 71 // noResult

	tagReplayNames commandTag = 72 // noResult; quarantine only
	tagAdoptObject commandTag = 73 // objectAnswer: the version, or nothing; a root without a row is gone; quarantine only
	tagAdoptNode   commandTag = 74 // goneAnswer: what has no row; quarantine only
)

// newCommand returns an empty command of a kind, or nil if this release does
// not know the tag.
func newCommand(tag commandTag) command {
	switch tag {
	case tagOpenSession:
		return new(openSession)
	case tagInitCell:
		return new(initCell)
	case tagRaiseGate:
		return new(raiseGate)
	case tagCommitStripe:
		return new(commitStripe)
	case tagClaim, tagDelete, tagUndelete, tagClaimPending:
		return &changeBlocks{Verb: tag}
	case tagPurge:
		return new(purgeBlocks)
	case tagCreateVolume:
		return new(createVolume)
	case tagTakeLease:
		return new(takeLease)
	case tagRenewLeases:
		return new(renewLeases)
	case tagSealVolume:
		return new(sealVolume)
	case tagMarkFooter, tagMarkFreed:
		return &markMember{Mark: tag}
	case tagFreeVolume:
		return new(freeVolume)
	case tagAddDisk:
		return new(addDisk)
	case tagGrantMount:
		return new(grantMount)
	case tagConfirmMount:
		return new(confirmMount)
	case tagSetDisk:
		return new(setDisk)
	case tagAddTask:
		return new(addTask)
	case tagDoneTask:
		return new(doneTask)
	case tagFlushChanges:
		return new(flushChanges)
	case tagSetBreaker:
		return new(setBreaker)
	case tagReleaseBreaker:
		return new(releaseBreaker)
	case tagSetNamespace:
		return new(setNamespace)
	case tagRaiseCell:
		return new(raiseCell)
	case tagReleaseCell:
		return new(releaseCell)
	case tagAdoptVolume:
		return new(adoptVolume)
	case tagAdoptStripe:
		return new(adoptStripe)
	case tagReplayChanges:
		return new(replayChanges)
	}
	return newNameCommand(tag)
}

// newNameCommand is newCommand for the tables of names.
func newNameCommand(tag commandTag) command {
	switch tag {
	case tagCreateNamespace:
		return new(createNamespace)
	case tagRemoveNamespace:
		return new(removeNamespace)
	case tagPutCredential:
		return new(putCredential)
	case tagRemoveCredential:
		return new(removeCredential)
	case tagCreateBucket:
		return new(createBucket)
	case tagSetBucket:
		return new(setBucket)
	case tagRemoveBucket:
		return new(removeBucket)
	case tagCommitNode:
		return new(commitNode)
	case tagReleaseNode:
		return new(releaseNode)
	case tagCommitObject:
		return new(commitObject)
	case tagDeleteObject:
		return new(deleteObject)
	case tagUndeleteObject:
		return new(undeleteObject)
	case tagSetTags:
		return new(setTags)
	case tagPurgeObjects:
		return new(purgeObjects)
	case tagCreateUpload:
		return new(createUpload)
	case tagPutPart:
		return new(putPart)
	case tagAbortUpload:
		return new(abortUpload)
	case tagReleaseUpload:
		return new(releaseUpload)
	}
	return newMigrationCommand(tag)
}

// newMigrationCommand is newCommand for the tables of migrations, and for rebuilds
// of names.
func newMigrationCommand(tag commandTag) command {
	switch tag {
	case tagCreateMigration:
		return new(createMigration)
	case tagSetMigration:
		return new(setMigration)
	case tagRemoveMigration:
		return new(removeMigration)
	case tagAnnounce, tagCancelStep, tagStep:
		return &stepMigration{Verb: tag}
	case tagAckStep:
		return new(ackStep)
	case tagSeeDoor, tagDropDoor:
		return &seeDoor{Verb: tag}
	case tagTakeIntent:
		return new(takeIntent)
	case tagEndIntent:
		return new(endIntent)
	case tagLapseIntents:
		return new(lapseIntents)
	case tagNoteMiss, tagNoteMismatch, tagPutQuarantine, tagDropQuarantine, tagDropException:
		return &noteKey{Verb: tag}
	case tagTouchEntry:
		return new(touchEntry)
	case tagPutException:
		return new(putException)
	case tagNoteWalker:
		return new(noteWalker)
	case tagNotePass:
		return new(notePass)
	case tagCertify:
		return new(certify)
	case tagReplayNames:
		return new(replayNames)
	case tagAdoptObject:
		return new(adoptObject)
	case tagAdoptNode:
		return new(adoptNode)
	}
	return nil
}

// header precedes every command in its entry.
type header struct {
	// Session and Seq name the mutation: a repeat gets the first answer. Session
	// 0 is none: the command is applied as often as it comes.
	Session uint64
	Seq     uint64 // from 1
	Lowest  uint64 // the lowest Seq whose answer the session still waits for; at most Seq
	Time    instant
}

// entryVersion is the first byte of every entry.
const entryVersion = 1

// errTooNew is the fault of an entry that a later release wrote. Skipping it
// would make this voter differ from the others, so it is fatal.
var errTooNew = errors.New("written by a later release: upgrade this process")

// encodeCommand returns the entry of c: at most holdall.MaxRaftEntry bytes.
// Errors wrap ErrInvalid.
func encodeCommand(h header, c command) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 256), entryVersion, byte(c.tag()))
	b = putUvarint(putUvarint(putUvarint(putUvarint(b, h.Session), h.Seq), h.Lowest), uint64(h.Time))
	b = c.encode(b)
	if len(b) > holdall.MaxRaftEntry {
		return nil, fmt.Errorf("metadata: %T takes %d bytes, the most an entry may have is %d: %w",
			c, len(b), holdall.MaxRaftEntry, holdall.ErrInvalid)
	}
	return b, nil
}

// decodeCommand is the inverse of encodeCommand. What it returns aliases
// nothing of entry. Errors wrap ErrCorrupt, or errTooNew.
func decodeCommand(entry []byte) (h header, c command, err error) {
	bad := func(err error) (header, command, error) {
		return header{}, nil, fmt.Errorf("metadata: entry of %d bytes: %v: %w", len(entry), err, holdall.ErrCorrupt)
	}
	if len(entry) < 2 || len(entry) > holdall.MaxRaftEntry {
		return bad(errors.New("impossible size"))
	}
	if entry[0] == 0 {
		return bad(errors.New("version 0"))
	}
	if entry[0] > entryVersion {
		return header{}, nil, fmt.Errorf("metadata: entry version %d: %w", entry[0], errTooNew)
	}
	if c = newCommand(commandTag(entry[1])); c == nil {
		return header{}, nil, fmt.Errorf("metadata: command %d: %w", entry[1], errTooNew)
	}
	d := decoder{b: entry[2:]}
	h = header{Session: d.uvarint(), Seq: d.uvarint(), Lowest: d.uvarint(), Time: d.instant()}
	c.decode(&d)
	if err := d.finish(); err != nil {
		return bad(fmt.Errorf("%T: %w", c, err))
	}
	if err := errors.Join(h.check(), c.check()); err != nil {
		return bad(fmt.Errorf("%T: %w", c, err))
	}
	return h, c, nil
}

func (h *header) check() error {
	if h.Session != 0 && (h.Seq == 0 || h.Lowest == 0 || h.Lowest > h.Seq) || h.Time > maxInstant {
		return fmt.Errorf("metadata: header %+v: %w", *h, holdall.ErrInvalid)
	}
	return nil
}
