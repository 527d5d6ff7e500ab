package metadata

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/holdall/holdall"
)

func openTestLog(t testing.TB, fs vfs.FS, now func() time.Time) *logStore {
	t.Helper()
	dead := newFatality(nil, slog.New(slog.DiscardHandler))
	cache := pebble.NewCache(1 << 20)
	defer cache.Unref()
	db, err := openPebble("/log", logOptions(fs, cache, dead))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := openLogStore(db, dead, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func entries(first, last, term uint64, at time.Time) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: term, Data: fmt.Appendf(nil, "%d.%d", term, i), AppendedAt: at})
	}
	return logs
}

func checkLog(t *testing.T, s *logStore, first, last uint64) {
	t.Helper()
	lo, _ := s.FirstIndex()
	hi, _ := s.LastIndex()
	if lo != first || hi != last {
		t.Errorf("log is %d to %d, want %d to %d", lo, hi, first, last)
	}
	var l raft.Log
	for i := first; i <= last && i > 0; i++ {
		if err := s.GetLog(i, &l); err != nil || l.Index != i {
			t.Errorf("entry %d: %+v, %v", i, l, err)
		}
	}
	for _, i := range []uint64{first - 1, last + 1} {
		if err := s.GetLog(i, &l); err != raft.ErrLogNotFound {
			t.Errorf("entry %d outside the log: %v", i, err)
		}
	}
}

func TestLogKeepsEntriesAcrossReopening(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openTestLog(t, fs, time.Now)
	want := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte("c")},
		{Index: 2, Term: 1, Type: raft.LogNoop},
		{Index: 3, Term: 1<<63 + 1, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: time.Unix(5, 6)},
		{Index: 4, Term: 2, Type: raft.LogBarrier, Extensions: []byte("e")},
	}
	if err := s.StoreLogs(want); err != nil {
		t.Fatal(err)
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Fatal(err)
	}
	if err := s.Set([]byte("LastVoteCand"), []byte("me")); err != nil {
		t.Fatal(err)
	}
	s = openTestLog(t, fs.CrashClone(vfs.CrashCloneCfg{}), time.Now)
	checkLog(t, s, 1, 4)
	for _, w := range want {
		var l raft.Log
		if err := s.GetLog(w.Index, &l); err != nil || !reflect.DeepEqual(&l, w) {
			t.Errorf("entry %d is %+v, %v, want %+v", w.Index, l, err, w)
		}
	}
	if n, err := s.GetUint64([]byte("CurrentTerm")); n != 7 || err != nil {
		t.Errorf("term %d, %v", n, err)
	}
	if b, err := s.Get([]byte("LastVoteCand")); string(b) != "me" || err != nil {
		t.Errorf("vote %q, %v", b, err)
	}
	if n, err := s.GetUint64([]byte("LastVoteTerm")); n != 0 || err != nil {
		t.Errorf("absent number %d, %v", n, err)
	}
}

func TestLogRefusesGapsAndOverwriting(t *testing.T) {
	s := openTestLog(t, vfs.NewMem(), time.Now)
	if err := s.StoreLogs(entries(5, 9, 1, time.Time{})); err != nil {
		t.Fatal(err)
	}
	gap := entries(10, 12, 1, time.Time{})
	gap[1].Index = 13
	for _, bad := range [][]*raft.Log{entries(11, 12, 1, time.Time{}), entries(9, 9, 2, time.Time{}), gap} {
		if err := s.StoreLogs(bad); !errors.Is(err, holdall.ErrInvalid) {
			t.Errorf("entries from %d: %v", bad[0].Index, err)
		}
	}
	if err := s.DeleteRange(6, 8); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("delete in the middle: %v", err)
	}
	checkLog(t, s, 5, 9)
}

func TestLogTruncatesOnlyWhatIsFlushedAndOld(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	s := openTestLog(t, vfs.NewMem(), func() time.Time { return now })
	for i := uint64(1); i <= 100; i++ { // one entry a minute, the last of them now
		if err := s.StoreLogs(entries(i, i, 1, now.Add(time.Duration(int64(i)-100)*time.Minute))); err != nil {
			t.Fatal(err)
		}
	}
	truncate := func(hi uint64) {
		t.Helper()
		first, _ := s.FirstIndex()
		if err := s.DeleteRange(first, hi); err != nil {
			t.Fatal(err)
		}
	}
	s.setFlushed(10)
	truncate(50)
	checkLog(t, s, 11, 100)
	truncate(10)
	checkLog(t, s, 11, 100)
	s.setFlushed(90)
	s.setFlushed(20) // never goes down
	s.setKeep(30 * time.Minute)
	truncate(90)
	checkLog(t, s, 71, 100)
	s.setKeep(0)
	truncate(80)
	checkLog(t, s, 81, 100)
	if err := s.DeleteRange(95, 100); err != nil { // a new leader contradicts the tail
		t.Fatal(err)
	}
	checkLog(t, s, 81, 94)
	if err := s.StoreLogs(entries(95, 97, 2, now)); err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := s.GetLog(95, &l); err != nil || l.Term != 2 {
		t.Errorf("entry 95 of the new leader: %+v, %v", l, err)
	}
	truncate(1000)
	checkLog(t, s, 91, 97)
	if err := s.DeleteRange(91, 97); err != nil { // all of it contradicted
		t.Fatal(err)
	}
	checkLog(t, s, 0, 0)
}

func TestLogTailIsBoundedAndAgreesWithPebble(t *testing.T) {
	s := openTestLog(t, vfs.NewMem(), time.Now)
	big := make([]byte, maxTailBytes/4)
	for i := uint64(1); i <= 10; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Data: big}); err != nil {
			t.Fatal(err)
		}
	}
	if s.tail.bytes > maxTailBytes {
		t.Errorf("tail of %d bytes, limit %d", s.tail.bytes, maxTailBytes)
	}
	if err := s.StoreLogs(entries(11, 11+2*maxTailEntries, 1, time.Time{})); err != nil {
		t.Fatal(err)
	}
	if len(s.tail.logs) > maxTailEntries {
		t.Errorf("tail of %d entries, limit %d", len(s.tail.logs), maxTailEntries)
	}
	checkLog(t, s, 1, 11+2*maxTailEntries)
	if err := s.reset(); err != nil {
		t.Fatal(err)
	}
	checkLog(t, s, 0, 0)
	if err := s.StoreLogs(entries(50, 60, 3, time.Time{})); err != nil {
		t.Fatal(err)
	}
	checkLog(t, s, 50, 60)
}

func TestLogJoinsStateAtStart(t *testing.T) {
	at := func(index, term uint64) *progress { return &progress{index: index, term: term} }
	for _, c := range []struct {
		name        string
		first, last uint64 // of the log, all of term 2
		state       *progress
		wantFirst   uint64
		wantLast    uint64
		wantErr     error
	}{
		{"log alone", 1, 9, at(0, 0), 1, 9, nil},
		{"state within the log", 1, 9, at(5, 2), 1, 9, nil},
		{"state just below the log", 6, 9, at(5, 2), 6, 9, nil},
		{"state at the end of the log", 6, 9, at(9, 2), 6, 9, nil},
		{"entries between them are missing", 7, 9, at(5, 2), 7, 9, holdall.ErrCorrupt},
		{"installed above the log", 1, 9, at(50, 4), 0, 0, nil},
		{"installed against the log", 1, 9, at(5, 4), 0, 0, nil},
	} {
		s := openTestLog(t, vfs.NewMem(), time.Now)
		if err := s.StoreLogs(entries(c.first, c.last, 2, time.Time{})); err != nil {
			t.Fatal(err)
		}
		if err := s.joinState(c.state); !errors.Is(err, c.wantErr) {
			t.Errorf("%s: %v, want %v", c.name, err, c.wantErr)
		}
		if first, _ := s.FirstIndex(); first != c.wantFirst {
			t.Errorf("%s: log begins at %d, want %d", c.name, first, c.wantFirst)
		}
		if last, _ := s.LastIndex(); last != c.wantLast {
			t.Errorf("%s: log ends at %d, want %d", c.name, last, c.wantLast)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, l := range entries(1, 3, 9, time.Unix(1, 2)) {
		f.Add(appendEntry(nil, l))
	}
	f.Add([]byte{0, 1, 0, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l raft.Log
		if err := parseEntry(1, b, &l); err != nil {
			if !errors.Is(err, holdall.ErrCorrupt) {
				t.Errorf("%x: %v", b, err)
			}
			return
		}
		var again raft.Log
		if err := parseEntry(1, appendEntry(nil, &l), &again); err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%x: %+v became %+v, %v", b, l, again, err)
		}
	})
}
