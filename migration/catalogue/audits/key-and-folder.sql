-- Keys that have other keys below them
-- "a" beside "a/b": no file system holds both, so tools that copy to one lose a name.
SELECT a.key, a.size FROM current a
WHERE EXISTS (SELECT 1 FROM objects b WHERE b.key > a.key || '/' AND b.key < a.key || '0')
ORDER BY a.key LIMIT :limit
