-- The schema of a catalogue, version 1. docs/format/catalogue.md explains it.

CREATE TABLE facts (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE objects (
  key      TEXT    NOT NULL,
  version  TEXT    NOT NULL, -- '' in a bucket without versions
  size     INTEGER NOT NULL, -- bytes; 0 for delete markers
  etag     TEXT    NOT NULL, -- without quotes
  modified INTEGER NOT NULL, -- seconds since 1970, UTC
  class    TEXT    NOT NULL, -- storage class, as in STANDARD
  latest   INTEGER NOT NULL, -- 1 = the current version of its key
  marker   INTEGER NOT NULL, -- 1 = a delete marker
  odd      INTEGER NOT NULL, -- bits of odd_kinds
  PRIMARY KEY (key, version)
) WITHOUT ROWID;

CREATE TABLE uploads (
  key       TEXT    NOT NULL,
  id        TEXT    NOT NULL,
  initiated INTEGER NOT NULL, -- seconds since 1970, UTC
  class     TEXT    NOT NULL,
  parts     INTEGER NOT NULL,
  size      INTEGER NOT NULL, -- bytes of all parts so far
  PRIMARY KEY (key, id)
) WITHOUT ROWID;

CREATE TABLE odd_kinds (
  bit     INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL,
  trap    INTEGER NOT NULL, -- 1 = usual tools fail on such keys, or change them
  meaning TEXT    NOT NULL
);

-- How far the listing has come: each row is a part of the key space.
CREATE TABLE ranges (
  id            INTEGER PRIMARY KEY,
  after_key     TEXT    NOT NULL, -- listed up to here; '' = not begun
  after_version TEXT    NOT NULL,
  upto          TEXT    NOT NULL, -- the range's last possible key; '' = no end
  done          INTEGER NOT NULL
);

-- Inventory files, and how many of their records are in.
CREATE TABLE files (
  name    TEXT    PRIMARY KEY,
  records INTEGER NOT NULL,
  done    INTEGER NOT NULL
) WITHOUT ROWID;

-- What a plain GET of each key would find.
CREATE VIEW current AS
  SELECT key, version, size, etag, modified, class, odd FROM objects WHERE latest = 1 AND marker = 0;
