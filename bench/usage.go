package bench

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdall/holdall/client"
)

// Usage returns what this process used since it began; the counts of devices
// are left at 0.
func Usage(started time.Time) client.ProcessStats {
	s := client.ProcessStats{CPUSeconds: cpuSeconds(), Goroutines: uint32(runtime.NumGoroutine()), Started: started}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return s
	}
	for line := range bytes.Lines(status) {
		words := bytes.Fields(line)
		if len(words) < 2 {
			continue
		}
		kib, err := strconv.ParseUint(string(words[1]), 10, 64)
		if err != nil {
			continue
		}
		switch string(words[0]) {
		case "VmRSS:":
			s.RSSBytes = kib << 10
		case "VmHWM:":
			s.PeakRSSBytes = kib << 10
		}
	}
	return s
}

// cpuSeconds returns the user and system time of this process.
func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
