-- Objects whose ETag is not a hash of their bytes
-- An ETag with a hyphen comes from parts: only reading both sides back can compare them.
SELECT CASE WHEN instr(etag, '-') THEN 'in parts' WHEN length(etag) = 32 THEN 'MD5' ELSE 'other' END AS etag, count(*) AS objects, sum(size) AS bytes FROM current
GROUP BY 1 ORDER BY objects DESC
