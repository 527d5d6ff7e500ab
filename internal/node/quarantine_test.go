package node

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/volume"
)

// While metadata may not know a block yet, deleting or undeleting it is not
// answered with "not found".
func TestQuarantineProvesNothingByAbsence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metadata")
	quiet := slog.New(slog.DiscardHandler)
	cfg := metadata.Config{Dir: dir, NodeID: "n", Logger: quiet, CacheBytes: 1 << 20}
	b, err := metadata.NewRebuilder(cfg, metadata.RebuildConfig{Cell: holdall.CellID{1}, Incarnation: 1, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(); err != nil {
		t.Fatal(err)
	}
	store, err := metadata.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	n := &Node{store: store}
	absent := []holdall.BlockID{{1}}
	if _, err := n.gone("delete", absent, nil); !errors.Is(err, holdall.ErrUnavailable) || errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("in quarantine: %v, want unavailable", err)
	}
	if err := store.ReleaseQuarantine(t.Context()); err != nil {
		t.Fatal(err)
	}
	if gone, err := n.gone("delete", absent, nil); err != nil || len(gone) != 1 {
		t.Errorf("after the release: %v, %v, want the id named", gone, err)
	}
}

// A disk that is being added is not opened a second time by the search for disks
// that came back.
func TestReturnedDisksAreNotSoughtWhileOneIsAdded(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	s := &slot{Disk: config.Disk{Path: t.TempDir()}}
	n := &Node{log: quiet, volumes: volume.NewServer(volume.ServerConfig{}), slots: []*slot{s}}
	n.adds.Lock()
	n.lookForReturned(t.Context())
	if s.problem != "" {
		t.Errorf("the slot was tried: %s", s.problem)
	}
	n.adds.Unlock()
	n.lookForReturned(t.Context())
	if s.problem == "" {
		t.Error("the slot was not tried after the disk was added")
	}
}
