package wire

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/worker"
)

// fakeMigrations has one migration, of the bucket "photos".
type fakeMigrations struct{ status worker.Status }

func (f *fakeMigrations) find(bucket string) (worker.Status, error) {
	if bucket != "photos" {
		return worker.Status{}, fmt.Errorf("no bucket: %w", holdall.ErrNotFound)
	}
	return f.status, nil
}

func (f *fakeMigrations) Create(_ context.Context, a worker.Asked) (worker.Status, error) {
	f.status = worker.Status{Name: a.Bucket, Space: "default", Migration: metadata.Migration{State: metadata.StateAssess, Source: a.Source, Policy: a.Policy, CleanRun: a.CleanRun, Window: a.Window}}
	return f.status, nil
}

func (f *fakeMigrations) List(context.Context) ([]worker.Status, error) {
	return []worker.Status{f.status}, nil
}

func (f *fakeMigrations) Show(_ context.Context, _ holdall.NamespaceID, bucket string) (worker.Status, error) {
	return f.find(bucket)
}

func (f *fakeMigrations) Set(_ context.Context, _ holdall.NamespaceID, bucket string, set metadata.MigrationSettings) (worker.Status, error) {
	f.status.Policy = set.Policy
	return f.find(bucket)
}

func (f *fakeMigrations) Announce(_ context.Context, _ holdall.NamespaceID, bucket string, to metadata.MigrationState) (worker.Status, error) {
	if _, err := f.find(bucket); err != nil {
		return worker.Status{}, err
	}
	if err := metadata.Guard(&f.status.Migration, to, time.Unix(0, 0)); err != nil {
		return worker.Status{}, holdall.ErrNotFound // what the fuzz test of all methods may see
	}
	f.status.Step = to
	return f.status, nil
}

func (f *fakeMigrations) Begin(_ context.Context, _ holdall.NamespaceID, bucket, job string, l worker.Limits) (worker.Status, error) {
	f.status.Backfill = worker.Job{Wanted: true, Limits: l, Counts: worker.Counts{Seen: 1, Same: 2, Copied: 3, Bytes: 4, Taken: 5, Gone: 6, Faults: 7, TotalKeys: 8, TotalBytes: 9}, Began: time.Unix(5, 0)}
	f.status.Rates[0] = worker.Rate{Keys: 1.5, Bytes: 2.5, Left: time.Minute}
	f.status.Running[0] = job == worker.Backfill
	return f.find(bucket)
}

func (f *fakeMigrations) Pause(_ context.Context, _ holdall.NamespaceID, bucket, _ string) (worker.Status, error) {
	f.status.Running[0] = false
	return f.find(bucket)
}

func (f *fakeMigrations) Certify(_ context.Context, _ holdall.NamespaceID, bucket string) (worker.Certified, error) {
	_, err := f.find(bucket)
	return worker.Certified{Certificate: "/a", Leaves: "/b", Fingerprint: "f", Public: "p"}, err
}

func (f *fakeMigrations) Outbox(_ context.Context, _ holdall.NamespaceID, _, after string, _ int) ([]metadata.Entry, error) {
	return []metadata.Entry{{Key: after + "\xff", Missed: metadata.SideCell, Tries: 3, Reason: "r"}}, nil
}

func (f *fakeMigrations) Quarantine(context.Context, holdall.NamespaceID, string, string, int) ([]metadata.Quarantine, error) {
	return nil, nil
}

func (f *fakeMigrations) Exceptions(context.Context, holdall.NamespaceID, string, string, int) ([]metadata.Exception, error) {
	return nil, nil
}

func (f *fakeMigrations) Requeue(context.Context, holdall.NamespaceID, string, string) error {
	return nil
}

func (f *fakeMigrations) Except(_ context.Context, _ holdall.NamespaceID, _ string, e metadata.Exception) error {
	if e.Reason == "" {
		return holdall.ErrInvalid
	}
	return nil
}

func TestMigrationsOverTheWire(t *testing.T) {
	f := newFront(t, nil)
	c, ctx := f.dial(client.Options{}), f.ctx()
	set := client.MigrationSettings{Source: client.MigrationSource{Endpoint: "http://s3", Region: "r", Bucket: "old", Profile: "p", PathStyle: true, Unconditional: true},
		OnSecondaryFailure: "fail", CleanRun: client.Span(time.Minute), Window: client.Span(time.Hour)}
	m, err := c.CreateMigration(ctx, "photos", set)
	if err != nil || !reflect.DeepEqual(m.MigrationSettings, set) || m.State != "assess" || m.Bucket != "photos" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = c.StepMigration(ctx, "photos", "mirror"); err != nil || m.Step != "mirror" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := c.StepMigration(ctx, "photos", "somewhere"); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("an unknown state: %v", err)
	}
	limits := client.JobLimits{Bandwidth: "20MiB", Requests: "5", Money: 3}
	m, err = c.StartMigrationJob(ctx, "photos", "backfill", limits)
	if err != nil || !m.Backfill.Running || m.Backfill.Limits != limits || m.Backfill.Done != 3 || m.Backfill.KeyRate != 1.5 || time.Duration(*m.Backfill.Left) != time.Minute {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := c.StartMigrationJob(ctx, "photos", "lunch", client.JobLimits{}); !errors.Is(err, holdall.ErrInvalid) {
		t.Errorf("an unknown job: %v", err)
	}
	if m, err = c.PauseMigrationJob(ctx, "photos", "backfill"); err != nil || m.Backfill.Running {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := c.Migration(ctx, "another"); !errors.Is(err, holdall.ErrNotFound) {
		t.Errorf("a bucket that is not there: %v", err)
	}
	if all, err := c.Migrations(ctx); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if err := c.MigrationOutbox(ctx, "photos", func(k client.MigrationKey) error {
		if k.What != "cell" || k.Tries != 3 || string(k.KeyBytes) != "\xff" {
			t.Errorf("%+v", k)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.RequeueMigration(ctx, "photos", "k"), c.ExceptMigration(ctx, "photos", "k", "r", "me")); err != nil {
		t.Error(err)
	}
	if cert, err := c.CertifyMigration(ctx, "photos"); err != nil || cert.Certificate != "/a" || cert.PublicKey != "p" {
		t.Errorf("%+v, %v", cert, err)
	}
}
