package metadata

import (
	"fmt"
	"time"

	"github.com/holdall/holdall"
)

// changeBlocks claims, deletes or undeletes blocks by id: Verb says which. All
// may be repeated.
type changeBlocks struct {
	Verb      commandTag // tagClaim, tagDelete, tagUndelete or tagClaimPending
	Namespace holdall.NamespaceID
	IDs       []holdall.BlockID
}

func (c *changeBlocks) tag() commandTag { return c.Verb }

func (c *changeBlocks) check() error {
	if len(c.IDs) > holdall.MaxIDsPerCall {
		return fmt.Errorf("metadata: %d ids in a call, the most is %d: %w", len(c.IDs), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	return nil
}

func (c *changeBlocks) encode(dst []byte) []byte {
	return putIDs(putUvarint(dst, uint64(c.Namespace)), c.IDs)
}

func (c *changeBlocks) decode(d *decoder) { c.Namespace, c.IDs = d.namespace(), d.ids() }

func (c *changeBlocks) run(t *tx) (result, error) {
	if err := t.knownSpace(c.Namespace); err != nil {
		return nil, err
	}
	if c.Namespace != holdall.SystemNamespace { // see commitStripe
		if err := t.journalRoom(); err != nil {
			return nil, err
		}
	}
	gone := new(idsResult)
	for i := range c.IDs {
		old, err := t.block(c.Namespace, &c.IDs[i])
		if err != nil {
			return nil, err
		}
		if !old.Found {
			gone.IDs = append(gone.IDs, c.IDs[i])
			continue
		}
		hold := t.holdDirect
		if c.Verb == tagClaimPending {
			hold = t.holdPending
		}
		if err := hold(c.Verb, &old); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// holdPending holds a row on behalf of an object that will refer to it.
//
// It is not journaled: a rebuild from disks does not know it, and needs not. A
// hold that is pending only keeps a put that is under way from sending a block
// again, and no such put outlives all metadata: every commit, of a node, a part
// or an object, looks again whether its blocks are live, and names those that are
// gone. What was acknowledged is references, and those are journaled: a rebuild
// that replays a commit takes its blocks out of trash, if a delete it knows of put
// them there that was, in truth, overtaken by a hold it does not know of. A row
// that such a hold kept from being purged was not purged, so no purge is
// journaled, and the row is there to be referred to.
func (t *tx) holdPending(_ commandTag, old *Block) error {
	row := *old
	row.PendingUntil = max(toInstant(old.PendingUntil), t.now.after(pendingFor)).time()
	t.settle(&row)
	if row == *old {
		return nil
	}
	return t.setBlock(old, &row)
}

// holdDirect sets or clears Direct of a row, and journals it if that changed
// anything.
func (t *tx) holdDirect(verb commandTag, old *Block) error {
	row := *old
	kind := ChangeClaim
	switch row.Direct = true; verb {
	case tagDelete:
		row.Direct, kind = false, ChangeDelete
	case tagUndelete:
		kind = ChangeUndelete
	}
	if row.Direct == old.Direct {
		return nil
	}
	t.settle(&row)
	t.blockChange(kind, &row)
	return t.setBlock(old, &row)
}

// purgeBlocks removes rows from trash whose retention has ended.
type purgeBlocks struct{ Keys []BlockKey }

func (*purgeBlocks) tag() commandTag { return tagPurge }

func (c *purgeBlocks) check() error {
	if len(c.Keys) > holdall.MaxIDsPerCall {
		return fmt.Errorf("metadata: %d blocks in a purge, the most is %d: %w", len(c.Keys), holdall.MaxIDsPerCall, holdall.ErrInvalid)
	}
	return nil
}

func (c *purgeBlocks) encode(dst []byte) []byte { return putBlockKeys(dst, c.Keys) }
func (c *purgeBlocks) decode(d *decoder)        { c.Keys = d.blockKeys() }

func (c *purgeBlocks) run(t *tx) (result, error) {
	if t.sys.Quarantine != "" {
		return nil, t.quarantined("purge")
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	answer := new(purgeAnswer)
	for _, k := range c.Keys {
		old, err := t.block(k.Namespace, &k.ID)
		if err != nil {
			return nil, err
		}
		due, err := t.purgeDue(&old)
		if err != nil {
			return nil, err
		}
		if !due {
			answer.Waiting++
			continue
		}
		if old.Node { // its bytes name the blocks that it refers to: see releaseNode
			answer.Nodes = append(answer.Nodes, k)
			continue
		}
		if !t.mayPurge() {
			answer.Stopped = true
			break
		}
		t.blockChange(ChangePurge, &old)
		if err := t.setBlock(&old, &Block{Namespace: k.Namespace, ID: k.ID}); err != nil {
			return nil, err
		}
		answer.Purged++
	}
	return answer, nil
}

// purgeDue says whether a row may be purged: nothing holds it, and it has
// waited its namespace's retention since. That pending ran out unnoticed counts
// as trashed from then on.
func (t *tx) purgeDue(b *Block) (bool, error) {
	since := waitsSince(b)
	if since == 0 || since > t.now {
		return false, nil
	}
	n, err := t.space(b.Namespace)
	if err != nil || n == nil {
		return false, err
	}
	return since.after(n.Retention) <= t.now, nil
}

// breakerWindow is the time over which the breaker counts.
const breakerWindow = time.Hour

// mayPurge counts one row against the breaker, and says whether it may go. Once
// the breaker has tripped nothing goes until an operator releases it.
func (t *tx) mayPurge() bool {
	b := &t.sys.Breaker
	if toInstant(b.Released) > t.now {
		return true
	}
	if start := toInstant(b.WindowStart); !b.Tripped && (start == 0 || start.after(breakerWindow) <= t.now) {
		b.WindowStart, b.Purged = t.now.time(), 0
		b.Allowance = max(b.Floor, int64(float64(t.sys.Blocks)*float64(b.Share)/1e6))
	}
	if b.Tripped || b.Purged >= b.Allowance {
		b.Tripped = true
		return false
	}
	b.Purged++
	return true
}

func (t *tx) quarantined(what string) error {
	return fmt.Errorf("metadata: no %s in quarantine (%s); `holdall metadata release` ends it: %w", what, t.sys.Quarantine, holdall.ErrRefused)
}

// setBreaker sets how much may be purged in an hour.
type setBreaker struct {
	Share uint32 // millionths of all rows
	Floor int64  // rows
}

func (*setBreaker) tag() commandTag { return tagSetBreaker }

func (c *setBreaker) check() error {
	if c.Share > 1e6 || c.Floor < 0 {
		return fmt.Errorf("metadata: breaker of %d millionths, %d rows: %w", c.Share, c.Floor, holdall.ErrInvalid)
	}
	return nil
}

func (c *setBreaker) encode(dst []byte) []byte {
	return putCount(putUvarint(dst, uint64(c.Share)), c.Floor)
}

func (c *setBreaker) decode(d *decoder) { c.Share, c.Floor = d.uint32(), d.count() }

func (c *setBreaker) run(t *tx) (result, error) {
	t.sys.Breaker.Share, t.sys.Breaker.Floor = c.Share, c.Floor
	t.sys.Breaker.WindowStart = time.Time{}
	return noResult{}, nil
}

// maxRelease is the longest that an operator can lift the breaker for.
const maxRelease = 7 * 24 * time.Hour

// releaseBreaker lets purges go on after the breaker tripped, without limit for
// a while, then counting anew.
type releaseBreaker struct{ For time.Duration }

func (*releaseBreaker) tag() commandTag { return tagReleaseBreaker }

func (c *releaseBreaker) check() error {
	if c.For < 0 || c.For > maxRelease {
		return fmt.Errorf("metadata: breaker released for %v, want 0 to %v: %w", c.For, maxRelease, holdall.ErrInvalid)
	}
	return nil
}

func (c *releaseBreaker) encode(dst []byte) []byte { return putDuration(dst, c.For) }
func (c *releaseBreaker) decode(d *decoder)        { c.For = d.duration() }

func (c *releaseBreaker) run(t *tx) (result, error) {
	b := &t.sys.Breaker
	b.Tripped, b.WindowStart, b.Purged = false, time.Time{}, 0
	b.Released = t.now.after(c.For).time()
	return noResult{}, nil
}
