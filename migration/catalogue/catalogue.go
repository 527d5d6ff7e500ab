package catalogue

import (
	"context"
	"database/sql"
	_ "embed" // the schema
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/holdall/holdall"
)

//go:embed schema.sql
var schema string

// Version of the schema that this code writes and reads.
const Version = 1

// Names of facts.
const (
	FactVersion    = "catalogue_version"
	FactBucket     = "bucket"
	FactPrefix     = "prefix"
	FactEndpoint   = "endpoint"
	FactSource     = "source"     // listing, or inventory
	FactVersioning = "versioning" // Enabled, Suspended, "" = never, unknown
	FactUploads    = "uploads"    // listed, or why not
	FactBegan      = "began"      // RFC 3339
	FactFinished   = "finished"   // RFC 3339; absent while it is not
)

// Object is one version of one object, or a delete marker.
type Object struct {
	Key      string
	Version  string
	Size     int64
	ETag     string
	Modified time.Time
	Class    string
	Latest   bool
	Marker   bool
}

// Range is a part of the key space and how far it is listed.
type Range struct {
	ID           int
	AfterKey     string
	AfterVersion string
	Upto         string
	Done         bool
}

// Upload is an unfinished multipart upload.
type Upload struct {
	Key       string
	ID        string
	Initiated time.Time
	Class     string
	Parts     int
	Size      int64
}

// Catalogue is an open catalogue. It is for one goroutine at a time.
type Catalogue struct {
	path string
	db   *sql.DB
	odd  oddity

	tx      *sql.Tx // nil between batches
	insert  *sql.Stmt
	rows    int // in tx
	flushed time.Time
}

// What bounds a batch: rows, so that memory and the write-ahead log are, and time,
// so that little is listed again after a kill.
const (
	batchRows = 10_000
	batchTime = 2 * time.Second
)

// settings of every connection. The write-ahead log makes a batch one sequential
// write; a power cut may take the last batches, rows and ranges together.
const settings = "_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-32000)&_pragma=wal_autocheckpoint(4000)"

// Create opens the catalogue at path to write it, making it if there is none.
// identity are the facts that say what it is of: in a catalogue that is there
// already they have to be the same.
func Create(ctx context.Context, path string, identity map[string]string) (*Catalogue, error) {
	fresh := false
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		fresh = true
	}
	c, err := open(ctx, path, settings+"&_pragma=locking_mode(EXCLUSIVE)")
	if err != nil {
		return nil, err
	}
	if fresh {
		err = c.build(ctx, identity)
	} else {
		err = c.same(ctx, identity)
	}
	if err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	return c, nil
}

// Open opens a catalogue to read it.
func Open(ctx context.Context, path string) (*Catalogue, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	c, err := open(ctx, path, settings+"&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	if err := c.same(ctx, nil); err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	return c, nil
}

func open(ctx context.Context, path, with string) (*Catalogue, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+with)
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // its cache is bounded a connection
	c := &Catalogue{path: path, db: db, odd: OddKinds(), flushed: time.Now()}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(c.wrap(err), db.Close())
	}
	return c, nil
}

// wrap says which catalogue an error is of, and its kind.
func (c *Catalogue) wrap(err error) error {
	if err == nil {
		return nil
	}
	switch text := err.Error(); {
	case strings.Contains(text, "database is locked"):
		return fmt.Errorf("catalogue %s is in use by another process: %w", c.path, holdall.ErrUnavailable)
	case strings.Contains(text, "not a database"), strings.Contains(text, "malformed"):
		return fmt.Errorf("catalogue %s is no catalogue, or damaged: %v: %w", c.path, err, holdall.ErrCorrupt)
	case strings.Contains(text, "disk is full"):
		return fmt.Errorf("catalogue %s: %v: %w", c.path, err, holdall.ErrDiskFull)
	}
	return fmt.Errorf("catalogue %s: %w", c.path, err)
}

// build makes the tables.
func (c *Catalogue) build(ctx context.Context, identity map[string]string) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if _, err := c.tx.ExecContext(ctx, schema); err != nil {
		return c.wrap(err)
	}
	for _, k := range c.odd {
		if _, err := c.tx.ExecContext(ctx, "INSERT INTO odd_kinds VALUES (?, ?, ?, ?)", k.Bit, k.Name, k.Trap, k.Meaning); err != nil {
			return c.wrap(err)
		}
	}
	if err := c.SetFact(ctx, FactVersion, strconv.Itoa(Version)); err != nil {
		return err
	}
	for name, value := range identity {
		if err := c.SetFact(ctx, name, value); err != nil {
			return err
		}
	}
	return c.Flush()
}

// same checks that the catalogue is of this version and of the bucket expected.
func (c *Catalogue) same(ctx context.Context, identity map[string]string) error {
	version, err := c.Fact(ctx, FactVersion)
	if err != nil && strings.Contains(err.Error(), "no such table") {
		return fmt.Errorf("catalogue %s is a database of something else, or was cut off while it was made: give another path, or remove it: %w", c.path, holdall.ErrRefused)
	}
	if err != nil {
		return err
	}
	if version != strconv.Itoa(Version) {
		return fmt.Errorf("catalogue %s has version %q, this program writes %d: %w", c.path, version, Version, holdall.ErrInvalid)
	}
	for name, want := range identity {
		if got, err := c.Fact(ctx, name); err != nil {
			return err
		} else if got != want {
			return fmt.Errorf("catalogue %s is of %s %q, not %q: give another path: %w", c.path, name, got, want, holdall.ErrInvalid)
		}
	}
	return nil
}

// begin opens a batch unless one is open.
func (c *Catalogue) begin(ctx context.Context) error {
	if c.tx != nil {
		return nil
	}
	tx, err := c.db.BeginTx(context.WithoutCancel(ctx), nil) // a batch ends with Flush, not with a caller's context
	if err != nil {
		return c.wrap(err)
	}
	c.tx = tx
	return nil
}

// Add puts objects into the batch. Those that are there already are replaced.
func (c *Catalogue) Add(ctx context.Context, objects ...Object) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if c.insert == nil {
		stmt, err := c.tx.PrepareContext(context.WithoutCancel(ctx), "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
		if err != nil {
			return c.wrap(err)
		}
		c.insert = stmt
	}
	for i := range objects {
		o := &objects[i]
		class := o.Class
		if class == "" {
			class = "STANDARD"
		}
		if _, err := c.insert.Exec(o.Key, o.Version, o.Size, o.ETag, o.Modified.Unix(), class, o.Latest, o.Marker, c.odd.bits(o.Key)); err != nil {
			return c.wrap(err)
		}
	}
	c.rows += len(objects)
	return nil
}

// SetRanges puts into the batch how far the listing has come.
func (c *Catalogue) SetRanges(ctx context.Context, ranges ...Range) error {
	for _, r := range ranges {
		if err := c.exec(ctx, "INSERT OR REPLACE INTO ranges VALUES (?, ?, ?, ?, ?)", r.ID, r.AfterKey, r.AfterVersion, r.Upto, r.Done); err != nil {
			return err
		}
	}
	return nil
}

// AddUpload puts an unfinished upload into the batch.
func (c *Catalogue) AddUpload(ctx context.Context, u Upload) error {
	return c.exec(ctx, "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?)", u.Key, u.ID, u.Initiated.Unix(), u.Class, u.Parts, u.Size)
}

// SetFile puts into the batch how many records of an inventory file are in.
func (c *Catalogue) SetFile(ctx context.Context, name string, records int64, done bool) error {
	return c.exec(ctx, "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", name, records, done)
}

// SetFact puts a fact into the batch.
func (c *Catalogue) SetFact(ctx context.Context, name, value string) error {
	return c.exec(ctx, "INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)
}

func (c *Catalogue) exec(ctx context.Context, query string, args ...any) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	_, err := c.tx.ExecContext(context.WithoutCancel(ctx), query, args...)
	return c.wrap(err)
}

// Full says whether the batch is large or old enough to be flushed.
func (c *Catalogue) Full(now time.Time) bool {
	return c.tx != nil && (c.rows >= batchRows || now.Sub(c.flushed) >= batchTime)
}

// Flush makes the batch durable: all of it, or after a kill nothing.
func (c *Catalogue) Flush() error {
	if c.tx == nil {
		return nil
	}
	err := c.tx.Commit()
	c.tx, c.insert, c.rows, c.flushed = nil, nil, 0, time.Now()
	return c.wrap(err)
}

// Close throws away what was not flushed, folds the write-ahead log into the file
// and closes it.
func (c *Catalogue) Close() error {
	if c.tx != nil {
		_ = c.tx.Rollback() // the caller did not want it
		c.tx = nil
	}
	return c.wrap(c.db.Close())
}
