package holdall

import (
	"encoding/json"
	"errors"
	"testing"
)

func TestEpochOrder(t *testing.T) {
	e := MakeEpoch(3, 7)
	if e.Incarnation() != 3 || e.Counter() != 7 || e.String() != "3.7" {
		t.Errorf("epoch 3.7 is %v", e)
	}
	if MakeEpoch(3, 1<<44-1) >= MakeEpoch(4, 0) || MakeEpoch(3, 7) >= MakeEpoch(3, 8) || Epoch(0) >= MakeEpoch(0, 1) {
		t.Error("epochs do not compare by incarnation, then counter")
	}
	if e := MakeEpoch(1<<20-1, 1<<44-1); e.Incarnation() != 1<<20-1 || e.Counter() != 1<<44-1 {
		t.Errorf("the last epoch is %v", e)
	}
	mustPanic(t, "incarnation", func() { MakeEpoch(1<<20, 0) })
	mustPanic(t, "counter", func() { MakeEpoch(0, 1<<44) })
}

func TestVolumeIDs(t *testing.T) {
	v := MakeVolumeID(2, 0xabc)
	if v.Incarnation() != 2 || v.Counter() != 0xabc || v.String() != "0002000000000abc" {
		t.Errorf("volume 2, abc is %v", v)
	}
	for _, s := range []string{v.String(), "2000000000abc"} {
		if got, err := ParseVolumeID(s); err != nil || got != v {
			t.Errorf("%s parses to %v, %v", s, got, err)
		}
	}
	text, err := json.Marshal(v)
	var back VolumeID
	if err != nil || json.Unmarshal(text, &back) != nil || back != v {
		t.Errorf("JSON %s gives %v, %v", text, back, err)
	}
	for _, s := range []string{"", "0", "0000000000000000", "-1", "+1", "0x1", "1_0", "10000000000000000", "g"} {
		if got, err := ParseVolumeID(s); !errors.Is(err, ErrInvalid) || got != 0 {
			t.Errorf("%q parses to %v, %v", s, got, err)
		}
	}
	mustPanic(t, "incarnation", func() { MakeVolumeID(1<<16, 0) })
	mustPanic(t, "counter", func() { MakeVolumeID(0, 1<<48) })
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s out of range does not panic", what)
		}
	}()
	f()
}

// Of every stripe, each member holds one shard, and MemberShard tells which.
func TestShardsRotateOverMembers(t *testing.T) {
	for n := 1; n <= MaxMembers; n++ {
		for _, base := range []uint64{0, 1, MaxVolumeStripes - 40, 1<<64 - 80} {
			for s := base; s < base+40; s++ {
				seen := map[int]bool{}
				for shard := range n {
					m := ShardMember(s, shard, n)
					if m < 0 || m >= n || seen[m] || MemberShard(s, m, n) != shard {
						t.Fatalf("n %d, stripe %d: shard %d is on member %d, which holds %d", n, s, shard, m, MemberShard(s, m, n))
					}
					seen[m] = true
				}
			}
		}
	}
	// Over n stripes a member holds every shard once, so parity is spread.
	for m := range 9 {
		seen := map[int]bool{}
		for s := uint64(1); s <= 9; s++ {
			seen[MemberShard(s, m, 9)] = true
		}
		if len(seen) != 9 {
			t.Errorf("member %d holds %d different shards in 9 stripes", m, len(seen))
		}
	}
}

func TestRecordSize(t *testing.T) {
	for n, want := range map[uint32]int64{0: 0, 1: 8192, 4095: 8192, 4096: 8192, 4097: 12288, 4 << 20: 4<<20 + 4096, 1<<32 - 1: 1<<32 + 4096} {
		if got := RecordSize(n); got != want {
			t.Errorf("a payload of %d bytes takes %d, want %d", n, got, want)
		}
	}
}

func TestStripeHeight(t *testing.T) {
	s := Stripe{Shards: []ShardPlace{{Length: 3}, {Length: 9}, {}}}
	if s.Height() != 9 || (&Stripe{}).Height() != 0 {
		t.Errorf("heights %d and %d, want 9 and 0", s.Height(), (&Stripe{}).Height())
	}
}

func TestStateNames(t *testing.T) {
	for s, want := range map[interface{ String() string }]string{
		VolumeOpen: "open", VolumeSealed: "sealed", VolumeFreed: "freed", VolumeState(9): "state-9",
		DiskActive: "active", DiskFailed: "failed", DiskDraining: "draining", DiskRemoved: "removed", DiskState(0): "state-0",
		ExtentID{Volume: 0x10, Member: 3, Created: MakeEpoch(1, 2)}: "0000000000000010/3@1.2",
	} {
		if s.String() != want {
			t.Errorf("%#v reads %q, want %q", s, s, want)
		}
	}
}
