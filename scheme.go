package holdall

import (
	"fmt"
	"strconv"
	"strings"
)

// SchemeKind is the family of a Scheme.
type SchemeKind uint8

// The families of schemes.
const (
	ReedSolomon SchemeKind = 1 // rs-K-M
	LocalRS     SchemeKind = 2 // lrc-K-L-G
	Copies      SchemeKind = 3 // rep-N
)

// Scheme says how a stripe is coded. It is comparable and small. The zero
// Scheme is not valid.
type Scheme struct {
	Kind   SchemeKind
	Data   uint8 // k: data shards
	Local  uint8 // L: local groups, each with one parity; LocalRS only
	Global uint8 // M of rs-K-M, G of lrc-K-L-G, N-1 of rep-N
}

// DefaultScheme is rs-6-3.
var DefaultScheme = Scheme{Kind: ReedSolomon, Data: 6, Global: 3}

// ParseScheme reads "rs-6-3", "lrc-12-2-2" or "rep-4".
func ParseScheme(s string) (Scheme, error) {
	bad := func(why string) (Scheme, error) {
		return Scheme{}, fmt.Errorf("scheme %.40q: %s (want rs-K-M, lrc-K-L-G or rep-N, as in rs-6-3): %w", s, why, ErrInvalid)
	}
	words := strings.Split(s, "-")
	var n []uint8
	for _, w := range words[1:] {
		v, err := strconv.ParseUint(w, 10, 8)
		if err != nil || (len(w) > 1 && w[0] == '0') {
			return bad(fmt.Sprintf("%q is not a number", w))
		}
		n = append(n, uint8(v))
	}
	var c Scheme
	switch {
	case words[0] == "rs" && len(n) == 2:
		c = Scheme{Kind: ReedSolomon, Data: n[0], Global: n[1]}
	case words[0] == "lrc" && len(n) == 3:
		c = Scheme{Kind: LocalRS, Data: n[0], Local: n[1], Global: n[2]}
	case words[0] == "rep" && len(n) == 1 && n[0] > 0:
		c = Scheme{Kind: Copies, Data: 1, Global: n[0] - 1}
	default:
		return bad("unknown form")
	}
	if err := c.Validate(); err != nil {
		return bad(err.Error())
	}
	return c, nil
}

// Validate says what is wrong with c, or returns nil. Its errors wrap
// ErrInvalid.
func (c Scheme) Validate() error {
	fault := ""
	switch {
	case c.Kind != ReedSolomon && c.Kind != LocalRS && c.Kind != Copies:
		fault = "unknown kind"
	case c.Data == 0:
		fault = "needs at least one data shard"
	case c.Global == 0:
		fault = "needs at least one parity: without any, one lost disk loses data"
	case int(c.Data)+int(c.Local)+int(c.Global) > MaxMembers:
		fault = fmt.Sprintf("has %d members, the most is %d", int(c.Data)+int(c.Local)+int(c.Global), MaxMembers)
	case c.Kind == Copies && (c.Data != 1 || c.Local != 0):
		fault = "copies have one data shard and no local groups"
	case c.Kind == ReedSolomon && c.Local != 0:
		fault = "rs has no local groups"
	case c.Kind == LocalRS && c.Local < 2:
		fault = "lrc needs at least two local groups"
	case c.Kind == LocalRS && c.Data%c.Local != 0:
		fault = "the data shards of an lrc divide evenly into its local groups"
	case c.Kind == LocalRS && c.Data == c.Local:
		fault = "an lrc group of one shard is a copy; use rs or rep"
	}
	if fault != "" {
		return fmt.Errorf("%s: %w", fault, ErrInvalid)
	}
	return nil
}

// K returns the number of data shards.
func (c Scheme) K() int { return int(c.Data) }

// M returns the number of parity shards, local and global.
func (c Scheme) M() int { return int(c.Local) + int(c.Global) }

// N returns k+m: the members of a volume.
func (c Scheme) N() int { return c.K() + c.M() }

// Tolerance returns f, the most losses of which every pattern is recoverable:
// M for rs-K-M, N-1 for rep-N, G+1 for lrc-K-L-G (Huang et al., USENIX ATC'12,
// section 2).
func (c Scheme) Tolerance() int {
	if c.Kind == LocalRS {
		return int(c.Global) + 1
	}
	return int(c.Global)
}

// Ideal returns the bytes on disk for each byte of a wide stripe: n/k.
func (c Scheme) Ideal() float64 { return float64(c.N()) / float64(c.K()) }

// String returns the form that ParseScheme reads.
func (c Scheme) String() string {
	switch c.Kind {
	case ReedSolomon:
		return fmt.Sprintf("rs-%d-%d", c.Data, c.Global)
	case LocalRS:
		return fmt.Sprintf("lrc-%d-%d-%d", c.Data, c.Local, c.Global)
	case Copies:
		return fmt.Sprintf("rep-%d", int(c.Global)+1)
	}
	return fmt.Sprintf("scheme-%d", uint8(c.Kind))
}

// MarshalText makes a Scheme its name in JSON and TOML.
func (c Scheme) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Scheme) UnmarshalText(b []byte) (err error) {
	*c, err = ParseScheme(string(b))
	return err
}

// Narrow returns the scheme with k data shards in place of c's, and the same
// parities: what a volume takes when too few disks are left for c.
func (c Scheme) Narrow(k int) Scheme {
	if c.Kind == LocalRS {
		c = Scheme{Kind: ReedSolomon, Global: uint8(c.Tolerance())}
	}
	c.Data = uint8(k)
	return c
}
