package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// querier is what both a batch and the database can do.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// q returns where to read: in the batch while one is open, as there is one
// connection.
func (c *Catalogue) q() querier {
	if c.tx != nil {
		return c.tx
	}
	return c.db
}

// Fact returns a fact, "" if there is none.
func (c *Catalogue) Fact(ctx context.Context, name string) (value string, err error) {
	err = c.q().QueryRowContext(ctx, "SELECT value FROM facts WHERE name = ?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, c.wrap(err)
}

// Ranges returns how far the listing has come.
func (c *Catalogue) Ranges(ctx context.Context) (ranges []Range, err error) {
	err = c.each(ctx, func(rows *sql.Rows) error {
		var r Range
		err := rows.Scan(&r.ID, &r.AfterKey, &r.AfterVersion, &r.Upto, &r.Done)
		ranges = append(ranges, r)
		return err
	}, "SELECT id, after_key, after_version, upto, done FROM ranges ORDER BY id")
	for i := range ranges {
		if err == nil && ranges[i].ID != i {
			err = c.wrap(fmt.Errorf("range %d is missing: the listing has to begin anew in another file", i))
		}
	}
	return ranges, err
}

// File returns how many records of an inventory file are in.
func (c *Catalogue) File(ctx context.Context, name string) (records int64, done bool, err error) {
	err = c.q().QueryRowContext(ctx, "SELECT records, done FROM files WHERE name = ?", name).Scan(&records, &done)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return records, done, c.wrap(err)
}

// Count returns how many versions and markers the catalogue holds.
func (c *Catalogue) Count(ctx context.Context) (n int64, err error) {
	return n, c.wrap(c.q().QueryRowContext(ctx, "SELECT count(*) FROM objects").Scan(&n))
}

// Scan calls f with every version and marker, in the order of keys. The Object is
// overwritten by the next call.
func (c *Catalogue) Scan(ctx context.Context, f func(o *Object, odd int) error) error {
	var o Object
	var modified int64
	var odd int
	return c.each(ctx, func(rows *sql.Rows) error {
		if err := rows.Scan(&o.Key, &o.Version, &o.Size, &o.ETag, &modified, &o.Class, &o.Latest, &o.Marker, &odd); err != nil {
			return err
		}
		o.Modified = time.Unix(modified, 0).UTC()
		return f(&o, odd)
	}, "SELECT key, version, size, etag, modified, class, latest, marker, odd FROM objects ORDER BY key, version")
}

// Uploads calls f with every unfinished upload.
func (c *Catalogue) Uploads(ctx context.Context, f func(Upload) error) error {
	return c.each(ctx, func(rows *sql.Rows) error {
		var u Upload
		var initiated int64
		if err := rows.Scan(&u.Key, &u.ID, &initiated, &u.Class, &u.Parts, &u.Size); err != nil {
			return err
		}
		u.Initiated = time.Unix(initiated, 0).UTC()
		return f(u)
	}, "SELECT key, id, initiated, class, parts, size FROM uploads ORDER BY key, id")
}

// each calls f at every row of a query.
func (c *Catalogue) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := c.q().QueryContext(ctx, query, args...)
	if err != nil {
		return c.wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return c.wrap(rows.Err())
}
