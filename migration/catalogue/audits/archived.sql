-- Objects that have to be restored before they can be read
-- A restore takes hours and costs a request and its bytes. Start it before the backfill.
SELECT key, size, class, date(modified, 'unixepoch') AS modified FROM current
WHERE class IN ('GLACIER', 'DEEP_ARCHIVE') ORDER BY size DESC LIMIT :limit
