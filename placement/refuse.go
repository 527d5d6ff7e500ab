package placement

import (
	"fmt"
	"strings"

	"github.com/holdall/holdall"
)

// refusal is the kind of reason for which a disk is not used.
type refusal uint8

const (
	fine      refusal = iota
	out               // failed, draining, or held back: may come back
	full              // no space or no open zone: may be freed
	misplaced         // its label does not say where it is
)

// refuse says why d cannot take a member that needs bytes, if it cannot.
func refuse(d Disk, level Level, need int64) (string, refusal) {
	_, placed := level.of(d)
	switch {
	case !placed:
		return fmt.Sprintf("its label %q names no %v", d.Domain, level), misplaced
	case d.State != holdall.DiskActive && d.Reason != "":
		return fmt.Sprintf("%v: %s", d.State, d.Reason), out
	case d.State != holdall.DiskActive:
		return d.State.String(), out
	case d.Reason != "":
		return d.Reason, out
	case d.Free < need || d.Free <= 0:
		return fmt.Sprintf("full: %d bytes free, needs %d", d.Free, need), full
	case d.MaxOpen > 0 && d.OpenZones+1 > d.MaxOpen-ReservedZones:
		return fmt.Sprintf("no open zone left: %d of %d open, %d are reserved", d.OpenZones, d.MaxOpen, ReservedZones), full
	}
	return "", fine
}

// tooFew returns the error for a volume that fits in no form: the reason of every
// disk that is not used, and the kind of the change that would help.
func (p *picker) tooFew() error {
	var enough []int // disks that are usable, or would be with more space
	reasons := make([]string, len(p.refused))
	for i, r := range p.refused {
		reasons[i] = fmt.Sprintf("disk %v: %s", r.Disk, r.Reason)
	}
	kinds := map[holdall.DiskID]refusal{}
	for _, r := range p.refused {
		kinds[r.Disk] = r.kind
	}
	present := map[string]bool{}
	for i, d := range p.disks {
		switch kinds[d.ID] {
		case fine, full:
			enough = append(enough, i)
			present[p.domain(i)] = true
		case out:
			present[p.domain(i)] = true
		}
	}
	kind := holdall.ErrUnavailable
	if _, ok := fit(p.Scheme, p.room(enough)); ok {
		kind = holdall.ErrExhausted
	} else if _, ok := fit(p.Scheme, p.share*len(present)); !ok {
		kind = holdall.ErrRefused // not even with all that there is
	}
	smallest := p.Scheme.Narrow(1).N()
	if len(reasons) == 0 {
		reasons = []string{"there are no others"}
	}
	return fmt.Errorf("placement: %v: room for %d members of at least %d in distinct domains (%v): %s: %w",
		p.Scheme, p.room(p.usable), smallest, p.Level, strings.Join(reasons, "; "), kind)
}
