package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/holdall/holdall/internal/buffer"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
)

// stuck takes no journal block until its caller gives up: a gateway without
// disks.
type stuck struct {
	upkeep.Blocks
	deadline chan time.Time
}

func (s *stuck) PutSystem(ctx context.Context, _ []byte) error {
	at, _ := ctx.Deadline()
	s.deadline <- at
	<-ctx.Done()
	return ctx.Err()
}

// Places of the upkeep that a flush does not use.
type (
	anyTrash interface{ upkeep.Trash }
	noTrash  struct{ anyTrash }
)

type oneChange struct{ upkeep.Journal }

func (oneChange) Changes(int) ([]metadata.Change, error) { return []metadata.Change{{Seq: 1}}, nil }

type emptyCell struct{ upkeep.Tables }

func (emptyCell) Cell() (metadata.Cell, error) { return metadata.Cell{}, nil }

func TestAFailedStartDoesNotWaitForItsJournal(t *testing.T) {
	blocks := &stuck{deadline: make(chan time.Time, 1)}
	u, err := upkeep.New(upkeep.Config{
		Tables: emptyCell{}, Referee: struct{ upkeep.Referee }{}, Volumes: struct{ upkeep.Volumes }{}, Trash: noTrash{}, Journal: oneChange{},
		Extents: struct{ upkeep.Extents }{}, Disks: struct{ upkeep.Disks }{}, Blocks: blocks, Pool: buffer.NewPool(1 << 20), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{upkeep: u, log: slog.New(slog.DiscardHandler)}
	called, cancel := context.WithCancel(t.Context())
	cancel() // a signal during the start must not cut the journal off at once
	before := time.Now()
	if err := n.giveUp(called, 20*time.Millisecond); err != nil {
		t.Error(err)
	}
	if at := <-blocks.deadline; !at.After(before) || at.After(time.Now()) {
		t.Errorf("the journal was given until %v, begun at %v and given up by %v", at, before, time.Now())
	}
}
