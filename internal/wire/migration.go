package wire

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/worker"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// Migrations begins migrations and shows them. *worker.Runner is one.
type Migrations interface {
	Create(ctx context.Context, a worker.Asked) (worker.Status, error)
	List(ctx context.Context) ([]worker.Status, error)
	Show(ctx context.Context, ns holdall.NamespaceID, bucket string) (worker.Status, error)
	Set(ctx context.Context, ns holdall.NamespaceID, bucket string, set metadata.MigrationSettings) (worker.Status, error)
}

// MigrationWork moves migrations on. *worker.Runner is one.
type MigrationWork interface {
	Announce(ctx context.Context, ns holdall.NamespaceID, bucket string, to metadata.MigrationState) (worker.Status, error)
	Begin(ctx context.Context, ns holdall.NamespaceID, bucket, job string, l worker.Limits) (worker.Status, error)
	Pause(ctx context.Context, ns holdall.NamespaceID, bucket, job string) (worker.Status, error)
	Certify(ctx context.Context, ns holdall.NamespaceID, bucket string) (worker.Certified, error)
}

// MigrationKeys are the keys that need somebody's attention. *worker.Runner is one.
type MigrationKeys interface {
	Outbox(ctx context.Context, ns holdall.NamespaceID, bucket, after string, limit int) ([]metadata.Entry, error)
	Quarantine(ctx context.Context, ns holdall.NamespaceID, bucket, after string, limit int) ([]metadata.Quarantine, error)
	Exceptions(ctx context.Context, ns holdall.NamespaceID, bucket, after string, limit int) ([]metadata.Exception, error)
	Requeue(ctx context.Context, ns holdall.NamespaceID, bucket, key string) error
	Except(ctx context.Context, ns holdall.NamespaceID, bucket string, e metadata.Exception) error
}

// migrationServer is MigrationService; the methods are documented in
// migration.proto.
type migrationServer struct {
	holdallv1.UnimplementedMigrationServiceServer
	server *Server
	table  Migrations
	work   MigrationWork
	keys   MigrationKeys
}

// Limits of texts in requests, in bytes.
const (
	maxURL    = 2048 // of an endpoint
	maxText   = 512  // a reason, a name
	maxLimits = 512  // a schedule
)

// place checks which bucket a request names.
func (s *migrationServer) place(namespace, bucket string) (holdall.NamespaceID, error) {
	if s.table == nil {
		return 0, absent("migrations")
	}
	ns, err := s.server.namespace(namespace)
	if err != nil {
		return 0, err
	}
	return ns, holdall.CheckBucketName(bucket)
}

func short(what, text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%s of %d bytes, the most is %d: %w", what, len(text), most, holdall.ErrInvalid)
	}
	return nil
}

// migrationSettings checks settings.
func migrationSettings(in *holdallv1.MigrationSettings) (set metadata.MigrationSettings, err error) {
	from := in.GetSource()
	set.Source = metadata.Source{Endpoint: from.GetEndpoint(), Region: from.GetRegion(), Bucket: from.GetBucket(), Profile: from.GetProfile(), PathStyle: from.GetPathStyle(), Unconditional: from.GetUnconditional()}
	for what, text := range map[string]string{"endpoint": set.Source.Endpoint, "region": set.Source.Region, "source bucket": set.Source.Bucket, "profile": set.Source.Profile} {
		if err := short(what, text, maxURL); err != nil {
			return set, err
		}
	}
	if set.Source.Bucket == "" {
		return set, fmt.Errorf("source: want the name of its bucket: %w", holdall.ErrInvalid)
	}
	switch in.GetOnSecondaryFailure() {
	case "", "outbox":
		set.Policy = metadata.MissOutbox
	case "fail":
		set.Policy = metadata.MissFail
	default:
		return set, fmt.Errorf("on secondary failure: %.40q: want outbox or fail: %w", in.GetOnSecondaryFailure(), holdall.ErrInvalid)
	}
	if set.CleanRun, err = lasting("clean run", in.GetCleanRun(), metadata.DefaultCleanRun); err == nil {
		set.Window, err = lasting("window", in.GetWindow(), metadata.DefaultWindow)
	}
	return set, err
}

// lasting checks a time; absent is initial.
func lasting(what string, d *durationpb.Duration, initial time.Duration) (time.Duration, error) {
	if d == nil {
		return initial, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < 0 || d.Seconds > math.MaxInt64/int64(time.Second)-1 {
		return 0, fmt.Errorf("%s of %d s, want a time that is not negative: %w", what, d.Seconds, holdall.ErrInvalid)
	}
	return d.AsDuration(), nil
}

func migrationAnswer(s worker.Status, err error) (*holdallv1.MigrationResponse, error) {
	if err != nil {
		return nil, err
	}
	return &holdallv1.MigrationResponse{Migration: encodeMigration(&s)}, nil
}

func (s *migrationServer) CreateMigration(ctx context.Context, in *holdallv1.CreateMigrationRequest) (*holdallv1.MigrationResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err != nil {
		return nil, err
	}
	set, err := migrationSettings(in.Settings)
	if err != nil {
		return nil, err
	}
	return migrationAnswer(s.table.Create(ctx, worker.Asked{Namespace: ns, Bucket: in.Bucket, MigrationSettings: set}))
}

func (s *migrationServer) ListMigrations(ctx context.Context, _ *holdallv1.ListMigrationsRequest) (*holdallv1.ListMigrationsResponse, error) {
	if s.table == nil {
		return nil, absent("migrations")
	}
	all, err := s.table.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &holdallv1.ListMigrationsResponse{}
	for i := range all {
		out.Migrations = append(out.Migrations, encodeMigration(&all[i]))
	}
	return out, nil
}

func (s *migrationServer) ShowMigration(ctx context.Context, in *holdallv1.ShowMigrationRequest) (*holdallv1.MigrationResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err != nil {
		return nil, err
	}
	return migrationAnswer(s.table.Show(ctx, ns, in.Bucket))
}

func (s *migrationServer) SetMigration(ctx context.Context, in *holdallv1.SetMigrationRequest) (*holdallv1.MigrationResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err != nil {
		return nil, err
	}
	set, err := migrationSettings(in.Settings)
	if err != nil {
		return nil, err
	}
	return migrationAnswer(s.table.Set(ctx, ns, in.Bucket, set))
}

func (s *migrationServer) StepMigration(ctx context.Context, in *holdallv1.StepMigrationRequest) (*holdallv1.MigrationResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err != nil {
		return nil, err
	}
	to, err := metadata.ParseMigrationState(in.State)
	if err != nil {
		return nil, err
	}
	return migrationAnswer(s.work.Announce(ctx, ns, in.Bucket, to))
}

func checkJob(name string) error {
	if name != worker.Backfill && name != worker.Verify {
		return fmt.Errorf("job %.40q: want %s or %s: %w", name, worker.Backfill, worker.Verify, holdall.ErrInvalid)
	}
	return nil
}

func (s *migrationServer) StartJob(ctx context.Context, in *holdallv1.StartJobRequest) (*holdallv1.MigrationResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err == nil {
		err = checkJob(in.Job)
	}
	l := worker.Limits{Bandwidth: in.Limits.GetBandwidth(), Requests: in.Limits.GetRequests(), Money: in.Limits.GetMoney()}
	if err == nil {
		err = short("limits", l.Bandwidth+l.Requests, maxLimits)
	}
	if err == nil && (math.IsNaN(l.Money) || math.IsInf(l.Money, 0)) {
		err = fmt.Errorf("money: %v is no amount: %w", l.Money, holdall.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	return migrationAnswer(s.work.Begin(ctx, ns, in.Bucket, in.Job, l))
}

func (s *migrationServer) PauseJob(ctx context.Context, in *holdallv1.PauseJobRequest) (*holdallv1.MigrationResponse, error) {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err == nil {
		err = checkJob(in.Job)
	}
	if err != nil {
		return nil, err
	}
	return migrationAnswer(s.work.Pause(ctx, ns, in.Bucket, in.Job))
}

func (s *migrationServer) Certify(in *holdallv1.CertifyRequest, out holdallv1.MigrationService_CertifyServer) error {
	ns, err := s.place(in.Namespace, in.Bucket)
	if err != nil {
		return err
	}
	c, err := s.work.Certify(out.Context(), ns, in.Bucket)
	if err != nil {
		return err
	}
	t := &c.Statement
	return out.Send(&holdallv1.CertifyResponse{
		Certificate: c.Certificate, Leaves: c.Leaves, PublicKey: c.Public, Fingerprint: c.Fingerprint, Digest: c.Digest[:],
		Objects: t.Objects, Bytes: t.Bytes, Verified: t.Verified, Mirrored: t.Mirrored, Excepted: t.Excepted, RaftIndex: t.RaftIndex,
	})
}
