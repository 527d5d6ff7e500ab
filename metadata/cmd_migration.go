package metadata

import (
	"fmt"

	"github.com/holdall/holdall"
)

// maxMigrations bounds the migrations of a cell: voters keep them all in memory.
const maxMigrations = 1000

// createMigration begins a migration into an empty bucket.
type createMigration struct {
	Bucket holdall.BucketID
	Set    MigrationSettings
}

func (*createMigration) tag() commandTag { return tagCreateMigration }
func (c *createMigration) check() error  { return c.Set.check() }

func (c *createMigration) encode(dst []byte) []byte {
	return putSettings(putBucketID(dst, c.Bucket), &c.Set)
}

func (c *createMigration) decode(d *decoder) {
	c.Bucket = d.bucketID()
	d.settings(&c.Set)
}

func putSettings(dst []byte, s *MigrationSettings) []byte {
	return putDuration(putDuration(append(putSource(dst, &s.Source), byte(s.Policy)), s.CleanRun), s.Window)
}

func (d *decoder) settings(s *MigrationSettings) {
	d.source(&s.Source)
	s.Policy, s.CleanRun, s.Window = MissPolicy(d.byte()), d.duration(), d.duration()
}

func (s *MigrationSettings) check() error {
	if s.Policy < MissOutbox || s.Policy > MissFail || s.CleanRun < 0 || s.Window < 0 || s.Source.Bucket == "" ||
		max(len(s.Source.Endpoint), len(s.Source.Region), len(s.Source.Bucket), len(s.Source.Profile)) > maxSourceText {
		return fmt.Errorf("metadata: migration from %.80q in %.80q, policy %d, clean run %v, window %v: %w",
			s.Source.Bucket, s.Source.Endpoint, s.Policy, s.CleanRun, s.Window, holdall.ErrInvalid)
	}
	return nil
}

// withDefaults returns s with what its maker named none of.
func (s MigrationSettings) withDefaults() MigrationSettings {
	if s.Policy == 0 {
		s.Policy = MissOutbox
	}
	if s.CleanRun == 0 {
		s.CleanRun = DefaultCleanRun
	}
	if s.Window == 0 {
		s.Window = DefaultWindow
	}
	return s
}

func (c *createMigration) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	old, err := t.migration(c.Bucket)
	switch {
	case err != nil:
		return nil, err
	case old != nil:
		return nil, fmt.Errorf("metadata: bucket %q has a migration, in %v: %w", b.Name, old.State, holdall.ErrExists)
	case b.Versions != 0 || b.Uploads != 0:
		// What is there would be taken for what the source has, or hide it.
		return nil, fmt.Errorf("metadata: bucket %q has %d versions, those in trash too, and %d open uploads: a migration needs an empty one: %w",
			b.Name, b.Versions, b.Uploads, holdall.ErrRefused)
	}
	if err := t.roomForMigration(); err != nil {
		return nil, err
	}
	m := Migration{Bucket: b.ID, Namespace: b.Namespace, State: StateAssess, Number: 1, Began: 1, Entered: t.now.time()}
	m.take(&c.Set)
	m.Evidence.Floor = t.index
	row := t.keepMigration(m, Migration{})
	b.Migrates = true
	t.markersFollow(b, row)
	t.stepped(row)
	return &migrationAnswer{m}, nil
}

func (m *Migration) take(s *MigrationSettings) {
	m.Source, m.Policy, m.CleanRun, m.Window = s.Source, s.Policy, s.CleanRun, s.Window
}

func (t *tx) roomForMigration() error {
	n := 0
	for _, err := range migrations(t.b) {
		if err != nil {
			return &fault{err}
		}
		n++
	}
	if n >= maxMigrations {
		return fmt.Errorf("metadata: the cell has %d migrations, that is the most: remove retired ones: %w", n, holdall.ErrExhausted)
	}
	return t.journalRoom()
}

// markersFollow makes a bucket keep its markers as long as its migration needs to
// know of deletes.
func (t *tx) markersFollow(b *bucketRow, m *migrationRow) {
	if keeps := m.State.Mirrored(); b.KeepsMarkers != keeps {
		b.KeepsMarkers = keeps
		t.bucketChange(&b.Bucket)
	}
}

// setMigration changes the settings of a migration.
type setMigration struct{ createMigration }

func (*setMigration) tag() commandTag { return tagSetMigration }

func (c *setMigration) run(t *tx) (result, error) {
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	was, is := m.Source, c.Set.Source
	if m.State != StateAssess && (was.Endpoint != is.Endpoint || was.Region != is.Region || was.Bucket != is.Bucket) {
		return nil, fmt.Errorf("metadata: bucket %d is in %v: it goes on with the source it began with, %q in %q: %w",
			m.Bucket, m.State, was.Bucket, was.Endpoint, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	if m.take(&c.Set); m.steady() != m.was.steady() {
		t.stepped(m)
	}
	return &migrationAnswer{m.Migration}, nil
}

// removeMigration forgets a migration.
type removeMigration struct{ Bucket holdall.BucketID }

func (*removeMigration) tag() commandTag            { return tagRemoveMigration }
func (*removeMigration) check() error               { return nil }
func (c *removeMigration) encode(dst []byte) []byte { return putBucketID(dst, c.Bucket) }
func (c *removeMigration) decode(d *decoder)        { c.Bucket = d.bucketID() }

func (c *removeMigration) run(t *tx) (result, error) {
	b, err := t.namedBucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	m, err := t.knownMigration(c.Bucket)
	if err != nil {
		return nil, err
	}
	if m.State != StateRetired && (m.State != StateAssess || m.Step != 0 || m.Intents != 0) {
		return nil, fmt.Errorf("metadata: the migration of bucket %q is in %v, step to %v, with %d writes under way: only what is retired, or back in assess, is forgotten: %w",
			b.Name, m.State, m.Step, m.Intents, holdall.ErrRefused)
	}
	if err := t.journalRoom(); err != nil {
		return nil, err
	}
	b.Migrates = false
	t.dropMigration(m)
	t.migrationChange(journalMigration, m.Bucket, "", nil)
	return noResult{}, nil
}

// dropMigration removes a migration and all its rows.
func (t *tx) dropMigration(m *migrationRow) {
	m.gone = true
	for _, table := range [...]byte{tableAck, tableIntent, tableOutbox, tableDue, tableQuarantine, tableException, tableWalker} {
		t.dropTable(table, m.Bucket)
	}
}

// dropTable removes all rows that a bucket has in a table of migrations.
func (t *tx) dropTable(table byte, b holdall.BucketID) {
	lower := appendMigrationKey(nil, table, b)
	t.unsetRange(lower, after(lower))
}
