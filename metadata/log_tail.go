package metadata

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Limits of the cached tail: enough for followers that keep up, small beside
// the block cache.
const (
	maxTailEntries = 1024
	maxTailBytes   = 8 << 20
)

// logTail holds the newest entries of the log, contiguous, in memory. It shares
// their data with Raft: entries are never changed once stored.
type logTail struct {
	mu    sync.RWMutex // guards all below
	logs  []raft.Log
	bytes int
}

// get returns the entry at index, if the tail holds it.
func (t *logTail) get(index uint64) (raft.Log, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if len(t.logs) == 0 || index < t.logs[0].Index || index > t.logs[len(t.logs)-1].Index {
		return raft.Log{}, false
	}
	return t.logs[index-t.logs[0].Index], true
}

// add appends entries that follow the tail, and lets the oldest go.
func (t *logTail) add(logs []*raft.Log) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.logs); n > 0 && t.logs[n-1].Index+1 != logs[0].Index {
		t.logs, t.bytes = nil, 0
	}
	for _, l := range logs {
		t.logs = append(t.logs, *l) // a copy: Raft's is part of a future, with its answer
		t.bytes += len(l.Data)
	}
	drop := 0
	for len(t.logs)-drop > maxTailEntries || (t.bytes > maxTailBytes && drop < len(t.logs)) {
		t.bytes -= len(t.logs[drop].Data)
		t.logs[drop] = raft.Log{}
		drop++
	}
	t.logs = t.logs[drop:]
}

// drop forgets entries lo to hi, which are a prefix or a suffix of the log.
func (t *logTail) drop(lo, hi uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.logs) == 0 || hi < t.logs[0].Index || lo > t.logs[len(t.logs)-1].Index {
		return
	}
	if lo <= t.logs[0].Index {
		n := min(hi-t.logs[0].Index+1, uint64(len(t.logs)))
		for _, l := range t.logs[:n] {
			t.bytes -= len(l.Data)
		}
		t.logs = append([]raft.Log(nil), t.logs[n:]...)
		return
	}
	n := lo - t.logs[0].Index
	for _, l := range t.logs[n:] {
		t.bytes -= len(l.Data)
	}
	t.logs = t.logs[:n:n]
}
