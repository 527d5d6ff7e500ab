-- Multipart uploads that were never finished
-- Their parts are paid for and no listing of objects shows them. Abort them, or add a lifecycle rule.
SELECT key, datetime(initiated, 'unixepoch') AS begun, parts, size, id FROM uploads ORDER BY size DESC LIMIT :limit
