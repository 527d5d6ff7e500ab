package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdall/holdall"
	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// CreateMigration begins the migration of a source into an empty bucket.
func (c *Client) CreateMigration(ctx context.Context, bucket string, s MigrationSettings) (*Migration, error) {
	in := holdallv1.CreateMigrationRequest{Namespace: c.options.Namespace, Bucket: bucket, Settings: s.message()}
	var out holdallv1.MigrationResponse
	if err := c.once(ctx, holdallv1.MigrationService_CreateMigration_FullMethodName, &in, &out); err != nil {
		return nil, err
	}
	return migrationFacts(out.Migration)
}

// Migrations returns all migrations of the cell.
func (c *Client) Migrations(ctx context.Context) ([]Migration, error) {
	var out holdallv1.ListMigrationsResponse
	if err := c.ask(ctx, holdallv1.MigrationService_ListMigrations_FullMethodName, &holdallv1.ListMigrationsRequest{}, &out); err != nil {
		return nil, err
	}
	all := make([]Migration, 0, len(out.Migrations))
	for _, m := range out.Migrations {
		f, err := migrationFacts(m)
		if err != nil {
			return nil, err
		}
		all = append(all, *f)
	}
	return all, nil
}

// Migration returns the migration of a bucket. ErrNotFound where there is none.
func (c *Client) Migration(ctx context.Context, bucket string) (*Migration, error) {
	return c.migration(ctx, holdallv1.MigrationService_ShowMigration_FullMethodName, &holdallv1.ShowMigrationRequest{Namespace: c.options.Namespace, Bucket: bucket})
}

// SetMigration changes the settings of a migration.
func (c *Client) SetMigration(ctx context.Context, bucket string, s MigrationSettings) (*Migration, error) {
	return c.migration(ctx, holdallv1.MigrationService_SetMigration_FullMethodName, &holdallv1.SetMigrationRequest{Namespace: c.options.Namespace, Bucket: bucket, Settings: s.message()})
}

// StepMigration announces a step to a state, forward or back; Migration tells when
// it is taken. ErrRefused names all that is in its way.
func (c *Client) StepMigration(ctx context.Context, bucket, state string) (*Migration, error) {
	return c.migration(ctx, holdallv1.MigrationService_StepMigration_FullMethodName, &holdallv1.StepMigrationRequest{Namespace: c.options.Namespace, Bucket: bucket, State: state})
}

// StartMigrationJob has a job of a migration run: "backfill" or "verify".
func (c *Client) StartMigrationJob(ctx context.Context, bucket, job string, l JobLimits) (*Migration, error) {
	in := &holdallv1.StartJobRequest{Namespace: c.options.Namespace, Bucket: bucket, Job: job, Limits: &holdallv1.JobLimits{Bandwidth: l.Bandwidth, Requests: l.Requests, Money: l.Money}}
	return c.migration(ctx, holdallv1.MigrationService_StartJob_FullMethodName, in)
}

// PauseMigrationJob has a job rest until it is started again.
func (c *Client) PauseMigrationJob(ctx context.Context, bucket, job string) (*Migration, error) {
	return c.migration(ctx, holdallv1.MigrationService_PauseJob_FullMethodName, &holdallv1.PauseJobRequest{Namespace: c.options.Namespace, Bucket: bucket, Job: job})
}

// migration makes a call that answers with a migration.
func (c *Client) migration(ctx context.Context, method string, in any) (*Migration, error) {
	var out holdallv1.MigrationResponse
	if err := c.ask(ctx, method, in, &out); err != nil {
		return nil, err
	}
	return migrationFacts(out.Migration)
}

// MigrationOutbox calls f with every key that one side missed, by key, until f
// returns an error, which is returned.
func (c *Client) MigrationOutbox(ctx context.Context, bucket string, f func(MigrationKey) error) error {
	return c.migrationKeys(ctx, holdallv1.MigrationService_ListOutbox_FullMethodName, bucket, f)
}

// MigrationQuarantine calls f with every key that could not be copied.
func (c *Client) MigrationQuarantine(ctx context.Context, bucket string, f func(MigrationKey) error) error {
	return c.migrationKeys(ctx, holdallv1.MigrationService_ListQuarantine_FullMethodName, bucket, f)
}

// MigrationExceptions calls f with every key that may differ.
func (c *Client) MigrationExceptions(ctx context.Context, bucket string, f func(MigrationKey) error) error {
	return c.migrationKeys(ctx, holdallv1.MigrationService_ListExceptions_FullMethodName, bucket, f)
}

func (c *Client) migrationKeys(ctx context.Context, method, bucket string, f func(MigrationKey) error) error {
	in := holdallv1.ListKeysRequest{Namespace: c.options.Namespace, Bucket: bucket}
	for {
		var out holdallv1.ListKeysResponse
		if err := c.ask(ctx, method, &in, &out); err != nil {
			return err
		}
		last := string(in.After)
		for _, k := range out.Keys {
			if err := f(migrationKey(k)); err != nil {
				return err
			}
			last = string(k.Key)
		}
		if !out.More {
			return nil
		}
		if last <= string(in.After) {
			return fmt.Errorf("keys after %q: %w", in.After, errNoProgress)
		}
		in.After = []byte(last)
	}
}

// RequeueMigration has a key repaired now.
func (c *Client) RequeueMigration(ctx context.Context, bucket, key string) error {
	in := holdallv1.RequeueRequest{Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key)}
	return c.ask(ctx, holdallv1.MigrationService_Requeue_FullMethodName, &in, &holdallv1.RequeueResponse{})
}

// ExceptMigration notes that a key may differ, why, and who says so.
func (c *Client) ExceptMigration(ctx context.Context, bucket, key, reason, signedBy string) error {
	in := holdallv1.ExceptRequest{Namespace: c.options.Namespace, Bucket: bucket, Key: []byte(key), Reason: reason, SignedBy: signedBy}
	return c.ask(ctx, holdallv1.MigrationService_Except_FullMethodName, &in, &holdallv1.ExceptResponse{})
}

// CertifyMigration makes the certificate of a flipped bucket, in files of the
// server.
func (c *Client) CertifyMigration(ctx context.Context, bucket string) (*Certificate, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream, if it is left early
	defer cancel()
	stream, err := holdallv1.NewMigrationServiceClient(c.conn()).Certify(ctx, &holdallv1.CertifyRequest{Namespace: c.options.Namespace, Bucket: bucket})
	if err != nil {
		return nil, FromStatus(err)
	}
	var out *Certificate
	err = receive(stream, func(m *holdallv1.CertifyResponse) error {
		ids, err := blockIDs([][]byte{m.Digest})
		if err != nil {
			return err
		}
		out = &Certificate{Certificate: m.Certificate, Leaves: m.Leaves, PublicKey: m.PublicKey, Fingerprint: m.Fingerprint, Digest: ids[0],
			Objects: m.Objects, Bytes: m.Bytes, Verified: m.Verified, Mirrored: m.Mirrored, Excepted: m.Excepted, RaftIndex: m.RaftIndex}
		return nil
	})
	if err == nil && out == nil {
		err = fmt.Errorf("the server sent no certificate: %w", holdall.ErrCorrupt)
	}
	return out, err
}

func (s *MigrationSettings) message() *holdallv1.MigrationSettings {
	f := &s.Source
	return &holdallv1.MigrationSettings{
		Source:             &holdallv1.MigrationSource{Endpoint: f.Endpoint, Region: f.Region, Bucket: f.Bucket, Profile: f.Profile, PathStyle: f.PathStyle, Unconditional: f.Unconditional},
		OnSecondaryFailure: s.OnSecondaryFailure, CleanRun: durationpb.New(time.Duration(s.CleanRun)), Window: durationpb.New(time.Duration(s.Window)),
	}
}
