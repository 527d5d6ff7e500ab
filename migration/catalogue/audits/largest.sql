-- The largest objects
-- Over 5 GiB an object can only have been uploaded in parts, and its ETag is no MD5.
SELECT key, size, class, etag FROM current ORDER BY size DESC LIMIT :limit
