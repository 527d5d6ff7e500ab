package s3fault

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// Kind is a way to spoil a request.
type Kind uint8

// The kinds. Each says what the client sees.
const (
	None            Kind = iota
	SlowDown             // 503 SlowDown; the server was not asked
	InternalError        // 500 InternalError; the server was not asked
	TooManyRequests      // 429; the server was not asked
	AccessDenied         // 403 AccessDenied; the server was not asked
	ExpiredToken         // 400 ExpiredToken; the server was not asked
	ResetBefore          // the connection is reset; the server was not asked
	ResetLost            // the server did it, and the connection is reset instead of its answer
	ResetMid             // half of the answer's body, then a reset
	Stall                // half of the answer's body, then nothing for Plan.Stall, then a reset
	Truncate             // half of the answer's body, then the end, against its Content-Length
	WrongLength          // half of the answer's body, with a Content-Length that agrees
	CorruptByte          // one byte of the answer's body is another
	WrongETag            // an ETag that is not the object's
	Changed              // the object is another from here on: other bytes and ETag, 412 for If-Match
	LatePut              // a PUT that gets no answer, and lands Plan.Late later
	SlowListing          // a listing that takes Plan.Slow longer
	TruncateListing      // a listing whose XML ends in the middle
	RepeatListing        // a listing answered with the page that was served before
	FalseNotFound        // 404 NoSuchKey, a lie; not among Kinds
	kinds                // how many there are
)

var names = [kinds]string{"none", "slow_down", "internal_error", "too_many_requests", "access_denied", "expired_token", "reset_before", "reset_lost",
	"reset_mid", "stall", "truncate", "wrong_length", "corrupt_byte", "wrong_etag", "changed", "late_put", "slow_listing", "truncate_listing",
	"repeat_listing", "false_not_found"}

// String returns the kind's name, as in slow_down.
func (k Kind) String() string {
	if k < kinds {
		return names[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Kinds returns every kind that an honest server or its network can show: all
// but FalseNotFound.
func Kinds() (all []Kind) {
	for k := None + 1; k < FalseNotFound; k++ {
		all = append(all, k)
	}
	return all
}

// fits says whether a kind can spoil a request of this sort.
func (k Kind) fits(r request) bool {
	switch k {
	case ResetMid, Stall, Truncate, WrongLength, CorruptByte:
		return r.object && r.method == "GET"
	case WrongETag, Changed, FalseNotFound:
		return r.object && (r.method == "GET" || r.method == "HEAD")
	case LatePut:
		return r.object && r.method == "PUT"
	case SlowListing, TruncateListing, RepeatListing:
		return r.listing
	}
	return k != None
}

// Rule spoils a share of the requests that it matches in one way.
type Rule struct {
	Kind    Kind
	Rate    float64  // share of matching requests, 0 to 1
	Methods []string // only these; empty = all that the kind fits
	Key     string   // only objects whose key begins so; listings have none
	Most    int      // spoil no more than this many; 0 = no such limit
}

// Plan is what a proxy does. The zero Plan spoils nothing.
type Plan struct {
	Seed  uint64
	Rules []Rule        // the first that hits decides
	Stall time.Duration // of Stall; 0 = until the client gives up
	Slow  time.Duration // of SlowListing; 0 = 100 ms
	Late  time.Duration // of LatePut, from the request's end; 0 = until Proxy.Land

	// Mutate, if set, is what Changed does: it changes the object at the server,
	// by another way than the proxy, before the request goes on. Without it the
	// proxy makes up other bytes.
	Mutate func(bucket, key string)
}

// Mix returns a plan in which every kind of kinds has the same share, rate in
// all, of what it fits.
func Mix(seed uint64, rate float64, kinds ...Kind) Plan {
	p := Plan{Seed: seed}
	for _, k := range kinds {
		p.Rules = append(p.Rules, Rule{Kind: k, Rate: rate / float64(len(kinds))})
	}
	return p
}

// request is what a plan looks at.
type request struct {
	method  string
	bucket  string
	key     string
	query   string
	span    string // the Range header
	object  bool   // of an object's bytes: bucket and key, no subresource
	listing bool
}

// matches says whether the rule is for this request.
func (r *Rule) matches(q request) bool {
	if !r.Kind.fits(q) || len(r.Methods) > 0 && !slices.Contains(r.Methods, q.method) {
		return false
	}
	return len(q.key) >= len(r.Key) && q.key[:len(r.Key)] == r.Key
}

// chance maps the nth time that a request is made, under a rule, to 0..1. It is
// the same in every run, whatever else goes on.
func (p *Plan) chance(rule int, q request, nth int) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %d %s %q %q %q %q", p.Seed, rule, nth, q.method, q.bucket, q.key, q.query, q.span)
	x := h.Sum64() // FNV's high bits mix poorly: finish as splitmix64 does
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
