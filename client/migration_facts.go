package client

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Span is a time that JSON has in seconds.
type Span time.Duration

// MarshalJSON returns seconds.
func (s Span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// MigrationSource is the bucket that is left. Its credentials are nowhere: Profile
// names those that the server's process has.
type MigrationSource struct {
	Endpoint      string `json:"endpoint"` // "" = AWS
	Region        string `json:"region"`
	Bucket        string `json:"bucket"`
	Profile       string `json:"profile"`
	PathStyle     bool   `json:"path_style"`
	Unconditional bool   `json:"unconditional"` // it ignores If-Match on writes
}

// MigrationSettings are what an operator may change of a migration.
type MigrationSettings struct {
	Source             MigrationSource `json:"source"`
	OnSecondaryFailure string          `json:"on_secondary_failure"` // outbox, fail
	CleanRun           Span            `json:"clean_run"`
	Window             Span            `json:"window"`
}

// Migration is all that is known of the migration of a bucket.
type Migration struct {
	Namespace string `json:"namespace"`
	Bucket    string `json:"bucket"`
	MigrationSettings
	State     string     `json:"state"`
	Entered   time.Time  `json:"entered"` // when State began
	Step      string     `json:"step"`    // announced, not yet done; "" = none
	Announced *time.Time `json:"announced"`
	Waiting   []string   `json:"waiting"` // front doors that the step waits for
	Missing   []string   `json:"missing"` // what is in the way of the next state

	Copied      int64      `json:"copied"`
	CopiedBytes int64      `json:"copied_bytes"`
	Backfilled  *time.Time `json:"backfilled"`
	CaughtUp    *time.Time `json:"caught_up"`
	Passes      uint32     `json:"passes"` // clean full verifications in a row
	Verified    *time.Time `json:"verified"`
	Mismatches  int64      `json:"mismatches"`
	LastFinding *time.Time `json:"last_finding"`
	CleanSince  *time.Time `json:"clean_since"`
	Certified   *time.Time `json:"certified"`

	Intents     int64 `json:"intents"` // writes under way
	Outbox      int64 `json:"outbox"`  // keys that one side missed
	Quarantined int64 `json:"quarantined"`
	Exceptions  int64 `json:"exceptions"`

	Backfill MigrationJob `json:"backfill"`
	Verify   MigrationJob `json:"verify"`
}

// JobLimits are what a job may use of the source; zero values limit nothing.
type JobLimits struct {
	Bandwidth string  `json:"bandwidth"` // bytes a second: 20MiB, or by hours 08-18=20MiB,else=none
	Requests  string  `json:"requests"`  // a second, likewise
	Money     float64 `json:"money"`     // dollars
}

// MigrationJob is a walk over all keys of a bucket.
type MigrationJob struct {
	Wanted     bool       `json:"wanted"`
	Running    bool       `json:"running"`
	Pass       uint32     `json:"pass"`
	Began      *time.Time `json:"began"` // the pass
	Ended      *time.Time `json:"ended"` // the job
	Seen       int64      `json:"seen"`
	Same       int64      `json:"same"`
	Done       int64      `json:"done"`  // copied, or compared
	Bytes      int64      `json:"bytes"` // of Done
	Taken      int64      `json:"taken"`
	Gone       int64      `json:"gone"`
	Faults     int64      `json:"faults"` // quarantined; of a verification, differences
	Unsettled  int64      `json:"unsettled"`
	Excepted   int64      `json:"excepted"`
	TotalKeys  int64      `json:"total_keys"` // 0 = not known
	TotalBytes int64      `json:"total_bytes"`
	KeyRate    float64    `json:"keys_per_second"`
	ByteRate   float64    `json:"bytes_per_second"`
	Left       *Span      `json:"eta"`  // nil = not known
	Cost       float64    `json:"cost"` // dollars so far, at list prices
	Limits     JobLimits  `json:"limits"`
	Failure    string     `json:"failure"`
}

// MigrationKey is a key of a bucket, and what is the matter with it.
type MigrationKey struct {
	Key      string     `json:"key"`
	KeyBytes []byte     `json:"key_bytes,omitempty"` // where Key is not UTF-8
	What     string     `json:"what"`
	Reason   string     `json:"reason"`
	Tries    uint32     `json:"tries"`
	Since    time.Time  `json:"since"`
	Next     *time.Time `json:"next"`
	SignedBy string     `json:"signed_by,omitempty"`
}

// Certificate is one that was made, in files of the server.
type Certificate struct {
	Certificate string          `json:"certificate"`
	Leaves      string          `json:"leaves"`
	PublicKey   string          `json:"public_key"`
	Fingerprint string          `json:"fingerprint"`
	Digest      holdall.BlockID `json:"digest"`
	Objects     int64           `json:"objects"`
	Bytes       int64           `json:"bytes"`
	Verified    int64           `json:"verified"`
	Mirrored    int64           `json:"mirrored"`
	Excepted    int64           `json:"excepted"`
	RaftIndex   uint64          `json:"raft_index"`
}

func migrationFacts(m *holdallv1.Migration) (*Migration, error) {
	if m == nil {
		return nil, fmt.Errorf("the server sent no migration: %w", holdall.ErrCorrupt)
	}
	from := m.Settings.GetSource()
	return &Migration{
		Namespace: m.Namespace, Bucket: m.Bucket,
		MigrationSettings: MigrationSettings{
			Source: MigrationSource{Endpoint: from.GetEndpoint(), Region: from.GetRegion(), Bucket: from.GetBucket(), Profile: from.GetProfile(),
				PathStyle: from.GetPathStyle(), Unconditional: from.GetUnconditional()},
			OnSecondaryFailure: m.Settings.GetOnSecondaryFailure(), CleanRun: Span(m.Settings.GetCleanRun().AsDuration()), Window: Span(m.Settings.GetWindow().AsDuration()),
		},
		State: m.State, Entered: timeOf(m.Entered), Step: m.Step, Announced: timeOrNil(m.Announced), Waiting: m.Waiting, Missing: m.Missing,
		Copied: m.Copied, CopiedBytes: m.CopiedBytes, Backfilled: timeOrNil(m.Backfilled), CaughtUp: timeOrNil(m.CaughtUp),
		Passes: m.Passes, Verified: timeOrNil(m.Verified), Mismatches: m.Mismatches, LastFinding: timeOrNil(m.LastFinding), CleanSince: timeOrNil(m.CleanSince),
		Certified: timeOrNil(m.Certified), Intents: m.Intents, Outbox: m.Outbox, Quarantined: m.Quarantined, Exceptions: m.Exceptions,
		Backfill: migrationJob(m.Backfill), Verify: migrationJob(m.Verify),
	}, nil
}

func migrationJob(m *holdallv1.Migration_Job) MigrationJob {
	if m == nil {
		return MigrationJob{}
	}
	j := MigrationJob{
		Wanted: m.Wanted, Running: m.Running, Pass: m.Pass, Began: timeOrNil(m.Began), Ended: timeOrNil(m.Ended),
		Seen: m.Seen, Same: m.Same, Done: m.Done, Bytes: m.Bytes, Taken: m.Taken, Gone: m.Gone, Faults: m.Faults, Unsettled: m.Unsettled, Excepted: m.Excepted,
		TotalKeys: m.TotalKeys, TotalBytes: m.TotalBytes, KeyRate: m.KeysPerSecond, ByteRate: m.BytesPerSecond, Cost: m.Cost, Failure: m.Failure,
		Limits: JobLimits{Bandwidth: m.Limits.GetBandwidth(), Requests: m.Limits.GetRequests(), Money: m.Limits.GetMoney()},
	}
	if m.Left != nil {
		left := Span(m.Left.AsDuration())
		j.Left = &left
	}
	return j
}

func migrationKey(m *holdallv1.MigrationKey) MigrationKey {
	k := MigrationKey{Key: string(m.Key), What: m.What, Reason: m.Reason, Tries: m.Tries, Since: timeOf(m.Since), Next: timeOrNil(m.Next), SignedBy: m.SignedBy}
	if !utf8.Valid(m.Key) {
		k.KeyBytes = m.Key
	}
	return k
}
