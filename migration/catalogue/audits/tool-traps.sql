-- Keys that usual S3 tools cannot handle
-- Holdall takes them: keys are opaque bytes. Test the applications and tools that will read them.
SELECT o.key, o.size, (SELECT group_concat(name, ' ') FROM odd_kinds k WHERE o.odd & k.bit AND k.trap) AS kinds
FROM objects o
WHERE o.odd & (SELECT sum(bit) FROM odd_kinds WHERE trap = 1)
ORDER BY o.key LIMIT :limit
