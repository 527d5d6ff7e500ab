package assess

import (
	"bytes"
	_ "embed" // the default sheet
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/holdall/holdall"
)

// DefaultPrices is the sheet that is used when none is given, as TOML.
//
//go:embed prices.toml
var DefaultPrices []byte

// gb is what AWS bills as a GB.
const gb = 1 << 30

// tier is a price up to an amount.
type tier struct {
	UpToGB  float64 `toml:"up_to_gb"` // 0 = the rest
	GBMonth float64 `toml:"gb_month"`
	GB      float64 `toml:"gb"`
}

// classPrices are the prices of a storage class.
type classPrices struct {
	Tiers         []tier  `toml:"tiers"`
	Get           float64 `toml:"get"` // for 1,000
	Put           float64 `toml:"put"` // for 1,000
	MinBytes      int64   `toml:"min_bytes"`
	OverheadBytes int64   `toml:"overhead_bytes"`
	RetrievalGB   float64 `toml:"retrieval_gb"`
	Restore       float64 `toml:"restore"` // for 1,000
	ObjectMonth   float64 `toml:"object_month"`
}

// Prices is a price sheet.
type Prices struct {
	AsOf     string                 `toml:"as_of"`
	Currency string                 `toml:"currency"`
	Where    string                 `toml:"where"`
	Storage  map[string]classPrices `toml:"storage"`
	Requests struct {
		List float64 `toml:"list"` // for 1,000
	} `toml:"requests"`
	Egress struct {
		FreeGB float64 `toml:"free_gb"`
		Tiers  []tier  `toml:"tiers"`
	} `toml:"egress"`
	Workload struct {
		Gets     float64 `toml:"gets"`
		Puts     float64 `toml:"puts"`
		EgressGB float64 `toml:"egress_gb"`
	} `toml:"workload"`
	Migration struct {
		VerifyPasses     float64 `toml:"verify_passes"`
		OverlapMonths    float64 `toml:"overlap_months"`
		ObjectsPerSecond float64 `toml:"objects_per_second"`
	} `toml:"migration"`
	Holdall struct {
		Scheme      holdall.Scheme `toml:"scheme"`
		DiskTB      float64        `toml:"disk_tb"`
		ServerTB    float64        `toml:"server_tb"`
		TBMonth     float64        `toml:"tb_month"`
		PeopleMonth float64        `toml:"people_month"`
		Fill        float64        `toml:"fill"`
	} `toml:"holdall"`
}

// LoadPrices reads a sheet from a file, "" = the default sheet. A key that it does
// not know is an error.
func LoadPrices(file string) (*Prices, error) {
	text, name := DefaultPrices, "default price sheet"
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("price sheet: %w", err)
		}
		text, name = b, "price sheet "+file
	}
	p := &Prices{}
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(p); err != nil {
		if strict, ok := err.(*toml.StrictMissingError); ok {
			return nil, fmt.Errorf("%s: unknown keys:\n%s: %w", name, strict.String(), holdall.ErrInvalid)
		}
		return nil, fmt.Errorf("%s: %v: %w", name, err, holdall.ErrInvalid)
	}
	if faults := p.faults(); len(faults) > 0 {
		return nil, fmt.Errorf("%s: %s: %w", name, strings.Join(faults, "; "), holdall.ErrInvalid)
	}
	return p, nil
}

func (p *Prices) faults() (faults []string) {
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	bad(p.AsOf != "" && p.Currency != "", "as_of and currency: have to be set, the report states them")
	bad(len(p.Storage["STANDARD"].Tiers) > 0, "storage.STANDARD.tiers: has to be set, classes that are not in the sheet are billed as that")
	numbers := map[string]float64{"requests.list": p.Requests.List, "egress.free_gb": p.Egress.FreeGB, "workload.gets": p.Workload.Gets, "workload.puts": p.Workload.Puts,
		"workload.egress_gb": p.Workload.EgressGB, "migration.verify_passes": p.Migration.VerifyPasses, "migration.overlap_months": p.Migration.OverlapMonths,
		"holdall.disk_tb": p.Holdall.DiskTB, "holdall.server_tb": p.Holdall.ServerTB, "holdall.tb_month": p.Holdall.TBMonth, "holdall.people_month": p.Holdall.PeopleMonth}
	for name, c := range p.Storage {
		for i, t := range c.Tiers {
			numbers[fmt.Sprintf("storage.%s.tiers[%d]", name, i)] = min(t.GBMonth, t.UpToGB)
		}
		numbers["storage."+name] = min(c.Get, c.Put, c.RetrievalGB, c.Restore, c.ObjectMonth, float64(c.MinBytes), float64(c.OverheadBytes))
	}
	for i, t := range p.Egress.Tiers {
		numbers[fmt.Sprintf("egress.tiers[%d]", i)] = min(t.GB, t.UpToGB)
	}
	for name, n := range numbers {
		bad(n >= 0 && !math.IsInf(n, 0), "%s: want 0 or more", name)
	}
	bad(p.Holdall.Fill > 0 && p.Holdall.Fill <= 1, "holdall.fill: want more than 0, at most 1")
	bad(p.Migration.ObjectsPerSecond > 0, "migration.objects_per_second: want more than 0")
	bad(p.Holdall.Scheme.Validate() == nil, "holdall.scheme: want one as rs-6-3")
	slices.Sort(faults)
	return faults
}

// class returns the prices of a class, and whether the sheet has them.
func (p *Prices) class(name string) (classPrices, bool) {
	c, ok := p.Storage[name]
	if !ok {
		return p.Storage["STANDARD"], false
	}
	return c, true
}

// tiered is the price of an amount in GB.
func tiered(amount float64, tiers []tier, price func(tier) float64) (cost float64) {
	from := 0.0
	for _, t := range tiers {
		upTo := t.UpToGB
		if upTo == 0 {
			upTo = math.Inf(1)
		}
		if amount > from {
			cost += (min(amount, upTo) - from) * price(t)
		}
		from = upTo
	}
	return cost
}

// egress is the price of some GB to the internet in a month.
func (p *Prices) egress(amount float64) float64 {
	return tiered(max(0, amount-p.Egress.FreeGB), p.Egress.Tiers, func(t tier) float64 { return t.GB })
}
