package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdall/holdall/client"
)

// A volume that was sealed just before a kill is not damaged: its footers are
// there, and only the notes of them in the superblock logs are not.
func TestFsckFindsNothingAfterAKillThatFollowsASeal(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	b := newBlocks(t)
	b.put(3, 100_000)
	ids := strings.Fields(must(t, "volume", "seal", "--all"))
	if len(ids) == 0 {
		t.Fatal("no volume was open")
	}
	eventually(t, "the footers are written", func() bool {
		for _, id := range ids {
			var v client.VolumeStatus
			if err := json.Unmarshal([]byte(must(t, "volume", "show", id, "--output", "json")), &v); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(v.Members, func(m client.VolumeMember) bool { return !m.Footer }) {
				return false
			}
		}
		return true
	})
	s.kill()
	if r := command(t, nil, "fsck", "--data", data); r.code != exitDone {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
}
