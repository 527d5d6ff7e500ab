package metadata

import (
	"context"
	"time"

	"github.com/holdall/holdall"
)

// do carries out a command and decodes its result.
func (r *replica) do(ctx context.Context, c command, into result) error {
	answer, err := r.mutate(ctx, c)
	if err != nil {
		return err
	}
	return decodeAnswer(answer, into)
}

// number carries out a command whose result is a number.
func (s *Store) number(ctx context.Context, c command) (uint64, error) {
	var r numberResult
	err := s.r.do(ctx, c, &r)
	return r.N, err
}

// volume carries out a command whose result is a volume.
func (s *Store) volume(ctx context.Context, c command) (Volume, error) {
	var r volumeResult
	err := s.r.do(ctx, c, &r)
	return r.Volume, err
}

// CommitStripe is the commit point of a put: all blocks of one stripe, or none.
// ErrStale: the volume is not open, or the epoch or the number not the present
// one; the blocks go elsewhere.
func (s *Store) CommitStripe(ctx context.Context, stripe StripeCommit) (CommitResult, error) {
	c := &commitStripe{stripe}
	answer, err := s.r.mutate(ctx, c)
	if err != nil {
		return CommitResult{}, err
	}
	return c.result(answer)
}

// changeBlocks returns the ids that the change found no row for.
func (s *Store) changeBlocks(ctx context.Context, verb commandTag, ns holdall.NamespaceID, ids []holdall.BlockID) ([]holdall.BlockID, error) {
	var r idsResult
	err := s.r.do(ctx, &changeBlocks{Verb: verb, Namespace: ns, IDs: ids}, &r)
	return r.IDs, err
}

// Claim makes blocks direct, out of trash where they were there, and returns
// the ids that are gone: those have to be put again.
func (s *Store) Claim(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	return s.changeBlocks(ctx, tagClaim, ns, ids)
}

// Delete clears direct, and returns the ids that have no row.
func (s *Store) Delete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (absent []holdall.BlockID, err error) {
	return s.changeBlocks(ctx, tagDelete, ns, ids)
}

// Undelete sets direct again, and returns the ids that are gone.
func (s *Store) Undelete(ctx context.Context, ns holdall.NamespaceID, ids []holdall.BlockID) (gone []holdall.BlockID, err error) {
	return s.changeBlocks(ctx, tagUndelete, ns, ids)
}

// Purge removes the rows of blocks whose retention in trash has ended, at most
// holdall.MaxIDsPerCall, as far as the breaker lets it.
func (s *Store) Purge(ctx context.Context, keys []BlockKey) (PurgeResult, error) {
	var r purgeAnswer
	err := s.r.do(ctx, &purgeBlocks{Keys: keys}, &r)
	return r.PurgeResult, err
}

// NewVolume says what a volume is to be made of.
type NewVolume struct {
	Scheme  holdall.Scheme
	Limit   int64            // bytes an extent may hold, footer included
	Disks   []holdall.DiskID // of the members, by member
	System  bool             // for the change journal
	Gateway string           // who is to hold its lease
	Lease   time.Duration    // how long
}

// CreateVolume makes a volume, open and leased.
func (s *Store) CreateVolume(ctx context.Context, v NewVolume) (Volume, error) {
	return s.volume(ctx, &createVolume{Scheme: v.Scheme, Limit: v.Limit, Disks: v.Disks, System: v.System, Gateway: v.Gateway, Lease: v.Lease})
}

// TakeLease gives a volume's lease to a gateway, under the next epoch: its own
// at any time, another's only when it has lapsed.
func (s *Store) TakeLease(ctx context.Context, id holdall.VolumeID, gateway string, lease time.Duration) (Volume, error) {
	return s.volume(ctx, &takeLease{Volume: id, Gateway: gateway, Lease: lease})
}

// RenewLeases lengthens leases that a gateway holds, and returns the volumes
// whose lease is lost.
func (s *Store) RenewLeases(ctx context.Context, gateway string, ids []holdall.VolumeID, lease time.Duration) (lost []holdall.VolumeID, err error) {
	var r volumesResult
	err = s.r.do(ctx, &renewLeases{Gateway: gateway, Volumes: ids, Lease: lease}, &r)
	return r.IDs, err
}

// SealVolume ends appends to a volume at its last committed stripe. epoch is
// that of the lease under which it is sealed; force, an operator's, needs none.
func (s *Store) SealVolume(ctx context.Context, id holdall.VolumeID, epoch holdall.Epoch, force bool) (Volume, error) {
	return s.volume(ctx, &sealVolume{Volume: id, Epoch: epoch, Force: force})
}

// MarkFooter notes that a sealed volume's member has its footer, or never will.
func (s *Store) MarkFooter(ctx context.Context, id holdall.VolumeID, member uint8) error {
	return s.r.do(ctx, &markMember{Mark: tagMarkFooter, Volume: id, Member: member}, noResult{})
}

// FreeVolume gives a sealed volume up; ErrRefused while a row names it.
func (s *Store) FreeVolume(ctx context.Context, id holdall.VolumeID, epoch holdall.Epoch) (Volume, error) {
	return s.volume(ctx, &freeVolume{Volume: id, Epoch: epoch})
}

// MarkFreed notes that a freed volume's member was reset. After the last, the
// volume's row is dropped.
func (s *Store) MarkFreed(ctx context.Context, id holdall.VolumeID, member uint8) error {
	return s.r.do(ctx, &markMember{Mark: tagMarkFreed, Volume: id, Member: member}, noResult{})
}

// AddDisk makes a disk one of the cell's.
func (s *Store) AddDisk(ctx context.Context, d Disk) error {
	return s.r.do(ctx, &addDisk{Disk: d}, noResult{})
}

// GrantMount answers a disk that shows an incarnation and wants to be mounted
// at path on node: with the incarnation that it must write, durably, and then
// confirm. A disk that shows an older one than was confirmed is a copy: refused.
func (s *Store) GrantMount(ctx context.Context, id holdall.DiskID, shown uint64, path, node string) (MountGrant, error) {
	var r mountAnswer
	err := s.r.do(ctx, &grantMount{Disk: id, Shown: shown, Path: path, Node: node}, &r)
	return r.MountGrant, err
}

// ConfirmMount notes that a disk carries the incarnation it was granted.
func (s *Store) ConfirmMount(ctx context.Context, id holdall.DiskID, incarnation uint64) error {
	return s.r.do(ctx, &confirmMount{Disk: id, Incarnation: incarnation}, noResult{})
}

// SetDisk changes the state of a disk, and says why.
func (s *Store) SetDisk(ctx context.Context, id holdall.DiskID, state holdall.DiskState, reason string) error {
	return s.r.do(ctx, &setDisk{Disk: id, State: state, Reason: reason}, noResult{})
}

// FlushChanges forgets the changes up to and with upTo: they are in the journal
// on disks.
func (s *Store) FlushChanges(ctx context.Context, upTo uint64) error {
	return s.r.do(ctx, &flushChanges{UpTo: upTo}, noResult{})
}

// AddTask notes something for upkeep to do and returns its id: that of the
// older one, if the subject has a task.
func (s *Store) AddTask(ctx context.Context, t Task) (uint64, error) {
	return s.number(ctx, &addTask{Task: t})
}

// DoneTask drops a task.
func (s *Store) DoneTask(ctx context.Context, t Task) error {
	return s.r.do(ctx, &doneTask{Task: t}, noResult{})
}

// SetBreaker sets when the purge breaker trips: share is in millionths of all
// rows an hour, floor in rows an hour.
func (s *Store) SetBreaker(ctx context.Context, share uint32, floor int64) error {
	return s.r.do(ctx, &setBreaker{Share: share, Floor: floor}, noResult{})
}

// ReleaseBreaker lifts the purge breaker's limit for a while.
func (s *Store) ReleaseBreaker(ctx context.Context, d time.Duration) error {
	return s.r.do(ctx, &releaseBreaker{For: d}, noResult{})
}

// ReleaseQuarantine ends the quarantine that follows a rebuild: an
// operator has seen what came of it.
func (s *Store) ReleaseQuarantine(ctx context.Context) error {
	return s.r.do(ctx, &releaseCell{}, noResult{})
}
