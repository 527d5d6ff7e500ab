package worker

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/metadata"
	"github.com/holdall/holdall/migration/certificate"
)

// keyName is the file of a data directory that certificates are signed with: the
// 64 hex digits of an Ed25519 seed.
const keyName = "migration.key"

// Certified is a certificate that was made.
type Certified struct {
	Certificate string // path of the file
	Leaves      string // path of its leaves
	Fingerprint string // of the key that signed it
	Public      string // that key, in hex
	Digest      certificate.Digest
	Statement   certificate.Statement
}

// Certify makes the certificate of a flipped bucket out of its last clean
// verification and of what was written to both sides since. ErrRefused says what is
// missing.
func (r *Runner) Certify(ctx context.Context, ns holdall.NamespaceID, bucket string) (out Certified, err error) {
	p, err := r.find(ctx, ns, bucket)
	if err != nil {
		return out, err
	}
	j, err := r.job(p.Bucket, Verify)
	if err != nil {
		return out, err
	}
	switch {
	case p.State != metadata.StateFlipped:
		err = fmt.Errorf("the bucket is in %v, a certificate is made in %v", p.State, metadata.StateFlipped)
	case j.Clean.Passes < metadata.CleanPasses:
		err = fmt.Errorf("%d full verifications in a row were clean, %d are needed: `holdall migrate verify %s`", j.Clean.Passes, metadata.CleanPasses, bucket)
	case !p.Evidence.LastFinding.Before(j.Clean.Began):
		err = fmt.Errorf("a difference was found since the last clean verification: `holdall migrate verify %s`", bucket)
	case p.Entries > 0:
		err = fmt.Errorf("the outbox has %d keys", p.Entries)
	case p.Quarantined > 0:
		err = fmt.Errorf("%d keys are in quarantine, neither copied nor excepted", p.Quarantined)
	}
	if err != nil {
		return out, fmt.Errorf("certificate of %s: %w: %w", bucket, err, holdall.ErrRefused)
	}
	key, err := signingKey(filepath.Join(r.cfg.Dir, keyName))
	if err != nil {
		return out, err
	}
	w := &witness{Runner: r, place: p, clean: j.Clean}
	statement, leaves, err := w.testify(ctx)
	if err != nil {
		return out, err
	}
	if err := r.state(&p, j.Clean.Passes, statement); err != nil {
		return out, err
	}
	signed, err := certificate.Sign(statement, key)
	if err != nil {
		return out, err
	}
	out = Certified{
		Certificate: strings.TrimSuffix(leaves, ".leaves") + ".certificate", Leaves: leaves, Digest: certificate.DigestOf(signed), Statement: *statement,
		Fingerprint: certificate.Fingerprint(key.Public().(ed25519.PublicKey)), Public: hex.EncodeToString(key.Public().(ed25519.PublicKey)),
	}
	if err := writeWhole(out.Certificate, signed); err != nil {
		return out, err
	}
	return out, r.cfg.Notes.Certify(ctx, p.Bucket, out.Digest)
}

// state completes a statement with what metadata say of the migration.
func (r *Runner) state(p *place, passes uint32, s *certificate.Statement) error {
	c, err := r.cfg.Cell.Cell()
	if err != nil {
		return err
	}
	space, err := r.cfg.Names.NamespaceByID(p.Namespace)
	if err != nil {
		return err
	}
	s.Cell, s.Namespace, s.Bucket = c.ID.String(), space.Name, p.name
	s.SourceEndpoint, s.SourceBucket = p.Source.Endpoint, p.Source.Bucket
	s.Passes, s.CleanRun, s.CleanSince = passes, p.CleanRun, p.Evidence.CleanSince.UTC()
	s.Code, s.Created = r.cfg.Code, r.cfg.Now().UTC().Truncate(time.Second)
	for after := ""; ; {
		page, err := r.cfg.Faults.Exceptions(p.Bucket, after, holdall.MaxListPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			s.Exceptions = append(s.Exceptions, certificate.Exception{Key: []byte(e.Key), What: e.What, Reason: e.Reason, SignedBy: e.SignedBy, At: e.At.UTC()})
			after = e.Key
		}
		if len(page) < holdall.MaxListPage {
			return nil
		}
	}
}

// witness makes the leaves of a certificate.
type witness struct {
	*Runner
	place place
	clean Proved

	cut   time.Time // the bucket is stated as it stood then
	index uint64    // Raft index that was applied by then

	excepted map[string]bool
	late     map[string]leaf // proved out of order
}

// cutNow chooses the moment that is stated. What is committed from now on has a
// later time.
func (w *witness) cutNow(ctx context.Context) error {
	w.cut = w.cfg.Now()
	if _, err := w.cfg.Names.Bucket(ctx, w.place.Namespace, w.place.name); err != nil { // linearizable: what was committed is applied
		return err
	}
	c, err := w.cfg.Cell.Cell()
	w.index = c.Applied
	return err
}

// testify writes the leaves, and begins the statement that they come to.
func (w *witness) testify(ctx context.Context) (s *certificate.Statement, path string, err error) {
	facts := factsPath(w.cfg.Dir, w.place.Bucket, w.clean.Run)
	if err := w.prepare(facts); err != nil {
		return nil, "", err
	}
	if err := w.cutNow(ctx); err != nil {
		return nil, "", err
	}
	path = filepath.Join(factsDir(w.cfg.Dir, w.place.Bucket), fmt.Sprintf("%s-%s.leaves", w.place.name, w.cfg.Now().UTC().Format("20060102T150405Z")))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("certificate: %v: %w", err, holdall.ErrUnavailable)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	leaves, err := certificate.NewWriter(f)
	if err != nil {
		return nil, "", err
	}
	next, stop := w.inOrder(facts)
	defer stop()
	if err := w.merge(ctx, next, leaves); err != nil {
		return nil, "", err
	}
	total, err := leaves.Finish()
	if err == nil {
		err = f.Sync()
	}
	return &certificate.Statement{RaftIndex: w.index, Objects: total.Objects, Bytes: total.Bytes, Verified: total.Verified, Mirrored: total.Mirrored, Excepted: total.Excepted, Root: total.Root}, path, err
}

// prepare reads what was proved out of order, and which keys are excepted.
func (w *witness) prepare(facts string) (err error) {
	w.late = map[string]leaf{}
	last := ""
	err = readFacts(facts, w.clean.Length, func(l leaf) error {
		if l.Key <= last {
			w.late[l.Key] = l
		} else {
			last = l.Key
		}
		return nil
	}, func(string) error { return nil })
	if errors.Is(err, holdall.ErrNotFound) {
		return fmt.Errorf("what the last verification proved is not on this machine: verify again: %w: %w", err, holdall.ErrRefused)
	}
	if err != nil {
		return err
	}
	v := reading{Runner: w.Runner, cmp: comparer{place: w.place}}
	w.excepted, err = v.exceptions()
	return err
}

// inOrder returns the facts that came in order, one by one; nil at their end.
func (w *witness) inOrder(facts string) (next func() (*leaf, error), stop func()) {
	leaves, quit, failed := make(chan leaf), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(leaves)
		last := ""
		err := readFacts(facts, w.clean.Length, func(l leaf) error {
			if l.Key <= last {
				return nil
			}
			last = l.Key
			select {
			case leaves <- l:
				return nil
			case <-quit:
				return context.Canceled
			}
		}, func(string) error { return nil })
		failed <- err
	}()
	return func() (*leaf, error) {
			if l, ok := <-leaves; ok {
				return &l, nil
			}
			err := <-failed
			failed <- err
			return nil, err
		}, func() {
			close(quit)
			for range leaves {
			}
		}
}

// merge makes a leaf of every object of the bucket, as it was at the cut: of a key,
// the newest version that was committed by then.
func (w *witness) merge(ctx context.Context, next func() (*leaf, error), out *certificate.Writer) error {
	fact, err := next()
	if err != nil {
		return err
	}
	last := ""
	for q := (metadata.ListQuery{Versions: true}); ; {
		page, err := w.cfg.Objects.List(ctx, w.place.Namespace, w.place.name, q)
		if err != nil {
			return err
		}
		for i := range page.Objects {
			row := &page.Objects[i]
			if row.Key == last || row.Committed.After(w.cut) {
				continue // what came later, and what was before
			}
			last = row.Key
			if row.Marker {
				continue
			}
			for fact != nil && fact.Key < row.Key {
				if fact, err = next(); err != nil {
					return err
				}
			}
			proved := fact
			if l, ok := w.late[row.Key]; ok {
				proved = &l
			}
			l, err := w.leaf(ctx, row, proved)
			if err == nil {
				err = out.Add(l)
			}
			if err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		q.After, q.AfterVer = page.Last, page.LastVer
	}
}

// leaf says how a version was proved equal on both sides, or why it was not.
func (w *witness) leaf(ctx context.Context, row *metadata.Object, proved *leaf) (*leaf, error) {
	if proved != nil && proved.Key == row.Key && proved.Version == row.Version {
		return proved, nil
	}
	l := &leaf{Key: row.Key, Version: row.Version, Size: row.Size, ETag: row.ETag, SourceVersion: row.Source.Version, At: row.Committed}
	refuse := func(why string) error {
		return fmt.Errorf("certificate: %.200q, version %d, %s: verify again: %w", row.Key, row.Version, why, holdall.ErrRefused)
	}
	if w.excepted[row.Key] {
		l.Evidence = certificate.Excepted
		return l, nil
	}
	if row.Committed.Before(w.clean.Began) {
		return nil, refuse("was there when the last verification began, and is not among what it proved")
	}
	if _, waits, err := w.cfg.Outbox.Entry(w.place.Bucket, row.Key); err != nil || waits {
		if err == nil {
			err = fmt.Errorf("certificate: %.200q waits to be repaired: try again: %w", row.Key, holdall.ErrUnavailable)
		}
		return nil, err
	}
	c := comparer{cfg: w.cfg, place: w.place}
	content, err := c.readCell(ctx, row)
	l.Content, l.Evidence = content, certificate.Mirrored
	return l, err
}

// signingKey reads the key that certificates are signed with, or makes one.
func signingKey(path string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		seed := make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(seed); err != nil {
			return nil, fmt.Errorf("certificate: no randomness for a key: %w: %w", err, holdall.ErrUnavailable)
		}
		if err := writeWhole(path, []byte(hex.EncodeToString(seed)+"\n")); err != nil {
			return nil, err
		}
		return ed25519.NewKeyFromSeed(seed), nil
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: key: %v: %w", err, holdall.ErrUnavailable)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("certificate: %s is no key: want %d hex digits: %w", path, 2*ed25519.SeedSize, holdall.ErrCorrupt)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// writeWhole writes a file that is there whole, durably and for its owner alone, or
// not at all. It never takes the place of another.
func writeWhole(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("worker: %v: %w", err, holdall.ErrUnavailable)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	err = errors.Join(err, os.Remove(f.Name()))
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("worker: %s: %v: %w", path, err, holdall.ErrUnavailable)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
