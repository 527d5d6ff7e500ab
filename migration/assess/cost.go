package assess

import (
	"math"
	"time"
)

// Line is one line of a bill.
type Line struct {
	What   string  `json:"what"`
	Amount string  `json:"amount"`
	Cost   float64 `json:"cost"`
}

// Cost is what stays, moves and would come.
type Cost struct {
	Currency   string   `json:"currency"`
	AsOf       string   `json:"prices_as_of"`
	Where      string   `json:"prices_of"`
	S3Month    []Line   `json:"s3_month"`
	Move       []Line   `json:"move"`
	Buy        []Line   `json:"buy"`
	OwnMonth   []Line   `json:"holdall_month"`
	S3Total    float64  `json:"s3_month_total"`
	MoveTotal  float64  `json:"move_total"`
	BuyTotal   float64  `json:"buy_total"`
	OwnTotal   float64  `json:"holdall_month_total"`
	Months     float64  `json:"break_even_months"` // -1 = never at these prices
	BreakEven  string   `json:"break_even_date"`   // "" = never
	Unpriced   []string `json:"classes_not_in_sheet"`
	NoWorkload bool     `json:"workload_not_stated"`
}

// cost prices a summary.
func (p *Prices) cost(s *Summary) Cost {
	c := Cost{Currency: p.Currency, AsOf: p.AsOf, Where: p.Where, S3Month: []Line{}, Move: []Line{}, Unpriced: []string{}}
	c.NoWorkload = p.Workload.Gets+p.Workload.Puts+p.Workload.EgressGB == 0
	p.s3Month(s, &c)
	p.move(s, &c)
	tb := float64(s.Footprint.ToBuy) / 1e12
	disks := "of " + Bytes(s.Footprint.ToBuy)
	c.Buy = []Line{{"disks", disks, tb * p.Holdall.DiskTB}, {"servers, racks, network", disks, tb * p.Holdall.ServerTB}}
	c.OwnMonth = []Line{{"power, space, spare parts", disks, tb * p.Holdall.TBMonth}, {"people", "", p.Holdall.PeopleMonth}}
	c.S3Total, c.MoveTotal, c.BuyTotal, c.OwnTotal = total(c.S3Month), total(c.Move), total(c.Buy), total(c.OwnMonth)
	p.breakEven(s, &c)
	return c
}

func (p *Prices) s3Month(s *Summary, c *Cost) {
	for _, class := range s.Classes {
		prices, priced := p.class(class.Name)
		if !priced {
			c.Unpriced = append(c.Unpriced, class.Name)
		}
		month := tiered(float64(class.Billed)/gb, prices.Tiers, func(t tier) float64 { return t.GBMonth })
		c.S3Month = append(c.S3Month, Line{"storage, " + class.Name, Bytes(class.Billed), month + float64(class.Objects)*prices.ObjectMonth})
	}
	standard, _ := p.class("STANDARD")
	if s.Uploads.Objects > 0 {
		waste := tiered(float64(s.Uploads.Bytes)/gb, standard.Tiers, func(t tier) float64 { return t.GBMonth })
		c.S3Month = append(c.S3Month, Line{"unfinished uploads", Bytes(s.Uploads.Bytes), waste})
	}
	w := p.Workload
	c.S3Month = append(c.S3Month, Line{"GET requests of applications", Count(int64(w.Gets)), w.Gets / 1000 * standard.Get},
		Line{"PUT requests of applications", Count(int64(w.Puts)), w.Puts / 1000 * standard.Put},
		Line{"egress of applications", Bytes(int64(w.EgressGB * gb)), p.egress(w.EgressGB)})
}

// move is what reading everything costs, once to copy and again to verify.
func (p *Prices) move(s *Summary, c *Cost) {
	passes := 1 + p.Migration.VerifyPasses
	var gets, retrieval, restore float64
	for _, class := range s.Classes {
		prices, _ := p.class(class.Name)
		gets += passes * float64(class.Objects) / 1000 * prices.Get
		retrieval += passes * float64(class.Bytes) / gb * prices.RetrievalGB
		restore += float64(class.Objects) / 1000 * prices.Restore
	}
	all := s.Current.Bytes
	once := float64(all) / gb
	pages := passes * math.Ceil(float64(s.Current.Objects)/1000)
	c.Move = []Line{
		{"listing", Count(int64(pages)) + " pages", pages / 1000 * p.Requests.List},
		{"GET requests", Count(int64(passes * float64(s.Current.Objects))), gets},
		{"egress, the copy", Bytes(all), p.egress(once)},
		{"egress, verification", Bytes(int64(p.Migration.VerifyPasses * float64(all))), p.Migration.VerifyPasses * p.egress(once)},
	}
	if retrieval > 0 {
		c.Move = append(c.Move, Line{"retrieval from cold classes", "", retrieval})
	}
	if restore > 0 {
		c.Move = append(c.Move, Line{"restores from archives", Count(s.Archived.Objects) + " objects", restore})
	}
}

func total(lines []Line) (sum float64) {
	for _, l := range lines {
		sum += l.Cost
	}
	return sum
}

// breakEven is when what was spent is saved again: S3 is paid on while both sides
// run.
func (p *Prices) breakEven(s *Summary, c *Cost) {
	saved := c.S3Total - c.OwnTotal
	overlap := p.Migration.OverlapMonths
	upfront := c.MoveTotal + c.BuyTotal + overlap*c.OwnTotal
	if c.Months = -1; saved <= 0 {
		return
	}
	c.Months = overlap + upfront/saved
	const month = 30 * 24 * time.Hour
	if from := s.Finished; !from.IsZero() && c.Months < 1200 {
		c.BreakEven = from.Add(time.Duration(c.Months * float64(month))).Format(time.DateOnly)
	}
}

// Time is how long the copy takes at a bandwidth.
type Time struct {
	Bandwidth int64   `json:"bandwidth_bytes_per_s"`
	Seconds   float64 `json:"copy_s"`
	Verify    float64 `json:"verify_s"`
	Limit     string  `json:"limit"` // bandwidth, or objects
}

// usualBandwidths are shown when none is given, in bytes a second: 1, 10, 25 and
// 100 Gbit/s.
var usualBandwidths = []int64{125e6, 1250e6, 3125e6, 12500e6}

func (p *Prices) times(s *Summary, bandwidth int64) (times []Time) {
	all := usualBandwidths
	if bandwidth > 0 {
		all = []int64{bandwidth}
	}
	for _, b := range all {
		t := Time{Bandwidth: b, Limit: "bandwidth", Seconds: float64(s.Current.Bytes) / float64(b)}
		if byCount := float64(s.Current.Objects) / p.Migration.ObjectsPerSecond; byCount > t.Seconds {
			t.Seconds, t.Limit = byCount, "objects"
		}
		t.Verify = t.Seconds * p.Migration.VerifyPasses
		times = append(times, t)
	}
	return times
}
