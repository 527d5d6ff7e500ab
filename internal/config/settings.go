package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdall/holdall"
)

// Setting is one thing that can be set: by the flag --Name, the environment
// variable Env, or the key Name of a file.
type Setting struct {
	Name   string
	Help   string
	Repeat bool // a list: the flag repeats, the variable has commas, the key takes an array
	Bool   bool // the flag needs no value

	initial []string // default; none = the empty list
	set     func(values []string) error
	show    func() string
}

// Env returns the name of the environment variable.
func (s *Setting) Env() string {
	return "HOLDALL_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Default returns the text of the default, as help shows it.
func (s *Setting) Default() string { return strings.Join(s.initial, ",") }

// Settings returns every setting, bound to the fields of c, in the order in
// which help lists them.
func (c *Config) Settings() []Setting {
	return []Setting{
		text("data", "./holdall-data", "directory where state lives, created when absent", &c.Data),
		disks(&c.Disks),
		scheme(&c.Scheme),
		text("domain", "disk", "what the members of a volume may not share: disk, host, rack or region", &c.Domain),
		size("zone-size", "", "bytes of a zone (default 256MiB; 16MiB when the disks are the default directories)", &c.ZoneSize),
		integer("extent-zones", "4", "zones that an extent may take", &c.ExtentZones),
		text("listen", "127.0.0.1:7420", "gRPC address, loopback only", &c.Listen),
		text("http", "127.0.0.1:7421", "address of console, /metrics, /healthz and /readyz; off serves none", &c.HTTP),
		text("s3", "off", "S3 address, loopback only; off serves none", &c.S3),
		size("memory", "1GiB", "memory budget of the whole process", &c.Memory),
		duration("retention", "168h", "how long deleted blocks can be undeleted; 0 is for tests", &c.Retention),
		duration("free-hold", "24h", "how long the extents of freed volumes wait before their zones are reset; 0 is for tests", &c.FreeHold),
		text("node", "local", "name of this process in leases and logs; keep it over restarts", &c.Node),
		text("log-format", "text", "text or json", &c.LogFormat),
		text("log-level", "info", "debug, info, warn or error", &c.LogLevel),
		boolean("pprof", "false", "serve /debug/pprof on the HTTP address", &c.Pprof),
	}
}

// single is a setting with one value.
func single(name, initial, help string, set func(string) error, show func() string) Setting {
	s := Setting{Name: name, Help: help, show: show}
	s.set = func(values []string) error {
		if len(values) != 1 {
			return fmt.Errorf("takes one value, got %d: %w", len(values), holdall.ErrInvalid)
		}
		return set(values[0])
	}
	if initial != "" {
		s.initial = []string{initial}
	}
	return s
}

func text(name, initial, help string, p *string) Setting {
	return single(name, initial, help, func(v string) error { *p = v; return nil }, func() string { return *p })
}

func size(name, initial, help string, p *int64) Setting {
	set := func(v string) (err error) { *p, err = ParseSize(v); return err }
	return single(name, initial, help, set, func() string { return FormatSize(*p) })
}

func integer(name, initial, help string, p *int64) Setting {
	set := func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number: %w", v, holdall.ErrInvalid)
		}
		*p = n
		return nil
	}
	return single(name, initial, help, set, func() string { return strconv.FormatInt(*p, 10) })
}

func duration(name, initial, help string, p *time.Duration) Setting {
	set := func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 168h, 90m or 0: %w", v, holdall.ErrInvalid)
		}
		*p = d
		return nil
	}
	return single(name, initial, help, set, func() string { return p.String() })
}

func boolean(name, initial, help string, p *bool) Setting {
	set := func(v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is not true or false: %w", v, holdall.ErrInvalid)
		}
		*p = b
		return nil
	}
	s := single(name, initial, help, set, func() string { return strconv.FormatBool(*p) })
	s.Bool = true
	return s
}

func scheme(p *holdall.Scheme) Setting {
	help := "rs-K-M, lrc-K-L-G or rep-N (default rs-6-3, or the widest that the disks allow)"
	set := func(v string) (err error) { *p, err = holdall.ParseScheme(v); return err }
	show := func() string {
		if *p == (holdall.Scheme{}) {
			return ""
		}
		return p.String()
	}
	return single("scheme", "", help, set, show)
}

func disks(p *[]Disk) Setting {
	return Setting{
		Name: "disk", Repeat: true,
		Help: "a directory, image file or block device, as PATH or PATH:domain=rack1/host3; repeat for each (default DATA/disk-00 to disk-08)",
		set: func(values []string) error {
			list := make([]Disk, 0, len(values))
			for _, v := range values {
				d, err := ParseDisk(v)
				if err != nil {
					return err
				}
				list = append(list, d)
			}
			*p = list
			return nil
		},
		show: func() string {
			var words []string
			for _, d := range *p {
				words = append(words, d.String())
			}
			return strings.Join(words, ",")
		},
	}
}
