package main

import (
	"fmt"
	"io"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/upkeep"
	"github.com/holdall/holdall/metadata"
)

// rebuiltFacts is what `metadata rebuild` prints for programs.
type rebuiltFacts struct {
	Cell        holdall.CellID `json:"cell"`
	Incarnation uint32         `json:"incarnation"`
	Disks       int            `json:"disks"`
	Volumes     int            `json:"volumes"`
	Changes     int            `json:"changes"`
	Stripes     int            `json:"stripes"`
	Late        int            `json:"late_stripes"`
	Unordered   int            `json:"unordered_stripes"`
	Lost        int            `json:"lost_stripes"`
	Objects     int            `json:"objects"`
	LateObjects int            `json:"late_objects"`
	LostObjects int            `json:"lost_objects"`
	Held        int            `json:"held_blocks"`
	Blocks      int64          `json:"blocks"`
	Live        int64          `json:"live_blocks"`
	Problems    []string       `json:"problems"`
	List        string         `json:"list"`
}

func rebuildFacts(r *upkeep.Report, c *metadata.Cell, list string) rebuiltFacts {
	return rebuiltFacts{
		Cell: c.ID, Incarnation: c.Incarnation, Disks: r.Disks, Volumes: r.Volumes, Changes: r.Changes, Stripes: r.Stripes,
		Late: r.Late, Unordered: r.Unordered, Lost: r.Lost, Objects: r.Objects, LateObjects: r.LateObjects, LostObjects: r.LostObjects, Held: r.Held,
		Blocks: c.Blocks, Live: c.Live, Problems: append([]string{}, r.Problems...), List: list,
	}
}

func printRebuild(w io.Writer, r *upkeep.Report, c *metadata.Cell, list string) {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "! %s\n", p)
	}
	facts(w, "cell", c.ID.String(), "incarnation", fmt.Sprint(c.Incarnation), "disks", fmt.Sprint(r.Disks), "volumes", fmt.Sprint(r.Volumes),
		"blocks", fmt.Sprintf("%s live, %s in trash", count(c.Live), count(c.Blocks-c.Live)),
		"replayed", fmt.Sprintf("%s stripes, %s changes", count(int64(r.Stripes)), count(int64(r.Changes))),
		"late", fmt.Sprintf("%d stripes younger than the journal: live, listed", r.Late),
		"objects", fmt.Sprintf("%s versions in their order; %d younger than the journal, each now the newest of its key: listed", count(int64(r.Objects)), r.LateObjects),
		"unordered", fmt.Sprintf("%d stripes of unknown place: new blocks in trash, or held, listed", r.Unordered),
		"lost", fmt.Sprintf("%d stripes that too few shards are left of: listed", r.Lost),
		"lost objects", fmt.Sprintf("%d versions whose manifest cannot be read: listed", r.LostObjects),
		"held", fmt.Sprintf("%d blocks that an object may refer to for all that is known: kept until deleted by id, listed", r.Held),
		"list", list)
	fmt.Fprintln(w, "\nThe cell is in quarantine.\nnext: holdall serve, look at what is there, then holdall metadata release")
}
