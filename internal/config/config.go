// Package config resolves the settings of a serving process: flag over
// environment over file over default, each remembering where it came from. It
// reads at most one file and opens nothing else; what the settings do is
// internal/node's business.
package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/holdall/holdall"
)

// Config is the settings of `holdall serve`. The zero Config is not useful:
// Load fills in defaults.
type Config struct {
	Data        string         // directory where state lives; created when absent
	Disks       []Disk         // none: DIR/disk-00 to DIR/disk-08
	Scheme      holdall.Scheme // zero: rs-6-3, or the widest that the disks allow
	Domain      string         // disk, host, rack or region: what members of a volume may not share
	ZoneSize    int64          // bytes; 0: 256 MiB, or 16 MiB when the disks are the default directories
	ExtentZones int64          // zones an extent may take
	Listen      string         // gRPC address
	HTTP        string         // console, metrics and health address; "off" serves none
	S3          string         // S3 address; "off" serves none
	Memory      int64          // bytes: the whole budget of the process
	Retention   time.Duration  // how long trashed blocks can be undeleted
	FreeHold    time.Duration  // how long the extents of freed volumes wait in trash
	Node        string         // name of this process in leases, disks and logs
	LogFormat   string         // text or json
	LogLevel    string         // debug, info, warn or error
	Pprof       bool           // serve /debug/pprof

	origin map[string]string // setting → where its value came from
}

// Disk is one disk to serve.
type Disk struct {
	Path   string // a directory, an image file or a block device
	Domain string // labels, outermost first, as in "rack1/host3"; "" = none
}

// String returns the form that ParseDisk reads.
func (d Disk) String() string {
	if d.Domain == "" {
		return d.Path
	}
	return d.Path + domainMark + d.Domain
}

const domainMark = ":domain="

// ParseDisk reads "PATH" or "PATH:domain=LABELS". Its errors wrap ErrInvalid.
func ParseDisk(s string) (Disk, error) {
	path, labels, labelled := strings.Cut(s, domainMark)
	d := Disk{Path: path, Domain: labels}
	if path == "" {
		return d, fmt.Errorf("disk %q: the path is empty: %w", s, holdall.ErrInvalid)
	}
	if labelled && !validLabels(labels) {
		return d, fmt.Errorf("disk %q: domain labels are words of letters, digits, '.', '_' and '-', joined by '/', outermost first, as in rack1/host3: %w", s, holdall.ErrInvalid)
	}
	return d, nil
}

func validLabels(s string) bool {
	for word := range strings.SplitSeq(s, "/") {
		bad := strings.IndexFunc(word, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
		})
		if word == "" || bad >= 0 {
			return false
		}
	}
	return true
}

// Limits of settings, each with its reason.
const (
	MinMemory   = 192 << 20 // bytes: one stripe of rs-12-4 in flight, its encode, and Pebble's tables
	MinZoneSize = 1 << 20   // bytes: tests' zones
	MaxZoneSize = 1 << 32   // bytes: four times the largest zone of a disk that is sold
)

// Validate reports every fault of c at once. Its errors wrap ErrInvalid.
func (c *Config) Validate() error {
	var faults []string
	fault := func(name, rule string, value any) {
		faults = append(faults, fmt.Sprintf("%s = %v: %s", name, value, rule))
	}
	if c.Data == "" {
		fault("data", "names a directory", `""`)
	}
	if len(c.Disks) > holdall.MaxDisksPerProcess {
		fault("disk", fmt.Sprintf("at most %d in one process", holdall.MaxDisksPerProcess), len(c.Disks))
	}
	for i, d := range c.Disks {
		if slices.ContainsFunc(c.Disks[:i], func(o Disk) bool { return o.Path == d.Path }) {
			fault("disk", "is named twice", d.Path)
		}
	}
	if !slices.Contains(Domains, c.Domain) {
		fault("domain", "want one of "+strings.Join(Domains, ", "), c.Domain)
	}
	if c.ZoneSize != 0 && (c.ZoneSize < MinZoneSize || c.ZoneSize > MaxZoneSize || c.ZoneSize%4096 != 0) {
		fault("zone-size", "a multiple of 4 KiB between 1 MiB and 4 GiB", FormatSize(c.ZoneSize))
	}
	if c.ExtentZones < 1 || c.ExtentZones > 1024 {
		fault("extent-zones", "between 1 and 1024", c.ExtentZones)
	}
	if why := loopbackOnly(c.Listen); why != "" {
		fault("listen", why, c.Listen)
	}
	if why := loopbackOnly(c.HTTP); why != "" && c.HTTP != Off {
		fault("http", why, c.HTTP)
	}
	if why := loopbackOnly(c.S3); why != "" && c.S3 != Off {
		fault("s3", why, c.S3)
	}
	if c.Memory < MinMemory {
		fault("memory", "at least "+FormatSize(MinMemory), FormatSize(c.Memory))
	}
	if c.Retention < 0 {
		fault("retention", "not negative", c.Retention)
	}
	if c.FreeHold < 0 {
		fault("free-hold", "not negative", c.FreeHold)
	}
	if !validLabels(c.Node) || len(c.Node) > 64 {
		fault("node", "a word of at most 64 letters, digits, '.', '_' and '-'", c.Node)
	}
	if !slices.Contains(logFormats, c.LogFormat) {
		fault("log-format", "want one of "+strings.Join(logFormats, ", "), c.LogFormat)
	}
	if !slices.Contains(logLevels, c.LogLevel) {
		fault("log-level", "want one of "+strings.Join(logLevels, ", "), c.LogLevel)
	}
	if len(faults) > 0 {
		return fmt.Errorf("settings: %s: %w", strings.Join(faults, "; "), holdall.ErrInvalid)
	}
	return nil
}

// Off, as an HTTP or S3 address, means that none is served.
const Off = "off"

// Domains are the levels of the topology, innermost first.
var Domains = []string{"disk", "host", "rack", "region"}

var (
	logFormats = []string{"text", "json"}
	logLevels  = []string{"debug", "info", "warn", "error"}
)

// loopbackOnly says why addr must not be listened on: without TLS, which does
// not exist yet, whoever reaches the port owns the data.
func loopbackOnly(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "want HOST:PORT, as in 127.0.0.1:7420"
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return ""
	}
	return "only loopback addresses (127.0.0.1, ::1, localhost) are served without TLS, which this version does not have; reach it from elsewhere through an SSH tunnel"
}

// Budgets is how a process's memory is divided. Everything is in bytes.
type Budgets struct {
	InFlight int64 // payloads being received, coded, written and sent
	Cache    int64 // recently read blocks
	Pebble   int64 // Pebble's block cache and memtables
	GoLimit  int64 // GOMEMLIMIT
}

// Split divides the memory budget: what is left after the parts named covers
// the Go heap's slack, stacks, gRPC's own buffers and the stripe tables of open
// extents. Buffers, in flight and cached, are mapped outside the Go heap, and so,
// with cgo, are Pebble's caches: GoLimit leaves them out, or the heap could grow
// into what they hold.
func (c *Config) Split() Budgets {
	b := Budgets{InFlight: c.Memory * 3 / 8, Cache: c.Memory / 8, Pebble: c.Memory / 8}
	b.GoLimit = c.Memory - b.InFlight - b.Cache
	if pebbleOffHeap {
		b.GoLimit -= b.Pebble
	}
	return b
}
