package node

import (
	"context"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/gateway"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// The words for a cell's health, from good to bad.
const (
	healthOK          = "ok"          // everything is there
	healthDegraded    = "degraded"    // shards are missing; any further disk may still be lost
	healthAtRisk      = "at_risk"     // some stripe cannot bear one more loss
	healthUnavailable = "unavailable" // some stripe lacks more shards than it can bear, or nothing can be committed
)

// CellStatus answers `cell status`.
func (n *Node) CellStatus(context.Context) (client.CellStatus, error) {
	c, err := n.store.Cell()
	if err != nil {
		return client.CellStatus{}, err
	}
	disks, err := n.diskRows()
	if err != nil {
		return client.CellStatus{}, err
	}
	s := client.CellStatus{
		Cell: c.ID.String(), Version: n.version, Started: n.started, Incarnation: c.Incarnation, Quarantine: c.Quarantine != "", RaftIndex: c.Applied,
		Scheme: n.scheme.String(), Domain: n.cfg.Domain, Blocks: uint64(c.Live), UserBytes: uint64(c.LiveBytes),
		TrashBlocks: uint64(c.Blocks - c.Live), TrashBytes: uint64(c.Bytes - c.LiveBytes), StripesMissing: map[uint32]uint64{},
	}
	answers := map[holdall.DiskID]bool{}
	for _, d := range disks {
		answers[d.row.ID] = d.here && !d.status.Gone
		s.DiskBytes += uint64(d.status.Written)
		switch d.state() {
		case holdall.DiskActive:
			s.Disks.Active++
		case holdall.DiskDraining:
			s.Disks.Draining++
		case holdall.DiskFailed:
			s.Disks.Failed++
		}
	}
	if s.UserBytes > 0 {
		s.Overhead = float64(s.DiskBytes) / float64(s.UserBytes)
	}
	worst, err := n.countStripes(&s, answers)
	if err != nil {
		return s, err
	}
	s.Health = health(worst, s.Disks.Failed, n.ready())
	s.Tasks, err = n.taskStatus()
	s.Notes = n.notes(&c, &s, disks)
	return s, err
}

// margin is how many more losses the worst stripe can bear.
type margin struct {
	missing int // shards missing from it
	left    int // tolerance less missing
}

// countStripes counts volumes by state, and stripes by how many of their
// volume's members hold records and do not answer. A narrow stripe may have
// nothing on such a member, and only its tables, on disks, could tell; so the
// count is an upper bound of what is missing, and never tells too little.
func (n *Node) countStripes(s *client.CellStatus, answers map[holdall.DiskID]bool) (margin, error) {
	worst := margin{left: holdall.MaxMembers}
	for v, err := range n.store.AllVolumes() {
		if err != nil {
			return worst, err
		}
		switch v.State {
		case holdall.VolumeOpen:
			s.VolumesOpen++
		case holdall.VolumeSealed:
			s.VolumesSealed++
		case holdall.VolumeFreed:
			continue
		}
		if v.Last == 0 {
			continue
		}
		missing := missingMembers(v.Members, answers)
		s.StripesMissing[uint32(missing)] += v.Last
		if left := v.Scheme.Tolerance() - missing; left < worst.left {
			worst = margin{missing, left}
		}
	}
	return worst, nil
}

// missingMembers counts the members that hold records and do not answer. One
// without records has lost nothing: no stripe so far has a shard there.
func missingMembers(members []metadata.Member, answers map[holdall.DiskID]bool) int {
	missing := 0
	for _, m := range members {
		if m.End > 0 && !answers[m.Disk] {
			missing++
		}
	}
	return missing
}

func health(worst margin, failed uint32, ready error) string {
	switch {
	case ready != nil || worst.left < 0:
		return healthUnavailable
	case worst.left == 0 && worst.missing > 0:
		return healthAtRisk
	case worst.missing > 0 || failed > 0:
		return healthDegraded
	}
	return healthOK
}

// notes says what an operator should know, the most urgent first.
func (n *Node) notes(c *metadata.Cell, s *client.CellStatus, disks []diskState) []string {
	notes := []string{}
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if err := n.ready(); err != nil {
		note("nothing can be put: %v", err)
	}
	if s.Health == healthUnavailable {
		note("some stripes lack more shards than they can bear: their blocks are unavailable until disks come back")
	}
	for _, d := range disks {
		if d.state() == holdall.DiskFailed {
			note("disk %v (%s) failed: %s", d.row.ID, d.row.Path, d.reason())
		}
	}
	if full := fullDisks(disks); full > 0 {
		note("%d of %d disks are full: when too few have room, nothing can be put until `holdall disk add PATH`, or until deleted blocks have been freed", full, len(disks))
	}
	if c.Quarantine != "" {
		note("quarantine: %s; nothing is purged or freed until `holdall metadata release`", c.Quarantine)
	}
	if c.Breaker.Tripped {
		note("the purge breaker tripped: see `holdall purge status`")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, slot := range n.slots {
		if slot.problem != "" && slot.id == (holdall.DiskID{}) {
			note("%s is not used: %s", slot.Path, slot.problem)
		}
	}
	if damaged := n.damage.count.Load(); damaged > 0 {
		note("%d reads since the start found a shard missing or bad and rebuilt it; the log names them", damaged)
	}
	return notes
}

// fullDisks counts the disks that take writes and have no zone to give.
func fullDisks(disks []diskState) int {
	full := 0
	for i := range disks {
		if d := &disks[i]; d.here && d.state() == holdall.DiskActive && d.status.FreeZones == 0 {
			full++
		}
	}
	return full
}

// diskState is a disk as metadata and the volume server know it.
type diskState struct {
	row    metadata.Disk
	status volume.DiskStatus
	here   bool // the volume server has it
}

// state is the worse of what both say.
func (d *diskState) state() holdall.DiskState {
	if d.row.State == holdall.DiskActive && (!d.here || d.status.Gone || d.status.State == holdall.DiskFailed) {
		return holdall.DiskFailed
	}
	return d.row.State
}

func (d *diskState) reason() string {
	switch {
	case d.here && d.status.Reason != "":
		return d.status.Reason
	case d.row.Reason != "":
		return d.row.Reason
	case !d.here:
		return "it is not here"
	}
	return ""
}

// diskRows returns every disk that was not removed.
func (n *Node) diskRows() ([]diskState, error) {
	rows, err := n.store.Disks()
	if err != nil {
		return nil, err
	}
	here := n.diskStatus()
	list := make([]diskState, 0, len(rows))
	for _, r := range rows {
		if r.State != holdall.DiskRemoved {
			status, ok := here[r.ID]
			list = append(list, diskState{r, status, ok})
		}
	}
	return list, nil
}

// facts returns d as operators see it. extents is the members it holds.
func (d *diskState) facts(extents int) client.DiskStatus {
	s := client.DiskStatus{
		ID: d.row.ID, Path: d.row.Path, Node: d.row.Node, Domain: d.row.Domain, State: d.state().String(), Since: d.row.Since,
		Capacity: uint64(d.row.Capacity), ZoneSize: uint64(d.row.ZoneSize), Incarnation: d.row.Incarnation, Extents: uint32(extents),
	}
	if d.state() != holdall.DiskActive {
		s.Reason = d.reason()
		if d.here && !d.status.Gone {
			s.Reason += "; it is read, and takes writes again after `holdall disk readmit " + d.row.ID.String() + "`"
		}
	}
	if d.here {
		s.Capacity, s.Written, s.FreeZones, s.TotalZones = uint64(d.status.Capacity), uint64(d.status.Written), uint32(d.status.FreeZones), uint32(d.status.TotalZones)
		s.OpenZones, s.MaxOpen = uint32(d.status.OpenZones), uint32(d.status.MaxOpen)
	}
	return s
}

// volumeFacts returns v as operators see it, with members when states is given.
func volumeFacts(v *metadata.Volume, disks map[holdall.DiskID]*diskState) client.VolumeStatus {
	s := client.VolumeStatus{
		ID: v.ID, Scheme: v.Scheme.String(), State: v.State.String(), Epoch: v.Epoch.String(), Gateway: v.Gateway, Created: v.Created, Limit: uint64(v.Limit),
		Stripes: v.Last, Blocks: uint64(v.Rows), BlockBytes: uint64(v.Bytes), LiveBytes: uint64(v.Live), PackBytes: uint64(v.Packs), ShardBytes: uint64(v.Shards), System: v.System,
	}
	if !v.Sealed.IsZero() {
		s.Sealed = &v.Sealed
	}
	if disks == nil {
		return s
	}
	for _, m := range v.Members {
		member := client.VolumeMember{Disk: m.Disk, End: uint64(m.End), Footer: m.Footer, State: holdall.DiskFailed.String()}
		if d := disks[m.Disk]; d != nil {
			member.Path, member.State = d.row.Path, d.state().String()
		}
		s.Members = append(s.Members, member)
	}
	return s
}

// blockStat joins what the gateway says of a block with its namespace's name.
func (n *Node) blockStat(ns holdall.NamespaceID, s *gateway.BlockStat) (client.BlockStat, error) {
	spaces, err := n.store.Namespaces()
	if err != nil {
		return client.BlockStat{}, err
	}
	out := client.BlockStat{
		ID: s.ID, Size: uint32(s.Size), Volume: s.Volume, Scheme: s.Scheme, Stripe: s.Stripe, Shard: s.Shard, Member: s.Member, Offset: s.Offset,
		ShardsOK: s.ShardsOK, ShardsTotal: s.ShardsTotal, Direct: s.Direct, References: s.References,
	}
	for _, space := range spaces {
		if space.ID == ns {
			out.Namespace = space.Name
		}
	}
	if !s.TrashedAt.IsZero() {
		out.TrashedAt = &s.TrashedAt
	}
	for _, m := range s.Members {
		out.Members = append(out.Members, client.StatMember{Disk: m.Disk, Node: m.Node, State: m.State.String()})
	}
	return out, nil
}

// PurgeStatus answers `purge status`.
func (n *Node) PurgeStatus(ctx context.Context) (client.PurgeStatus, error) {
	c, err := n.store.Cell()
	if err != nil {
		return client.PurgeStatus{}, err
	}
	limit := c.Breaker.Allowance
	if limit == 0 {
		limit = max(c.Breaker.Floor, c.Blocks*int64(c.Breaker.Share)/1e6)
	}
	s := client.PurgeStatus{
		PurgedLastHour: uint64(c.Breaker.Purged), LimitPerHour: uint64(limit), BreakerTripped: c.Breaker.Tripped,
		RetentionSeconds: n.cfg.Retention.Seconds(), FreeHoldSeconds: n.cfg.FreeHold.Seconds(),
	}
	if c.Breaker.Tripped {
		s.Reason = fmt.Sprintf("%d blocks were purged within an hour, of at most %d", c.Breaker.Purged, limit)
	}
	s.Trash, err = n.trashByAge(ctx)
	return s, err
}

// ages are the classes by which trash is shown.
var ages = []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 0}

// trashByAge counts what is in trash; sizes come from the rows themselves.
func (n *Node) trashByAge(ctx context.Context) ([]client.TrashAge, error) {
	now := time.Now()
	list, err := n.store.Trash(now, maxTrashShown)
	if err != nil {
		return nil, err
	}
	counts := make([]client.TrashAge, len(ages))
	for len(list) > 0 {
		k := min(len(list), holdall.MaxIDsPerCall)
		batch := make([]holdall.BlockID, 0, k)
		ns := list[0].Namespace
		for _, t := range list[:k] {
			if t.Namespace != ns {
				break
			}
			batch = append(batch, t.ID)
		}
		rows, err := n.store.Lookup(ctx, ns, batch, false)
		if err != nil {
			return nil, err
		}
		for i := range batch {
			class := ageClass(now.Sub(list[i].Since))
			counts[class].Blocks++
			counts[class].Bytes += uint64(rows[i].Location.Length)
		}
		list = list[len(batch):]
	}
	shown := []client.TrashAge{}
	for i, c := range counts {
		c.UpToSeconds = ages[i].Seconds()
		if c.Blocks > 0 {
			shown = append(shown, c)
		}
	}
	return shown, nil
}

// maxTrashShown bounds the work of one `purge status`: the oldest so many.
const maxTrashShown = 1 << 20

func ageClass(age time.Duration) int {
	for i, most := range ages {
		if age <= most {
			return i
		}
	}
	return len(ages) - 1
}

// ReleasePurge answers `purge release`.
func (n *Node) ReleasePurge(ctx context.Context) error {
	n.log.Warn("purge breaker released by an operator, for an hour")
	if err := n.store.ReleaseBreaker(ctx, time.Hour); err != nil {
		return err
	}
	n.upkeep.Kick()
	return nil
}
