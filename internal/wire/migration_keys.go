package wire

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/worker"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// keysPage answers a page of keys.
func keysPage[T any](s *migrationServer, in *holdallv1.ListKeysRequest, list func(ns holdall.NamespaceID, limit int) ([]T, error), encode func(*T) *holdallv1.MigrationKey) (*holdallv1.ListKeysResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err == nil {
		err = short("after", string(in.After), holdall.MaxKeySize)
	}
	if err != nil {
		return nil, err
	}
	limit := pageLimit(in.Limit)
	all, err := list(ns, limit)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListKeysResponse{More: len(all) >= limit}
	for i := range all {
		out.Keys = append(out.Keys, encode(&all[i]))
	}
	return out, nil
}

func (s *migrationServer) ListOutbox(ctx context.Context, in *holdallv1.ListKeysRequest) (*holdallv1.ListKeysResponse, error) {
	return keysPage(s, in, func(ns holdall.NamespaceID, limit int) ([]metadata.Entry, error) {
		return s.keys.Outbox(ctx, ns, in.Bucket, string(in.After), limit)
	}, func(e *metadata.Entry) *holdallv1.MigrationKey {
		return &holdallv1.MigrationKey{Key: []byte(e.Key), What: e.Missed.String(), Reason: e.Reason, Tries: e.Tries, Since: encodeTime(e.Since), Next: encodeTime(e.Next)}
	})
}

func (s *migrationServer) ListQuarantine(ctx context.Context, in *holdallv1.ListKeysRequest) (*holdallv1.ListKeysResponse, error) {
	return keysPage(s, in, func(ns holdall.NamespaceID, limit int) ([]metadata.Quarantine, error) {
		return s.keys.Quarantine(ctx, ns, in.Bucket, string(in.After), limit)
	}, func(q *metadata.Quarantine) *holdallv1.MigrationKey {
		return &holdallv1.MigrationKey{Key: []byte(q.Key), Reason: q.Reason, Tries: q.Tries, Since: encodeTime(q.Since)}
	})
}

func (s *migrationServer) ListExceptions(ctx context.Context, in *holdallv1.ListKeysRequest) (*holdallv1.ListKeysResponse, error) {
	return keysPage(s, in, func(ns holdall.NamespaceID, limit int) ([]metadata.Exception, error) {
		return s.keys.Exceptions(ctx, ns, in.Bucket, string(in.After), limit)
	}, func(e *metadata.Exception) *holdallv1.MigrationKey {
		return &holdallv1.MigrationKey{Key: []byte(e.Key), What: e.What, Reason: e.Reason, SignedBy: e.SignedBy, Since: encodeTime(e.At)}
	})
}

func (s *migrationServer) Requeue(ctx context.Context, in *holdallv1.RequeueRequest) (*holdallv1.RequeueResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err == nil {
		err = holdall.CheckKey(string(in.Key))
	}
	if err != nil {
		return nil, err
	}
	return &holdallv1.RequeueResponse{}, s.keys.Requeue(ctx, ns, in.Bucket, string(in.Key))
}

func (s *migrationServer) Except(ctx context.Context, in *holdallv1.ExceptRequest) (*holdallv1.ExceptResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err == nil {
		err = errors.Join(holdall.CheckKey(string(in.Key)), short("reason", in.Reason, maxText), short("signed by", in.SignedBy, maxText))
	}
	if err != nil {
		return nil, err
	}
	return &holdallv1.ExceptResponse{}, s.keys.Except(ctx, ns, in.Bucket, metadata.Exception{Key: string(in.Key), Reason: in.Reason, SignedBy: in.SignedBy})
}

// encodeMigration writes all that is known of a migration.
func encodeMigration(s *worker.Status) *holdallv1.Migration {
	m, e := &s.Migration, &s.Migration.Evidence
	policy := "outbox"
	if m.Policy == metadata.MissFail {
		policy = "fail"
	}
	out := &holdallv1.Migration{
		Namespace: s.Space, Bucket: s.Name,
		Settings: &holdallv1.MigrationSettings{
			Source: &holdallv1.MigrationSource{Endpoint: m.Source.Endpoint, Region: m.Source.Region, Bucket: m.Source.Bucket, Profile: m.Source.Profile,
				PathStyle: m.Source.PathStyle, Unconditional: m.Source.Unconditional},
			OnSecondaryFailure: policy, CleanRun: durationpb.New(m.CleanRun), Window: durationpb.New(m.Window),
		},
		State: m.State.String(), Entered: encodeTime(m.Entered), Announced: encodeTime(m.Announced),
		Copied: e.Copied, CopiedBytes: e.CopiedBytes, Backfilled: encodeTime(e.Backfilled), CaughtUp: encodeTime(e.CaughtUp),
		Passes: e.Passes, Verified: encodeTime(e.Verified), Mismatches: e.Mismatches, LastFinding: encodeTime(e.LastFinding), CleanSince: encodeTime(e.CleanSince),
		Certified: encodeTime(m.Certified), Intents: m.Intents, Outbox: m.Entries, Quarantined: m.Quarantined, Exceptions: m.Exceptions,
		Backfill: encodeJob(&s.Backfill, s.Rates[0], s.Running[0]), Verify: encodeJob(&s.Verify, s.Rates[1], s.Running[1]),
	}
	if m.Step != 0 {
		out.Step = m.Step.String()
	}
	for _, id := range s.Waiting {
		out.Waiting = append(out.Waiting, id.String())
	}
	var lines interface{ Missing() []string }
	switch {
	case errors.As(s.Next, &lines):
		out.Missing = lines.Missing()
	case s.Next != nil:
		out.Missing = []string{s.Next.Error()}
	}
	return out
}

func encodeJob(j *worker.Job, r worker.Rate, running bool) *holdallv1.Migration_Job {
	c := &j.Counts
	out := &holdallv1.Migration_Job{
		Wanted: j.Wanted, Running: running, Pass: uint32(j.Pass), Began: encodeTime(j.Began), Ended: encodeTime(j.Ended),
		Seen: c.Seen, Same: c.Same, Done: c.Copied, Bytes: c.Bytes, Taken: c.Taken, Gone: c.Gone, Faults: c.Faults, Unsettled: c.Unsettled, Excepted: c.Excepted,
		TotalKeys: c.TotalKeys, TotalBytes: c.TotalBytes, KeysPerSecond: r.Keys, BytesPerSecond: r.Bytes, Cost: j.Cost(), Failure: j.Failure,
		Limits: &holdallv1.JobLimits{Bandwidth: j.Limits.Bandwidth, Requests: j.Limits.Requests, Money: j.Limits.Money},
	}
	if r.Left > 0 {
		out.Left = durationpb.New(r.Left)
	}
	return out
}
