-- What changed last
-- A bucket that is written to needs the mirror before the backfill.
SELECT key, size, datetime(modified, 'unixepoch') AS modified FROM current
ORDER BY current.modified DESC LIMIT :limit
