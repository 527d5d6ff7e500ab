package node

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sys/unix"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/internal/gateway"
)

// damage counts, and logs sparingly, shards that reads found missing or bad.
type damage struct {
	count   atomic.Int64
	lastLog atomic.Int64 // unix seconds
}

// onDamage is called by the gateway on its read path, and must not wait.
func (n *Node) onDamage(d gateway.Damage) {
	total := n.damage.count.Add(1)
	now := time.Now().Unix()
	if last := n.damage.lastLog.Load(); now == last || !n.damage.lastLog.CompareAndSwap(last, now) {
		return // one line a second says it
	}
	n.log.Warn("a read rebuilt a shard that is missing or bad", "volume", d.Volume.String(), "member", d.Member, "stripe", d.Stripe, "total", total, "err", d.Err)
}

func (n *Node) registerProcess() error {
	if err := n.registry.Register(collectors.NewGoCollector()); err != nil {
		return err
	}
	return n.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// ProcessStats says what this process used since it began.
func (n *Node) ProcessStats(context.Context) (client.ProcessStats, error) {
	s := client.ProcessStats{Started: n.started, Goroutines: uint32(runtime.NumGoroutine())}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return s, fmt.Errorf("process stats: %v: %w", err, holdall.ErrUnavailable)
	}
	s.CPUSeconds = time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	s.PeakRSSBytes = uint64(u.Maxrss) << 10
	s.RSSBytes = residentBytes()
	families, err := n.registry.Gather()
	if err != nil {
		return s, fmt.Errorf("process stats: %v: %w", err, holdall.ErrUnavailable)
	}
	counters := map[string]*uint64{
		"holdall_volume_device_reads_total": &s.DeviceReads, "holdall_volume_device_writes_total": &s.DeviceWrites, "holdall_volume_device_syncs_total": &s.DeviceSyncs,
		"holdall_volume_device_read_bytes_total": &s.DeviceReadBytes, "holdall_volume_device_written_bytes_total": &s.DeviceWrittenBytes,
	}
	for _, f := range families {
		if sum := counters[f.GetName()]; sum != nil {
			for _, m := range f.Metric {
				*sum += uint64(m.GetCounter().GetValue())
			}
		}
	}
	return s, nil
}

// residentBytes reads the resident set from /proc; 0 where there is none.
func residentBytes() uint64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64) // 0 is "not known"
			return kib << 10
		}
	}
	return 0
}

// page is what the console shows.
func (n *Node) page(ctx context.Context) any {
	status, err := n.CellStatus(ctx)
	if err != nil {
		return map[string]string{"health": healthUnavailable, "error": err.Error()}
	}
	disks, err := n.Disks(ctx)
	if err != nil {
		return status
	}
	return struct {
		client.CellStatus
		DiskList []client.DiskStatus `json:"disk_list"`
	}{status, disks}
}
