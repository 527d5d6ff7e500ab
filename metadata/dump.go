package metadata

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/holdall/holdall"
)

// Dump writes every table to w, as it is now: a line of JSON a row, with the
// name of its table first. Field names are stable; times that never came, and
// fields that do not apply, are left out. It ends with an error when ctx does.
func (s *Store) Dump(ctx context.Context, w io.Writer) error {
	return s.view(func(st *state) error {
		snap := st.db.NewSnapshot()
		defer snap.Close()
		return dump(snap, ctxWriter{ctx, w})
	})
}

// ctxWriter refuses to write once its context has ended.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c ctxWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, fmt.Errorf("metadata: dump: %w: %w", context.Cause(c.ctx), holdall.ErrUnavailable)
	}
	return c.w.Write(p)
}

// dump writes every table that r reads.
func dump(r pebble.Reader, w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	c, err := readCell(r)
	if err != nil {
		return err
	}
	if err := enc.Encode(dumpCell(&c)); err != nil {
		return err
	}
	for _, table := range []func() error{
		func() error { return dumpTable(enc, namespaces(r), dumpNamespace) },
		func() error { return dumpTable(enc, disks(r), dumpDisk) },
		func() error { return dumpTable(enc, volumes(r), dumpVolume) },
		func() error { return dumpTable(enc, blocks(r), dumpBlock) },
		func() error { return dumpTable(enc, buckets(r), dumpBucket) },
		func() error { return dumpTable(enc, objects(r), dumpObject) },
		func() error { return dumpTable(enc, uploads(r), dumpUpload) },
		func() error { return dumpTable(enc, parts(r), dumpPart) },
		func() error { return dumpTable(enc, credentials(r), dumpCredential) },
		func() error { return dumpMigrations(enc, r) },
		func() error { return dumpTable(enc, tasks(r), dumpTask) },
		func() error { return dumpTable(enc, changes(r, &c), dumpChange) },
		func() error { return dumpTable(enc, sessionRows(r), dumpSession) },
		func() error { return dumpTable(enc, checksums(r), dumpChecksum) },
	} {
		if err := table(); err != nil {
			return err
		}
	}
	return out.Flush()
}

func dumpTable[T any](enc *json.Encoder, rows iter.Seq2[T, error], line func(*T) any) error {
	for row, err := range rows {
		if err != nil {
			return err
		}
		if err := enc.Encode(line(&row)); err != nil {
			return err
		}
	}
	return nil
}

// utc returns nil for a time that never came.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

type blockLine struct {
	Table        string              `json:"table"`
	Namespace    holdall.NamespaceID `json:"namespace"`
	ID           holdall.BlockID     `json:"id"`
	Volume       holdall.VolumeID    `json:"volume"`
	Member       uint8               `json:"member"`
	Offset       int64               `json:"offset"`
	Length       uint32              `json:"length"`
	Direct       bool                `json:"direct"`
	References   uint32              `json:"references"`
	PendingUntil *time.Time          `json:"pending_until,omitempty"`
	TrashedAt    *time.Time          `json:"trashed_at,omitempty"`
	Node         bool                `json:"node,omitempty"`
}

func dumpBlock(b *Block) any {
	return blockLine{"blocks", b.Namespace, b.ID, b.Location.Volume, b.Location.Member, b.Location.Offset, b.Location.Length,
		b.Direct, b.References, utc(b.PendingUntil), utc(b.TrashedAt), b.Node}
}

type volumeLine struct {
	Table   string           `json:"table"`
	ID      holdall.VolumeID `json:"id"`
	Scheme  holdall.Scheme   `json:"scheme"`
	Limit   int64            `json:"limit"`
	State   string           `json:"state"`
	Epoch   string           `json:"epoch"`
	Gateway string           `json:"gateway"`
	Expires *time.Time       `json:"expires,omitempty"`
	Created *time.Time       `json:"created,omitempty"`
	Sealed  *time.Time       `json:"sealed,omitempty"`
	Freed   *time.Time       `json:"freed,omitempty"`
	System  bool             `json:"system"`
	Last    uint64           `json:"last"`
	Rows    int64            `json:"rows"`
	Bytes   int64            `json:"bytes"`
	Live    int64            `json:"live"`
	Packs   int64            `json:"packs"`
	Shards  int64            `json:"shards"`
	Members []memberLine     `json:"members"`
}

type memberLine struct {
	Disk    holdall.DiskID `json:"disk"`
	Created string         `json:"created"`
	End     int64          `json:"end"`
	Footer  bool           `json:"footer"`
	Freed   bool           `json:"freed"`
}

func dumpVolume(v *Volume) any {
	l := volumeLine{Table: "volumes", ID: v.ID, Scheme: v.Scheme, Limit: v.Limit, State: v.State.String(), Epoch: v.Epoch.String(),
		Gateway: v.Gateway, Expires: utc(v.Expires), Created: utc(v.Created), Sealed: utc(v.Sealed), Freed: utc(v.Freed), System: v.System,
		Last: v.Last, Rows: v.Rows, Bytes: v.Bytes, Live: v.Live, Packs: v.Packs, Shards: v.Shards}
	for _, m := range v.Members {
		l.Members = append(l.Members, memberLine{m.Disk, m.Created.String(), m.End, m.Footer, m.Freed})
	}
	return l
}

func dumpDisk(d *Disk) any {
	return struct {
		Table       string         `json:"table"`
		ID          holdall.DiskID `json:"id"`
		Path        string         `json:"path"`
		Node        string         `json:"node"`
		Domain      string         `json:"domain"`
		Capacity    int64          `json:"capacity"`
		ZoneSize    int64          `json:"zone_size"`
		State       string         `json:"state"`
		Reason      string         `json:"reason"`
		Since       *time.Time     `json:"since,omitempty"`
		Incarnation uint64         `json:"incarnation"`
		Granted     uint64         `json:"granted"`
	}{"disks", d.ID, d.Path, d.Node, d.Domain, d.Capacity, d.ZoneSize, d.State.String(), d.Reason, utc(d.Since), d.Incarnation, d.Granted}
}

func dumpNamespace(n *Namespace) any {
	return struct {
		Table     string              `json:"table"`
		ID        holdall.NamespaceID `json:"id"`
		Name      string              `json:"name"`
		Retention int64               `json:"retention_ms"`
		Quota     int64               `json:"quota"`
		Blocks    int64               `json:"blocks"`
		Bytes     int64               `json:"bytes"`
		Buckets   int64               `json:"buckets"`
	}{"namespaces", n.ID, n.Name, n.Retention.Milliseconds(), n.Quota, n.Blocks, n.Bytes, n.Buckets}
}

func dumpTask(t *Task) any {
	return struct {
		Table    string           `json:"table"`
		ID       uint64           `json:"id"`
		Kind     string           `json:"kind"`
		Volume   holdall.VolumeID `json:"volume"`
		Member   int              `json:"member"`
		Reason   string           `json:"reason"`
		Created  *time.Time       `json:"created,omitempty"`
		Priority int              `json:"priority"`
	}{"tasks", t.ID, t.Kind, t.Volume, t.Member, t.Reason, utc(t.Created), t.Priority}
}

type locationLine struct {
	Volume holdall.VolumeID `json:"volume"`
	Member uint8            `json:"member"`
	Offset int64            `json:"offset"`
	Length uint32           `json:"length"`
}

func dumpLocation(l *holdall.Location) *locationLine {
	if *l == (holdall.Location{}) {
		return nil
	}
	return &locationLine{l.Volume, l.Member, l.Offset, l.Length}
}

func dumpSession(s *sessionRow) any {
	return struct {
		Table  string     `json:"table"`
		ID     uint64     `json:"id"`
		Name   string     `json:"name"`
		Lowest uint64     `json:"lowest"`
		Used   *time.Time `json:"used,omitempty"`
	}{"sessions", s.ID, s.Name, s.Lowest, utc(s.Used.time())}
}

func dumpChecksum(c *checksum) any {
	return struct {
		Table string `json:"table"`
		Index uint64 `json:"index"`
		Sum   string `json:"sum"`
	}{"checksums", c.Index, fmt.Sprintf("%016x", c.Sum)}
}

func dumpCell(c *Cell) any {
	return struct {
		Table       string         `json:"table"`
		ID          holdall.CellID `json:"id"`
		Format      uint32         `json:"format"`
		Incarnation uint32         `json:"incarnation"`
		Quarantine  string         `json:"quarantine"`
		Gate        Gate           `json:"gate"`
		Applied     uint64         `json:"applied"`
		Term        uint64         `json:"term"`
		Clock       *time.Time     `json:"clock,omitempty"`
		Blocks      int64          `json:"blocks"`
		Bytes       int64          `json:"bytes"`
		Live        int64          `json:"live"`
		LiveBytes   int64          `json:"live_bytes"`
		Volumes     int64          `json:"volumes"`
		FirstChange uint64         `json:"first_change"`
		LastChange  uint64         `json:"last_change"`
	}{"cell", c.ID, c.Format, c.Incarnation, c.Quarantine, c.Gate, c.Applied, c.Term, utc(c.Clock),
		c.Blocks, c.Bytes, c.Live, c.LiveBytes, c.Volumes, c.FirstChange, c.LastChange}
}
