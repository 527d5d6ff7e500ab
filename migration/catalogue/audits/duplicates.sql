-- Objects that are probably the same bytes (same ETag and size)
-- Holdall stores the same bytes of a namespace once. Equal ETags of multipart objects may still be luck of equal parts.
SELECT etag, size, count(*) AS copies, (count(*) - 1) * size AS saved, min(key) AS one, max(key) AS another FROM current
WHERE size > 0 AND etag <> '' GROUP BY etag, size HAVING count(*) > 1 ORDER BY saved DESC LIMIT :limit
