package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/internal/config"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/pace"
	"github.com/holdall/holdall/migration/source"
)

// The walkers that a bucket has. Ranges of a backfill are noted under the name and
// a number.
const (
	Backfill = "backfill"
	Verify   = "verify"
)

// Limits are what a job may use of the source. The zero Limits limit nothing.
type Limits struct {
	Bandwidth string  `json:"bandwidth,omitempty"` // bytes a second, by hours: see pace.ParseSchedule
	Requests  string  `json:"requests,omitempty"`  // a second, by hours
	Money     float64 `json:"money,omitempty"`     // in all; 0 = no limit
}

// defaultPrices are what S3 charges in its cheapest regions, in dollars: for reads
// and listings a thousand, and for bytes that leave over the network.
func defaultPrices() pace.Prices {
	return pace.Prices{Request: [pace.Classes]float64{pace.Read: 0.0004 / 1000, pace.List: 0.005 / 1000, pace.Write: 0.005 / 1000}, Byte: 0.09 / 1e9}
}

// budget returns what keeps a job to its limits.
func (l *Limits) budget(spent pace.Spent) (*pace.Budget, error) {
	limits := pace.NoLimits()
	var err error
	if l.Bandwidth != "" {
		if limits.Bandwidth, err = pace.ParseSchedule(l.Bandwidth, config.ParseSize); err != nil {
			return nil, fmt.Errorf("bandwidth: %w", err)
		}
	}
	if l.Requests != "" {
		if limits.Requests, err = pace.ParseSchedule(l.Requests, config.ParseSize); err != nil {
			return nil, fmt.Errorf("requests: %w", err)
		}
	}
	if l.Money < 0 {
		return nil, fmt.Errorf("money: %v is less than nothing: %w", l.Money, holdall.ErrInvalid)
	}
	if l.Money > 0 {
		limits.Money = l.Money
	}
	return pace.NewBudget(limits, defaultPrices(), spent), nil
}

// Counts are what a pass came to so far.
type Counts struct {
	Seen       int64 `json:"seen"`   // keys
	Same       int64 `json:"same"`   // the cell had them
	Copied     int64 `json:"copied"` // or, of a verification, compared
	Bytes      int64 `json:"bytes"`  // of Copied
	Taken      int64 `json:"taken"`  // written or deleted by clients meanwhile
	Gone       int64 `json:"gone"`   // from the source since they were listed
	Faults     int64 `json:"faults"` // quarantined; of a verification, differences
	Unsettled  int64 `json:"unsettled,omitempty"`
	Excepted   int64 `json:"excepted,omitempty"`
	TotalKeys  int64 `json:"total_keys"` // in the source, as a listing of its own counted them; 0 = not yet
	TotalBytes int64 `json:"total_bytes"`
}

// Job is a walk that an operator asked for, as metadata keep it: it outlives the
// process.
type Job struct {
	Wanted  bool       `json:"wanted"`
	Run     runID      `json:"run"`
	Pass    int        `json:"pass"` // 0 = the backfill; later ones look for what is new
	Limits  Limits     `json:"limits"`
	Counts  Counts     `json:"counts"`
	Spent   pace.Spent `json:"spent"`
	Began   time.Time  `json:"began"` // the pass
	Ended   time.Time  `json:"ended"` // the job; zero = not
	Failure string     `json:"failure,omitempty"`

	// Of a verification: everything up to After is compared, and the first Length
	// bytes of the file of facts are of this.
	After   []byte `json:"after,omitempty"`
	Length  int64  `json:"length,omitempty"`
	Applied uint64 `json:"applied,omitempty"` // Raft index when the pass began
	Number  uint64 `json:"number,omitempty"`  // of the migration then
	Clean   Proved `json:"clean,omitzero"`    // the last pass without a difference
}

// Proved names the facts of a verification.
type Proved struct {
	Run     runID     `json:"run"`
	Length  int64     `json:"length"`
	Began   time.Time `json:"began"`
	Applied uint64    `json:"applied"`
	Passes  uint32    `json:"passes"` // clean ones in a row, with this
}

// maxFailure bounds Job.Failure, in bytes, so that a job fits its note.
const maxFailure = 400

// Cost is what the job has cost so far, in dollars.
func (j *Job) Cost() float64 { return j.Spent.Cost(defaultPrices()) }

// job reads a job; without one it is the zero Job.
func (r *Runner) job(bucket holdall.BucketID, name string) (j Job, err error) {
	b, err := r.cfg.Notes.Walker(bucket, name)
	if err != nil || len(b) == 0 {
		return j, err
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return j, fmt.Errorf("worker: note of %s of bucket %d: %v: %w", name, bucket, err, holdall.ErrCorrupt)
	}
	return j, nil
}

// noteJob writes a job, and what comes to the evidence with it.
func (r *Runner) noteJob(ctx context.Context, name string, j *Job, n metadata.WalkerNote) error {
	if len(j.Failure) > maxFailure {
		j.Failure = j.Failure[:maxFailure]
	}
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("worker: note of %s: %w", name, err)
	}
	n.Walker, n.Progress = name, b
	return r.cfg.Notes.NoteWalker(ctx, n)
}

// openSource opens the bucket that is left, within a job's limits.
func openSource(ctx context.Context, s metadata.Source, j Job) (Source, error) {
	budget, err := j.Limits.budget(j.Spent)
	if err != nil {
		return nil, err
	}
	src, err := source.Open(ctx, source.Config{Bucket: s.Bucket, Endpoint: s.Endpoint, Region: s.Region, Profile: s.Profile, VirtualHost: !s.PathStyle, Budget: budget})
	if err != nil {
		return nil, err
	}
	return bucketOf{src, budget}, nil
}

// spender is a Source that knows what was spent on it.
type spender interface{ Spent() (pace.Spent, float64) }

// Spent returns what was asked and read.
func (b bucketOf) Spent() (pace.Spent, float64) { return b.budget.Spent() }
