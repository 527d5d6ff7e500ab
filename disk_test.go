package holdall

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDiskAndCellIDsRoundTrip(t *testing.T) {
	type ids struct {
		Disk DiskID
		Cell CellID
	}
	in := ids{DiskID{1, 0xab}, CellID{2, 0xcd}}
	text, err := json.Marshal(in)
	if err != nil || string(text) != `{"Disk":"01ab`+strings.Repeat("0", 28)+`","Cell":"02cd`+strings.Repeat("0", 28)+`"}` {
		t.Fatalf("JSON %s, %v", text, err)
	}
	var back ids
	if err := json.Unmarshal(text, &back); err != nil || back != in {
		t.Errorf("back %v, %v", back, err)
	}
	if d, err := ParseDiskID(in.Disk.String()); err != nil || d != in.Disk {
		t.Errorf("%v parses to %v, %v", in.Disk, d, err)
	}
}

func TestBadDiskIDs(t *testing.T) {
	good := DiskID{}.String()
	for _, s := range []string{"", good[1:], good[2:], good + "00", good[:31] + "x", strings.Repeat("y", 1<<20)} {
		d, err := ParseDiskID(s)
		if !errors.Is(err, ErrInvalid) || d != (DiskID{}) || len(err.Error()) > 1000 {
			t.Errorf("%.40q parses to %v, %.200v", s, d, err)
		}
	}
}

func TestRetryAfterKeepsItsKind(t *testing.T) {
	err := error(&RetryAfter{Err: ErrExhausted, Delay: time.Second})
	var after *RetryAfter
	if !errors.Is(err, ErrExhausted) || !errors.As(err, &after) || after.Delay != time.Second || err.Error() != ErrExhausted.Error() {
		t.Errorf("%v", err)
	}
}
