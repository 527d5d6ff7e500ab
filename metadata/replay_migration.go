package metadata

// replayMigration does again what the change journal says of a migration, if its
// bucket is there. What the journal does not have is evidence and intents: so
// everything is verified again, and what was under way when metadata were lost is
// found by that.
func (t *tx) replayMigration(k *Change) error {
	b, err := t.bucket(k.Bucket)
	if err != nil || b == nil || !b.Removed.IsZero() {
		return err
	}
	m, err := t.migration(k.Bucket)
	if err != nil {
		return err
	}
	switch {
	case k.Number == journalMigration:
		return t.replayState(b, m, k)
	case m == nil || k.Key == "" || m.State == StateRetired && k.Number == journalEntry:
		return nil
	case k.Number == journalEntry:
		return t.replayEntry(m, k)
	case k.Number == journalException:
		return t.replayException(m, k)
	}
	return nil
}

// replayState makes, sets or removes a migration. No announcement outlives the
// doors that it was made to.
func (t *tx) replayState(b *bucketRow, m *migrationRow, k *Change) error {
	if len(k.Data) == 0 {
		if m != nil {
			b.Migrates = false
			t.dropMigration(m)
		}
		return nil
	}
	is := Migration{Bucket: b.ID}
	if decodeRow(nil, k.Data, func(d *decoder) { d.migration(&is) }) != nil || is.Number >= maxCounter {
		return nil
	}
	if m != nil && m.Entries != 0 && m.State.Decides() != is.State.Decides() {
		return nil // no step does that: the journal is not of this bucket
	}
	is.Namespace, is.Step, is.Number = b.Namespace, 0, is.Number+1
	is.Began = is.Number
	is.Evidence.Floor = t.index
	if m == nil {
		m = t.keepMigration(is, Migration{})
	} else {
		is.Intents, is.Entries, is.Quarantined, is.Exceptions = m.Intents, m.Entries, m.Quarantined, m.Exceptions
		m.Migration = is
	}
	b.Migrates, b.KeepsMarkers = true, is.State.Mirrored()
	if is.State == StateRetired {
		t.retire(b, m)
	}
	return nil
}

func (t *tx) replayEntry(m *migrationRow, k *Change) error {
	old, err := t.entry(m.Bucket, k.Key)
	if err != nil {
		return err
	}
	if len(k.Data) == 0 {
		if old != nil {
			t.setEntry(m, old, nil)
		}
		return nil
	}
	e := Entry{Bucket: m.Bucket, Key: k.Key}
	if decodeRow(nil, k.Data, func(d *decoder) { d.entry(&e) }) != nil {
		return nil
	}
	e.Missed, e.Seq, e.Next = m.State.Follows(), t.index, later(t.now.time(), e.Until)
	t.setEntry(m, old, &e)
	return nil
}

func (t *tx) replayException(m *migrationRow, k *Change) error {
	found, err := t.exceptionAt(m.Bucket, k.Key)
	if err != nil {
		return err
	}
	x := Exception{Bucket: m.Bucket, Key: k.Key}
	switch {
	case len(k.Data) == 0 && found:
		m.Exceptions--
		t.unset(appendWriteKey(t.key[:0], tableException, m.Bucket, k.Key))
	case len(k.Data) != 0 && decodeRow(nil, k.Data, func(d *decoder) { d.exception(&x) }) == nil:
		if !found {
			m.Exceptions++
		}
		t.setException(&x)
	}
	return nil
}
